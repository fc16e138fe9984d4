"""Benchmarks of this machine: one file for each part, each part in its own process."""
