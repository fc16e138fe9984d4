"""Settings of supervised fine-tuning; needs no torch, so the driver can import it."""

import math
from typing import Literal

from pydantic import Field

from learner.settings import LearnerSettings
from rollout.settings import Settings


class SupervisedSettings(Settings):
    """Supervised fine-tuning (`relook sft`). LoRA, ZeRO, dtype, token budget and ranks are those of `learner`."""

    tasks: int = Field(default=512, ge=2)
    """Maximum number of tasks of `task.source`, held-out ones included; a file may have fewer. Fewer shorten the
    rendering and judging of damaged pages."""
    damages: int = Field(default=4, ge=1)
    """Damaged pages per task. Each that the critic scores below the reference gives a revision and a review. Raise it
    if a set has few tasks."""
    held_out: float = Field(default=0.1, gt=0, le=0.5)
    """Share of the tasks that measure the held-out loss and are not trained on; raise it if a set has few tasks."""
    epochs: int = Field(default=2, ge=1)
    """Passes over the examples. The held-out losses of the report show when further ones stop helping."""
    steps: int | None = Field(default=None, ge=1)
    """Maximum number of updates, for short trials; unset, `epochs` decides."""
    batch: int = Field(default=16, ge=1)
    """Examples per update; more give a less noisy gradient, and fewer updates."""
    lr: float = Field(default=2e-5, gt=0)
    """Peak learning rate; that of reinforcement learning is lower. Lower it for large models, multiply it by about ten
    for LoRA."""
    schedule: Literal["constant", "linear", "cosine"] = "cosine"
    """Learning rate after the warm-up, as `learner.schedule`; `constant` for trials that are cut by `steps`."""
    warmup: float = Field(default=0.05, ge=0, lt=1)
    """Share of the updates in which the learning rate rises; raise it if the first losses rise."""
    evaluate_every: int = Field(default=20, ge=1)
    """Updates between held-out losses; they are always measured before the first update and after the last. Raise it
    if they take a large share of the time."""
    samples: int = Field(default=8, ge=0)
    """Held-out tasks for which the model samples a page before and after training; 0 starts no policy engine."""

    def num_steps(self, examples: int) -> int:
        """Number of updates for this number of training examples."""
        whole = math.ceil(examples / self.batch) * self.epochs
        return whole if self.steps is None else min(whole, self.steps)

    def of_learner(self, learner: LearnerSettings, steps: int) -> LearnerSettings:
        """Settings of the learner for this number of updates: the answers' cross-entropy is the only loss."""
        warmup = min(round(self.warmup * steps), steps - 1)
        values = {
            "lr": self.lr,
            "schedule": self.schedule,
            "warmup_steps": warmup,
            "decay_steps": 0 if self.schedule == "constant" else steps,
            "epochs": 1,
            "kl_weight": 0.0,
            "distill_weight": 1.0,
        }
        return LearnerSettings.model_validate(learner.model_dump() | values)
