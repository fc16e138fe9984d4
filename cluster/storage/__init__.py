"""What a run writes to disk: trajectories, pending groups, metrics."""
