"""How a run is shown while it goes on: terminal, MLflow, Prometheus, summary."""
