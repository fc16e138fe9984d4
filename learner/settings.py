"""How the policy is changed; needs no torch, so the driver may read it."""

import math
from typing import Literal

from pydantic import Field, model_validator

from rollout.settings import Settings


class LearnerSettings(Settings):
    """One policy-gradient update a batch, on one or several ranks."""

    lr: float = Field(default=1e-5, gt=0)
    """Peak learning rate of AdamW."""
    betas: tuple[float, float] = (0.9, 0.99)
    """Decay of AdamW's running means of gradient and squared gradient."""
    weight_decay: float = Field(default=0.0, ge=0)
    """Decoupled weight decay of AdamW."""
    warmup_steps: int = Field(default=0, ge=0)
    """Updates in which the learning rate rises in a line to its peak."""
    schedule: Literal["constant", "linear", "cosine"] = "constant"
    """How the learning rate goes on after the warm-up; `linear` and `cosine` end at zero after `decay_steps`."""
    decay_steps: int = Field(default=0, ge=0)
    """Updates of a `linear` or `cosine` schedule, the warm-up included."""
    grad_clip: float = Field(default=1.0, gt=0)
    """Norm that the whole gradient is scaled down to where it is longer."""
    clip_low: float = Field(default=0.2, gt=0, lt=1)
    """How far below 1 the probability ratio of a token may count."""
    clip_high: float = Field(default=0.28, gt=0)
    """How far above 1 the probability ratio of a token may count."""
    credit: Literal["outcome", "turn", "page"] = "outcome"
    """`outcome`: every accepted turn carries the advantage of its trajectory's best reward. `turn`: a first page is
    compared with its siblings' first pages, a revision's gain with their gains of the same round. `page`: each
    accepted page is compared with all pages that the siblings wrote in the same round, the rejected ones included."""
    normalize_std: bool = True
    """Divide advantages by the group's standard deviation."""
    negative_weight: float = Field(default=1.0, ge=0, le=1)
    """Weight of samples that did worse than their siblings. Below 1 a small policy forgets less of what it can:
    what it is pushed away from says little about where to go (asymmetric REINFORCE, arXiv 2506.20520)."""
    rollout_cap: float = Field(default=2.0, ge=1)
    """Where the importance weight of learner over engine probabilities is cut off."""
    distill_weight: float = Field(default=0.1, ge=0)
    """Weight of feedback distillation beside the policy loss; 0 turns it off."""
    distill_steps: int = Field(default=0, ge=0)
    """Updates over which `distill_weight` falls in a line to zero; 0 keeps it."""
    distill_lessons: int = Field(default=32, ge=0)
    """Feedback texts a batch may teach, chosen by seed where there are more."""
    token_budget: int = Field(default=4096, ge=16)
    """Tokens of one forward and backward pass on one rank; no sample may be longer."""
    zero_stage: Literal[0, 1, 2, 3] = 1
    """What the ranks share out: 1 optimizer state, 2 gradients too, 3 weights too."""
    ranks: int = Field(default=1, ge=1)
    """Learner processes, each on one GPU, or on `threads` threads."""
    dtype: Literal["auto", "float32", "bfloat16"] = "auto"
    """Numbers the weights are made of; `auto` is float32 on CPU and bfloat16 (float32 masters) on GPU."""
    autocast: bool | None = None
    """Multiply float32 weights in bfloat16 in updates; None does so on CPUs with matrix units for it, where it is
    1.6 times as fast."""
    recompute: bool = False
    """Recompute activations in the backward pass: less memory, a third more work."""
    threads: int = Field(default=2, ge=1)
    """CPU only: threads a rank computes with."""

    @model_validator(mode="after")
    def _schedule_ends(self) -> "LearnerSettings":
        if self.schedule != "constant" and self.decay_steps <= self.warmup_steps:
            raise ValueError(
                f"decay_steps must exceed warmup_steps ({self.warmup_steps}) where schedule is "
                f"{self.schedule!r}, got {self.decay_steps}"
            )
        return self

    def lr_at(self, update: int) -> float:
        """Learning rate of an update; the first is 1."""
        if update <= self.warmup_steps:
            return self.lr * update / self.warmup_steps
        if self.schedule == "constant":
            return self.lr
        # The update after the last has rate zero, so that the last one still teaches.
        done = min(1.0, (update - 1 - self.warmup_steps) / (self.decay_steps - self.warmup_steps))
        return self.lr * (1 - done if self.schedule == "linear" else (1 + math.cos(math.pi * done)) / 2)

    def distill_weight_at(self, update: int) -> float:
        """Weight of feedback distillation in an update; the first is 1."""
        if not self.distill_steps:
            return self.distill_weight
        return self.distill_weight * max(0.0, 1 - (update - 1) / self.distill_steps)
