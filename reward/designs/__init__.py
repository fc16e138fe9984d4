"""Built-in task families: briefs in plain English, each with a reference page that fulfils it exactly."""

from reward.designs.drawing import FAMILIES, Draw, draw, num_tasks, split_of, tasks, vary

__all__ = ["FAMILIES", "Draw", "draw", "num_tasks", "split_of", "tasks", "vary"]
