"""How a reward is put together."""

import math

from pydantic import Field, model_validator

from rollout.settings import Settings


class ScoreSettings(Settings):
    """The weights of a reward's parts; they sum to 1."""

    visual: float = Field(default=0.7, ge=0, le=1)
    """Weight of the critic's score."""
    interaction: float = Field(default=0.2, ge=0, le=1)
    """Weight of the share of probes that hold; tasks without probes give it to the other two."""
    format: float = Field(default=0.1, ge=0, le=1)
    """Weight of an answer in the form that was asked for."""
    zero_rule: bool = True
    """False lets a page that does not render validly keep its format reward (to see what the rule is worth)."""

    @model_validator(mode="after")
    def _sum_to_one(self) -> "ScoreSettings":
        total = self.visual + self.interaction + self.format
        if not math.isclose(total, 1.0, abs_tol=1e-6):
            raise ValueError(f"score.visual + score.interaction + score.format must be 1, got {total:g}")
        if self.visual + self.format == 0:
            raise ValueError("score.visual and score.format are both 0: tasks without probes could earn nothing")
        return self
