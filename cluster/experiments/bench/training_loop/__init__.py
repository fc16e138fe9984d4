"""Benches of the training loop: simulated, streaming, stage by stage, against TRL."""
