"""Reward settings: weights of the parts and the zero rule."""

import math

from pydantic import Field, model_validator

from rollout.settings import Settings


class ScoreSettings(Settings):
    """Weights of the parts of the reward; they must sum to 1."""

    visual: float = Field(default=0.7, ge=0, le=1)
    """Weight of the critic's score; lower it if the critic is less reliable than the probes."""
    interaction: float = Field(default=0.2, ge=0, le=1)
    """Weight of the share of probes that hold; in tasks without probes the other two weights are scaled up. Raise it
    for tasks whose behaviour matters most."""
    format: float = Field(default=0.1, ge=0, le=1)
    """Weight of the answer format: 1 if the answer has the requested form. Lower it for policies that keep to the
    form."""
    zero_rule: bool = True
    """Give no reward to pages that do not render validly. False keeps their format reward (to measure the rule's
    effect)."""

    @model_validator(mode="after")
    def _sum_to_one(self) -> "ScoreSettings":
        total = self.visual + self.interaction + self.format
        if not math.isclose(total, 1.0, abs_tol=1e-6):
            raise ValueError(f"score.visual + score.interaction + score.format must be 1, got {total:g}")
        if self.visual + self.format == 0:
            raise ValueError("score.visual and score.format are both 0: tasks without probes could earn nothing")
        return self
