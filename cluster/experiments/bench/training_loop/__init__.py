"""Benchmarks of the training loop: simulated, streaming, stage by stage, and TRL."""
