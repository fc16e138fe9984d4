"""Benchmarks, the method's claims, and gradient estimators. No other part of `cluster` imports them."""
