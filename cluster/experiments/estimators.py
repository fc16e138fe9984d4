"""Computes the exact bias of each policy gradient estimator: `python -m cluster.experiments.estimators`.

It enumerates all outcomes of small problems with a known true gradient, and their probabilities. Nothing is sampled, so
a bias of zero is exact. The estimators are the learner's own advantages, losses and weights.
"""

import itertools
import math
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from learner.losses import advantage
from learner.losses.batch_counts import BatchCounts
from learner.losses.kl import kl_terms
from learner.losses.loss import Tokens, policy_loss
from learner.settings import LearnerSettings
from rollout.acceptance import first_improvement

REWARDS = (0.0, 0.35, 0.5, 0.95)
LENGTHS = (1, 2, 6, 4)
"""Tokens of each page: the first one chooses the page, the rest are determined by it."""
LOGITS = (0.6, 0.1, 0.3, -0.7)
REFERENCE = (0.0, 0.4, -0.3, 0.2)
START = 0.4
"""Reward of the page that a round revises."""
GROUP = 4
NOTHING = 1e-12
"""Values below this threshold are treated as rounding errors."""
Advantages = Callable[[Sequence[float]], Sequence[float] | None]
Outcome = tuple[float, Tensor]
"""A probability and the gradient estimate of that outcome."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Quality:
    """Mean and spread of an estimator relative to the true gradient."""

    scale: float
    """Length of the mean along the true gradient; an optimizer like AdamW is invariant to it."""
    bias: float
    """Length of the mean across the true gradient over its length along it: the tangent of the angle. 0 is unbiased."""
    noise: float
    """Standard deviation over the length of the mean."""


def quality(outcomes: Iterable[Outcome], truth: Tensor) -> Quality:
    """Computes an estimator's quality from its outcomes. `truth` is the gradient to estimate."""
    chances, slopes = zip(*outcomes, strict=True)
    chance_O1, slopes_OP = torch.tensor(chances, dtype=torch.float64)[:, None], torch.stack(slopes)
    mean_P = (chance_O1 * slopes_OP).sum(0)
    variance = (chance_O1 * (slopes_OP - mean_P).square()).sum()
    along = (mean_P @ truth) / (truth @ truth)
    if mean_P.norm() < NOTHING:
        return Quality(scale=0.0, bias=math.inf, noise=math.inf)
    across = (mean_P - along * truth).norm() / (along * truth).norm()
    return Quality(scale=along.item(), bias=across.item(), noise=(variance.sqrt() / mean_P.norm()).item())


def reward_gradient() -> Tensor:
    """∇J of the pages' policy: the gradient of the mean reward of one page."""
    return _slope(lambda logits: (logits.softmax(-1) * _vector(REWARDS)).sum(), LOGITS)


def group_outcomes(advantages: Advantages, **kind: Any) -> Iterator[Outcome]:
    """Enumerates all groups of pages of one task, with the gradient estimate of each."""
    chances = _vector(LOGITS).softmax(-1).tolist()
    for pages in itertools.product(range(len(REWARDS)), repeat=GROUP):
        found = advantages([REWARDS[page] for page in pages])
        yield math.prod(chances[page] for page in pages), _estimate(pages, found, **kind)


def round_outcomes(advantages: Advantages) -> Iterator[Outcome]:
    """Enumerates all rounds of attempts that end with the first improvement, with the gradient estimate of each."""
    chances = _vector(LOGITS).softmax(-1).tolist()
    for pages in itertools.product(range(len(REWARDS)), repeat=GROUP):
        rewards = [REWARDS[page] for page in pages]
        success = first_improvement(rewards, START)
        num = GROUP if success is None else success + 1
        # Enumerating the pages after the round's end sums over them.
        yield math.prod(chances[page] for page in pages), _estimate(pages[:num], advantages(rewards[:num]))


def correction_gradient() -> Tensor:
    """∇J of the two-choice policy of `correction_outcomes`."""
    return _slope(lambda logits: (_two_choices(logits).flatten().exp() * _grid().flatten()).sum(), _two_logits(0))


def correction_outcomes(**kind: Any) -> Iterator[Outcome]:
    """Enumerates all pages of two choices, sampled by an engine with log-probs unlike the learner's.

    Without settings, the engine's log-probs are taken to be the learner's.
    """
    settings = LearnerSettings(**kind)
    engine_AB = _two_choices(_vector(_two_logits(1)))
    for page in itertools.product(range(3), repeat=2):
        logits = _vector(_two_logits(0)).requires_grad_()
        tokens = Tokens(
            logprobs_T=(logprobs_T := _steps(logits, page)),
            old_logprobs_T=logprobs_T.detach(),
            engine_logprobs_T=_steps(_vector(_two_logits(1)), page) if kind else logprobs_T.detach(),
            advantages_T=torch.full((2,), _grid()[page].item() - _grid().mean().item(), dtype=torch.float64),
            sample_T=torch.zeros(2, dtype=torch.long),
        )
        loss = policy_loss(tokens, BatchCounts(tokens=1, sequences=1), settings).loss
        yield engine_AB[page].exp().item(), -torch.autograd.grad(loss, logits)[0]


