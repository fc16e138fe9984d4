"""Advantages, policy losses, distillation losses, KL terms and importance weights, as formulas on tensors."""
