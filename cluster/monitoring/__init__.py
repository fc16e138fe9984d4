"""Monitoring of a running run: terminal display, MLflow, Prometheus, and the summary."""