def kl_gradient() -> Tensor:
    """∇KL(π‖π_ref) of the pages' policy."""
    return _slope(_divergence, LOGITS)


def kl_outcomes(estimator: str) -> Iterator[Outcome]:
    """Enumerates all pages with the gradient of their KL loss. `estimate` differentiates the k1 estimate directly."""
    for page, chance in enumerate(_vector(LOGITS).softmax(-1).tolist()):
        logits = _vector(LOGITS).requires_grad_()
        logprob, reference = logits.log_softmax(-1)[page], _vector(REFERENCE).log_softmax(-1)[page]
        loss = logprob - reference if estimator == "estimate" else kl_terms(logprob, reference, estimator)[1]  # type: ignore[arg-type]
        yield chance, torch.autograd.grad(loss, logits)[0]


def kl_estimates(estimator: str) -> tuple[float, float, float]:
    """The true KL, and mean and standard deviation of its estimate on one page."""
    logprobs, reference = _vector(LOGITS).log_softmax(-1), _vector(REFERENCE).log_softmax(-1)
    found = kl_terms(logprobs, reference, estimator)[0]  # type: ignore[arg-type]
    mean = (logprobs.exp() * found).sum()
    spread = (logprobs.exp() * (found - mean).square()).sum().sqrt()
    return _divergence(_vector(LOGITS)).item(), mean.item(), spread.item()


def _divergence(logits: Tensor) -> Tensor:
    logprobs = logits.log_softmax(-1)
    return (logprobs.exp() * (logprobs - _vector(REFERENCE).log_softmax(-1))).sum()


def _estimate(pages: Sequence[int], advantages: Sequence[float] | None, **kind: Any) -> Tensor:
    """Negative loss gradient of some pages; the default loss is `dr_grpo`, which does not normalise sums."""
    logits = _vector(LOGITS).requires_grad_()
    sample_T = torch.tensor([place for place, page in enumerate(pages) for _ in range(LENGTHS[page])])
    first_T = torch.tensor([t == 0 for page in pages for t in range(LENGTHS[page])])
    chosen_T = logits.log_softmax(-1)[torch.tensor(pages)][sample_T]
    logprobs_T = torch.where(first_T, chosen_T, 0.0)
    tokens = Tokens(
        logprobs_T=logprobs_T,
        old_logprobs_T=logprobs_T.detach(),
        engine_logprobs_T=logprobs_T.detach(),
        advantages_T=_vector(advantages or [0.0] * len(pages))[sample_T],
        sample_T=sample_T,
    )
    whole: dict[str, Any] = {"loss": "dr_grpo", "length_limit": 1}
    settings = LearnerSettings(**(whole | kind))
    loss = policy_loss(tokens, BatchCounts(tokens=len(sample_T), sequences=GROUP), settings).loss
    return -torch.autograd.grad(loss, logits)[0]


def _vector(values: Sequence[float]) -> Tensor:
    return torch.tensor(values, dtype=torch.float64)


def _slope(value: Callable[[Tensor], Tensor], at: Sequence[float]) -> Tensor:
    logits = _vector(at).requires_grad_()
    return torch.autograd.grad(value(logits), logits)[0]


def _grid() -> Tensor:
    """[A, B] reward of each pair of choices."""
    return _vector([0.1, 0.9, 0.3, 0.6, 0.2, 0.0, 0.4, 0.5, 1.0]).view(3, 3)


def _two_logits(engine: int) -> list[float]:
    """Logits of the first choice, then of the second choice after each first one; the engine's differ slightly."""
    learner = [0.4, 0.0, -0.5, 0.2, -0.6, 0.3, 0.0, 0.5, -0.4, 0.7, -0.2, 0.1]
    return [value + engine * 0.6 * math.sin(5 * place + 1) for place, value in enumerate(learner)]


def _two_choices(logits: Tensor) -> Tensor:
    """[A, B] log-prob of each pair of choices."""
    return logits[:3].log_softmax(-1)[:, None] + logits[3:].view(3, 3).log_softmax(-1)


def _steps(logits: Tensor, page: tuple[int, ...]) -> Tensor:
    """[2] log-prob of each of a page's choices."""
    first, second = page
    return torch.stack([logits[:3].log_softmax(-1)[first], logits[3:].view(3, 3)[first].log_softmax(-1)[second]])


