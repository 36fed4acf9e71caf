"""Makes the sample exports: a small cluster, the traffic in it, and the answers that are right for it."""
