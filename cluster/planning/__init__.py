"""Arithmetic of a run before it starts: memory of its GPUs, and costs computed from a model's dimensions."""