BASELINES: dict[str, Advantages] = {
    "reward itself": lambda rewards: rewards,
    "mean": partial(advantage.outcome, normalize_std=False),
    "mean, over the standard deviation": partial(advantage.outcome, normalize_std=True),
    "leave_one_out": partial(advantage.outcome, normalize_std=False, baseline="leave_one_out"),
}
AVERAGES = ("dapo", "grpo", "dr_grpo")
IN_ROUNDS: dict[str, Advantages] = {
    "mean": BASELINES["mean"],
    "leave_one_out": BASELINES["leave_one_out"],
    "earlier": partial(advantage.earlier, start=START),
}
CORRECTIONS: dict[str, dict[str, Any]] = {
    "none": {},
    "truncate, token": {"rollout_correction": "truncate", "rollout_level": "token"},
    "truncate, sequence": {"rollout_correction": "truncate", "rollout_level": "sequence"},
    "mask, token": {"rollout_correction": "mask", "rollout_level": "token"},
    "mask, sequence": {"rollout_correction": "mask", "rollout_level": "sequence"},
    "no cap, token": {"rollout_cap": 1e9, "rollout_level": "token"},
    "no cap, sequence": {"rollout_cap": 1e9, "rollout_level": "sequence"},
}
KL_LOSSES = {"k1, differentiated directly": "estimate", "k1": "k1", "k2": "k2", "k3": "k3"}
TEXT = """# Errors of the estimators

Written by `python -m cluster.experiments.estimators`, which enumerates every outcome of small worlds with its
probability: nothing is sampled, all numbers are computed, and a bias of 0 is exactly 0. The code of the estimators is
the learner's.

- **scale**: length of the mean estimate along the true gradient; optimizers such as AdamW are invariant to it.
- **bias**: its length across the true gradient, divided by its length along it: the tangent of the angle between them.
- **noise**: standard deviation over the length of the mean, of one group, round or page.

## Baselines: {group} pages written for one task (`learner.baseline`, `learner.normalize_std`)

{baselines}

## Averages: the same groups, pages of {shortest} to {longest} tokens (`learner.loss`), leave_one_out

Here `dapo` divides by the tokens of one group; the tokens of a whole batch vary less and cause less bias.

{averages}

## Rounds: up to {group} attempts, ended by the first that improves (`learner.credit = "siblings"`)

The length of a round depends on its attempts, and so does the mean that they are compared with. Earlier attempts do
not depend on a later one.

{rounds}

## Weights: an engine that differs from the learner (`learner.rollout_correction`, `rollout_level`), cap 2

{corrections}

## KL as a loss, for one page of one token (`learner.kl_estimator`)

{kl_losses}

The true KL is {true_kl:.4f}. Estimates of it:

{kl_values}
"""


def report() -> str:
    """All tables, as Markdown."""
    reward, leave_one_out = reward_gradient(), BASELINES["leave_one_out"]
    corrected = correction_gradient()
    return TEXT.format(
        group=GROUP,
        shortest=min(LENGTHS),
        longest=max(LENGTHS),
        baselines=_table({name: quality(group_outcomes(kind), reward) for name, kind in BASELINES.items()}),
        averages=_table({loss: quality(group_outcomes(leave_one_out, loss=loss), reward) for loss in AVERAGES}),
        rounds=_table({name: quality(round_outcomes(kind), reward) for name, kind in IN_ROUNDS.items()}),
        corrections=_table({n: quality(correction_outcomes(**kind), corrected) for n, kind in CORRECTIONS.items()}),
        kl_losses=_table({name: quality(kl_outcomes(kind), kl_gradient()) for name, kind in KL_LOSSES.items()}),
        true_kl=kl_estimates("k1")[0],
        kl_values="\n".join(
            ["| estimator | mean | standard deviation |", "|---|---:|---:|"]
            + [f"| {k} | {kl_estimates(k)[1]:.4f} | {kl_estimates(k)[2]:.4f} |" for k in ("k1", "k2", "k3")]
        ),
    )


def _table(rows: dict[str, Quality]) -> str:
    lines = ["| estimator | scale | bias | noise |", "|---|---:|---:|---:|"]
    for name, found in rows.items():
        cells = " | ".join(_cell(value) for value in (found.scale, found.bias, found.noise))
        lines.append(f"| {name} | {cells} |")
    return "\n".join(lines)


def _cell(value: float) -> str:
    if math.isinf(value):
        return "no gradient"
    return "0" if abs(value) < NOTHING else f"{value:.3f}"


def main() -> None:
    """Writes docs/estimators.md."""
    path = Path(__file__).parents[2] / "docs" / "estimators.md"
    path.parent.mkdir(exist_ok=True)
    path.write_text(report(), encoding="utf-8")
    print(f"wrote {path}")


if __name__ == "__main__":
    main()
