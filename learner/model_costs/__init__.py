"""Arithmetic of a model: its weights, the operations of a token, and the memory of training and generation."""
