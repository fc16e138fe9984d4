"""Storage of a run: trajectories, pending groups, metrics."""
