"""Makes the inputs of golden cases: what a cluster held and what Hubble saw of it. Nothing in it knows netpol_gen."""
