"""Advantages, losses and importance weights: formulas on tensors."""
