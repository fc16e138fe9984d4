"""Learner settings; needs no torch, so the driver can import it."""

import math
from typing import Literal

from pydantic import Field, model_validator

from rollout.settings import Settings


class LearnerSettings(Settings):
    """Policy-gradient training: one update per batch, on one or several ranks."""

    lr: float = Field(default=1e-5, gt=0)
    """Peak learning rate of AdamW; lower for larger models."""
    betas: tuple[float, float] = (0.9, 0.99)
    """Decay rates of AdamW's running means of the gradient and the squared gradient; raise the second for small
    batches, whose gradients are noisy."""
    weight_decay: float = Field(default=0.0, ge=0)
    """Decoupled weight decay of AdamW; set it for long runs whose weights grow."""
    warmup_steps: int = Field(default=0, ge=0)
    """Updates over which the learning rate rises linearly to its peak; set it for large models, whose first updates are
    the least stable."""
    schedule: Literal["constant", "linear", "cosine"] = "constant"
    """Learning rate after the warm-up; `linear` and `cosine`, for runs of known length, reach zero after
    `decay_steps`."""
    decay_steps: int = Field(default=0, ge=0)
    """Updates of a `linear` or `cosine` schedule, including the warm-up; usually `steps`."""
    grad_clip: float = Field(default=1.0, gt=0)
    """Maximum norm of the whole gradient; longer gradients are scaled down to it. Lower it if `grad_norm` has peaks."""
    lora_rank: int = Field(default=0, ge=0)
    """Rank of the LoRA adapters (see `learner.lora`), for models whose optimizer state does not fit; 0 trains the
    weights themselves. Adapters need about ten times the learning rate."""
    lora_alpha: float = Field(default=32.0, gt=0)
    """LoRA scale numerator: weights are W + alpha/rank · BA. Change it with the rank to keep the scale."""
    lora_targets: tuple[str, ...] = ()
    """Linear layers to adapt, by the last part of their name (`q_proj`), to save memory; empty adapts all but the
    head."""
    loss: Literal["dapo", "grpo", "dr_grpo", "gspo", "cispo"] = "dapo"
    """Policy loss, see `learner.losses.loss`. `dapo`: equal weight per token. `grpo`: equal weight per page. `dr_grpo`:
    token sums divided by a constant. `gspo`: one ratio per page. `cispo`: clips only the weight of a token's gradient.
    """
    length_limit: int | None = Field(default=None, ge=1)
    """Maximum tokens of a completion (`episode.max_tokens`), for losses and penalties that need it."""
    epochs: int = Field(default=1, ge=1, le=16)
    """Optimizer steps per batch. In the first step all ratios are 1; clipping takes effect from the second. Raise it
    when playing takes much longer than learning."""
    clip_low: float = Field(default=0.2, gt=0, lt=1)
    """Lower clip: probability ratios count down to 1 − `clip_low`. `gspo` needs about 3e-4."""
    clip_high: float = Field(default=0.28, gt=0)
    """Upper clip: probability ratios count up to 1 + `clip_high`; raise it if the entropy falls. `gspo` needs about
    3e-4."""
    credit: Literal["outcome", "turn", "page", "siblings"] = "outcome"
    """Attempts to train on, and their comparison. `outcome`: every accepted turn gets the advantage of its trajectory's
    best reward. `turn`: first pages are compared with the siblings' first pages, gains of revisions with their gains of
    the same round. `page`: accepted pages are compared with all pages that the siblings wrote in the same round,
    rejected ones included. `siblings`: all judged attempts, rejected ones too, are compared with the other answers to
    the same prompt."""
    baseline: Literal["mean", "leave_one_out", "earlier"] = "mean"
    """Baseline of a reward: the mean of its group (`mean`) or of the others in it (`leave_one_out`). `earlier`, only
    with `credit = "siblings"`: the mean of the page under revision and the earlier attempts; unbiased although a round
    ends with its first success."""
    normalize_std: bool = True
    """Divide advantages by the group's standard deviation; false weights tasks by the spread of their rewards (Dr.
    GRPO)."""
    negative_weight: float = Field(default=1.0, ge=0, le=1)
    """Weight of samples with a negative advantage. Below 1 a small policy forgets less: a negative sample gives little
    information about better pages (asymmetric REINFORCE, arXiv 2506.20520)."""
    rollout_cap: float = Field(default=2.0, ge=1)
    """Cap of the importance weights (learner over engine probabilities); lower it if `ratio_tail` grows."""
    rollout_correction: Literal["truncate", "mask"] = "truncate"
    """Weights beyond the cap: `truncate` sets them to the cap, `mask` to 0, for engines with rare large errors."""
    rollout_level: Literal["token", "sequence"] = "token"
    """One importance weight per token, or one per completion for all its tokens: unbiased but much noisier."""
    overlong: Literal["mask", "soft"] = "mask"
    """Long completions. `mask`: those cut at the limit are not trained on. `soft`: subtracts from the reward a penalty
    that rises linearly from 0 to 1 over the last `overlong_tokens` before `length_limit` (DAPO, arXiv 2503.14476)."""
    overlong_tokens: int = Field(default=512, ge=1)
    """Tokens before `length_limit` over which the penalty of `overlong = "soft"` rises; fewer for short pages."""
    kl_weight: float = Field(default=0.0, ge=0)
    """Weight of the KL to the initial policy, to stay close to it; at 0 no reference model is loaded."""
    kl_estimator: Literal["k1", "k2", "k3"] = "k3"
    """Estimator and loss of a token's KL, see `learner.losses.kl`."""
    distill_weight: float = Field(default=0.1, ge=0)
    """Weight of feedback distillation, added to the policy loss; lower for small policies, which forget. 0 disables
    it."""
    distill_form: Literal["words", "hindsight"] = "words"
    """Distillation target. `words`: the critic's feedback. `hindsight`: the accepted revision without the feedback;
    teacher is the same policy with the feedback."""
    distill_lessons: int = Field(default=32, ge=0)
    """Maximum feedback texts or revisions per batch; a larger set is sampled by seed. Lower it to save time."""
    token_budget: int = Field(default=16384, ge=16)
    """Maximum tokens of one forward and backward pass on one rank; lower it if memory is short. Must hold the longest
    sample: prompt plus two pages of `episode.max_tokens` (the page under revision and its revision), or one more than
    `episode.rounds` if revisions are edits."""
    zero_stage: Literal[1, 2, 3] = 1
    """ZeRO stage. The ranks shard: 1 optimizer state, 2 also gradients, 3 also weights. Raise it if memory is short."""
    offload: Literal["none", "optimizer", "all"] = "none"
    """State moved from GPU to host memory, if memory is short even with ZeRO. `optimizer`: float32 master weights,
    gradients and AdamW state, so the CPU computes the step. `all`: with ZeRO-3, the weights too. No effect on CPU."""
    ranks: int = Field(default=1, ge=1)
    """Learner processes, each with one GPU, or with `threads` CPU threads; raise it when learning is the bottleneck."""
    dtype: Literal["auto", "float32", "bfloat16"] = "auto"
    """Dtype of the weights; `auto` is float32 on CPU and bfloat16 (float32 master weights) on GPU. Set float32 to rule
    out rounding."""
    autocast: bool | None = None
    """Multiply float32 weights in bfloat16 during updates. None enables it on CPUs with bfloat16 matrix units, where it
    is 1.6 times as fast; false rules out rounding."""
    recompute: bool = False
    """Recompute activations in the backward pass: less memory, a third more computation."""
    threads: int = Field(default=2, ge=1)
    """CPU only: threads per rank. Set 1 if `max_staleness` lets rollouts continue on the same cores: threads that wait
    for each other at every operation are then slower than a single thread."""

    @model_validator(mode="after")
    def _schedule_ends(self) -> "LearnerSettings":
        if self.schedule != "constant" and self.decay_steps <= self.warmup_steps:
            raise ValueError(
                f"decay_steps must exceed warmup_steps ({self.warmup_steps}) when schedule is "
                f"{self.schedule!r}, got {self.decay_steps}"
            )
        return self

    @model_validator(mode="after")
    def _memory_fits(self) -> "LearnerSettings":
        if self.offload == "all" and self.zero_stage < 3:
            raise ValueError(f"offload = 'all' needs zero_stage = 3, got {self.zero_stage}; or offload the optimizer")
        if self.lora_targets and not self.lora_rank:
            raise ValueError(
                f"lora_targets = {list(self.lora_targets)} needs lora_rank, got 0; set it to 16, for example"
            )
        return self

    @model_validator(mode="after")
    def _parts_fit(self) -> "LearnerSettings":
        asks = [
            f"{name} = {value!r}"
            for name, value in (("loss", "dr_grpo"), ("overlong", "soft"))
            if getattr(self, name) == value
        ]
        if asks and self.length_limit is None:
            raise ValueError(f"{asks[0]} needs length_limit, the tokens a completion may have; set it to max_tokens")
        if self.overlong == "soft" and self.overlong_tokens > (self.length_limit or 0):
            raise ValueError(
                f"overlong_tokens must be at most length_limit ({self.length_limit}), got {self.overlong_tokens}"
            )
        if self.baseline == "earlier" and self.credit != "siblings":
            raise ValueError(f"baseline = 'earlier' needs credit = 'siblings', got {self.credit!r}")
        if self.baseline == "earlier" and self.normalize_std:
            raise ValueError(
                "baseline = 'earlier' needs normalize_std = false: a round's deviation is not known earlier"
            )
        return self

    def length_penalty(self, num_tokens: int) -> float:
        """Length penalty of a completion, 0 to 1 (DAPO's equation 13); 0 for `overlong = "mask"`."""
        if self.overlong == "mask" or self.length_limit is None:
            return 0.0
        return min(1.0, max(0.0, 1 - (self.length_limit - num_tokens) / self.overlong_tokens))

    def lr_at(self, update: int) -> float:
        """Learning rate of an update, counted from 1."""
        if update <= self.warmup_steps:
            return self.lr * update / self.warmup_steps
        if self.schedule == "constant":
            return self.lr
        # The update after the last has rate zero, so the last one still trains.
        done = min(1.0, (update - 1 - self.warmup_steps) / (self.decay_steps - self.warmup_steps))
        return self.lr * (1 - done if self.schedule == "linear" else (1 + math.cos(math.pi * done)) / 2)
