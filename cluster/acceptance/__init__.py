"""Acceptance of a cluster: measures nodes, engines, learner, transfer and browsers with a run's own settings."""
