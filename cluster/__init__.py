"""A training run on a Ray cluster: settings, actor launch, training loop, tracking and commands."""
