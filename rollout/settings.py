"""How episodes are played."""

from pydantic import BaseModel, ConfigDict, Field, model_validator


class Settings(BaseModel):
    """Base of every settings model: frozen, and a typo is an error."""

    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True)


class EpisodeSettings(Settings):
    """One episode: round 0, then rounds of Forced Optimization."""

    rounds: int = Field(default=2, ge=0, le=20)
    """Revision rounds after round 0; 0 is reinforcement learning on first pages alone."""
    attempts: int = Field(default=10, ge=1, le=64)
    """Attempts a round before the episode ends with what it has."""
    speculate: int = Field(default=2, ge=1, le=64)
    """Attempts of a round sampled at once. The first in sampling order that improves is accepted, never the best."""
    margin: float = Field(default=0.0, ge=0.0, lt=1.0)
    """How much better than the best so far an attempt must be; at least the judge's standard deviation."""
    pairwise: bool = False
    """An attempt whose reward beats the best so far by more than the margin is accepted only if the critic, shown both
    pages in both orders, prefers it both times. Both are demanded: by the reward, accepted rewards rise strictly; by
    the comparison, what was better by noise alone does not pass. A page that renders needs no comparison with one that
    does not."""
    forced: bool = True
    """False accepts every revision (to see what Forced Optimization is worth)."""
    max_tokens: int = Field(default=4096, ge=16)
    """Tokens a completion may have; one that is cut there is marked and carries no policy gradient."""
    review_tokens: int = Field(default=256, ge=8)
    """Tokens the policy's own review of a page may have."""
    temperature: float = Field(default=1.0, gt=0.0, le=2.0)
    """Sampling temperature in training."""
    retries: int = Field(default=2, ge=0, le=10)
    """Machine faults an episode survives by asking again, before it is dropped from its group."""

    @model_validator(mode="after")
    def _one_rule(self) -> "EpisodeSettings":
        if self.pairwise and not self.forced:
            raise ValueError("episode.pairwise is for forced = true: with forced = false every revision is accepted")
        return self
