"""The built-in task families: briefs in plain English, each with the page that answers it perfectly."""

from reward.designs.drawing import FAMILIES, Draw, draw, num_tasks, split_of, tasks, vary

__all__ = ["FAMILIES", "Draw", "draw", "num_tasks", "split_of", "tasks", "vary"]
