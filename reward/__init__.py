"""Reward computation: render validity, scores, rubrics, visual metrics and the built-in designs."""
