"""Benchmark of MLflow's pages: a long run's metrics, traces and images, logged by our tracker and shown by MLflow."""
