"""Settings of episodes: rounds, attempts, sampling and retries."""

from typing import Literal

from pydantic import BaseModel, ConfigDict, Field, model_validator

RevisionForm = Literal["page", "edits"]


class Settings(BaseModel):
    """Base class of all settings models: frozen, and unknown names raise an error."""

    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True)


class EpisodeSettings(Settings):
    """Settings of one episode: round 0, then rounds of Forced Optimization."""

    rounds: int = Field(default=2, ge=0, le=20)
    """Revision rounds after round 0; 0 trains on first pages alone. Raise it if the last round still improves pages."""
    revision: RevisionForm = "page"
    """Form of a revision: the whole `page`, or `edits` of the best page so far as search-and-replace blocks
    (`rollout/edits.py`), which cost fewer tokens if pages are long and changes small. Edits that do not apply earn
    nothing. `edits` suits models that are trained on code edits."""
    attempts: int = Field(default=10, ge=1, le=64)
    """Maximum attempts in a round; the episode ends when none of them improves. Raise it if few rounds succeed."""
    speculate: int = Field(default=2, ge=1, le=64)
    """Attempts of a round sampled at once: higher is faster, but wastes attempts after the first that improves. The
    first in sampling order that improves is accepted, never the best."""
    margin: float = Field(default=0.0, ge=0.0, lt=1.0)
    """Minimum reward improvement of an accepted attempt; set it to at least the judge's standard deviation."""
    pairwise: bool = False
    """Whether an attempt must also win a comparison: the critic sees both pages in both orders and must prefer the
    attempt both times. The reward must still improve, so accepted rewards rise strictly; the comparison filters out
    improvements by noise. A page that renders needs no comparison with one that does not."""
    forced: bool = True
    """Forced Optimization; false accepts every revision, to measure its effect."""
    max_tokens: int = Field(default=4096, ge=16)
    """Maximum tokens of a completion; a truncated completion is marked and carries no policy gradient. Raise it if many
    are truncated."""
    review_tokens: int = Field(default=256, ge=8)
    """Maximum tokens of the policy's review of its own page; raise it for models that think."""
    temperature: float = Field(default=1.0, gt=0.0, le=2.0)
    """Sampling temperature in training; raise it if siblings write the same page."""
    retries: int = Field(default=2, ge=0, le=10)
    """Machine faults that are retried in an episode before it is dropped from its group; raise it on unreliable
    machines."""

    @model_validator(mode="after")
    def _one_rule(self) -> "EpisodeSettings":
        if self.pairwise and not self.forced:
            raise ValueError("episode.pairwise is for forced = true: with forced = false every revision is accepted")
        return self
