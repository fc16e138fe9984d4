"""Experiments: benches, the claims of the method, gradient estimators. Nothing else in `cluster` imports them."""
