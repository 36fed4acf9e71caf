"""Forges on loopback: stateful servers of our own, held to what the real ones publish, with a real Git repository."""
