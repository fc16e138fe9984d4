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
    lora_rank: int = Field(default=0, ge=0)
    """Rank of the matrices that are trained beside each weight, in its place (LoRA, see `learner.lora`); 0 trains the
    weights themselves. Wants about ten times the learning rate."""
    lora_alpha: float = Field(default=32.0, gt=0)
    """What an adapter's product counts, times its rank: weights are W + alpha/rank · BA."""
    lora_targets: tuple[str, ...] = ()
    """Linear layers that are adapted, by the last part of their name (`q_proj`); none means all but the head."""
    loss: Literal["dapo", "grpo", "dr_grpo", "gspo", "cispo"] = "dapo"
    """How tokens gain and are averaged, see `learner.loss`. `dapo`: each token of the batch counts the same. `grpo`:
    each page. `dr_grpo`: sums of tokens over a constant. `gspo`: one ratio a page. `cispo`: only weights are cut."""
    length_limit: int | None = Field(default=None, ge=1)
    """Tokens a completion may have (`episode.max_tokens`), for a loss or a penalty that measures by it."""
    epochs: int = Field(default=1, ge=1, le=16)
    """Optimizer steps on one batch. In the first every ratio is 1; clips matter from the second on."""
    clip_low: float = Field(default=0.2, gt=0, lt=1)
    """How far below 1 the probability ratio of a token may count."""
    clip_high: float = Field(default=0.28, gt=0)
    """How far above 1 the probability ratio of a token may count."""
    credit: Literal["outcome", "turn", "page", "siblings"] = "outcome"
    """`outcome`: every accepted turn carries the advantage of its trajectory's best reward. `turn`: a first page is
    compared with its siblings' first pages, a revision's gain with their gains of the same round. `page`: each
    accepted page is compared with all pages that the siblings wrote in the same round, the rejected ones included.
    `siblings`: every judged attempt, rejected ones too, is compared with those that answered the same prompt."""
    baseline: Literal["mean", "leave_one_out", "earlier"] = "mean"
    """What a reward is compared with: the mean of its group, or of the others in it. `earlier`, for `siblings` alone:
    the page under revision and the attempts before it, which is unbiased though a round ends with its first success."""
    normalize_std: bool = True
    """Divide advantages by the group's standard deviation."""
    negative_weight: float = Field(default=1.0, ge=0, le=1)
    """Weight of samples that did worse than their siblings. Below 1 a small policy forgets less of what it can:
    what it is pushed away from says little about where to go (asymmetric REINFORCE, arXiv 2506.20520)."""
    rollout_cap: float = Field(default=2.0, ge=1)
    """Where the importance weight of learner over engine probabilities is cut off."""
    rollout_correction: Literal["truncate", "mask"] = "truncate"
    """Beyond the cap, a weight is the cap, or nothing."""
    rollout_level: Literal["token", "sequence"] = "token"
    """Whether each token has a weight, or each completion one for all of its tokens: unbiased, and far noisier."""
    overlong: Literal["mask", "soft"] = "mask"
    """What a completion is due for its length: `mask` teaches nothing where it was cut at the limit; `soft` takes from
    its reward, in a line, 0 to 1 over the last `overlong_tokens` before `length_limit` (DAPO, arXiv 2503.14476)."""
    overlong_tokens: int = Field(default=512, ge=1)
    """Tokens before the limit in which the penalty of `overlong = "soft"` rises."""
    kl_weight: float = Field(default=0.0, ge=0)
    """Weight of the KL to the policy that training began with; at 0 no reference is loaded."""
    kl_estimator: Literal["k1", "k2", "k3"] = "k3"
    """How a token's KL is estimated and lowered, see `learner.losses.kl`."""
    distill_weight: float = Field(default=0.1, ge=0)
    """Weight of feedback distillation beside the policy loss; 0 turns it off."""
    distill_form: Literal["words", "hindsight"] = "words"
    """What feedback teaches. `words`: to write the critic's words. `hindsight`: to write the accepted revision at once,
    as the same policy does when it is shown the feedback."""
    distill_steps: int = Field(default=0, ge=0)
    """Updates over which `distill_weight` falls in a line to zero; 0 keeps it."""
    distill_lessons: int = Field(default=32, ge=0)
    """Feedback texts, or revisions, a batch may teach, chosen by seed where there are more."""
    token_budget: int = Field(default=16384, ge=16)
    """Tokens of one forward and backward pass on one rank. A sample may be as long as its prompt and two pages of
    `episode.max_tokens`: the one that is revised and the one that is written. The budget must hold the longest."""
    zero_stage: Literal[1, 2, 3] = 1
    """What the ranks share out: 1 optimizer state, 2 gradients too, 3 weights too."""
    offload: Literal["none", "optimizer", "all"] = "none"
    """What a GPU leaves to the machine's memory: nothing; float32 masters, gradients and AdamW's state, so that the
    processor makes the step; with ZeRO-3 the weights too. On CPU they are there anyway, and nothing changes."""
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
    """CPU only: threads a rank computes with. Give it 1 where `max_staleness` lets playing go on beside it on the same
    cores: threads that wait for each other at every operation then take longer together than one does alone."""

    @model_validator(mode="after")
    def _schedule_ends(self) -> "LearnerSettings":
        if self.schedule != "constant" and self.decay_steps <= self.warmup_steps:
            raise ValueError(
                f"decay_steps must exceed warmup_steps ({self.warmup_steps}) where schedule is "
                f"{self.schedule!r}, got {self.decay_steps}"
            )
        return self

    @model_validator(mode="after")
    def _memory_fits(self) -> "LearnerSettings":
        if self.offload == "all" and self.zero_stage < 3:
            raise ValueError(f"offload = 'all' needs zero_stage = 3, got {self.zero_stage}; or offload the optimizer")
        if self.lora_targets and not self.lora_rank:
            raise ValueError(f"lora_targets = {list(self.lora_targets)} needs lora_rank, got 0; set it to 16 or so")
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
        """What a completion of this many tokens pays: 0 to 1, by DAPO's equation 13; 0 where `overlong` masks."""
        if self.overlong == "mask" or self.length_limit is None:
            return 0.0
        return min(1.0, max(0.0, 1 - (self.length_limit - num_tokens) / self.overlong_tokens))

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
