"""The port inventory of a cluster: who listens on what, declared or not, used or not, allowed or not, and by whom."""
