"""A training run: settings, actor launch, loop, tracking and commands."""
