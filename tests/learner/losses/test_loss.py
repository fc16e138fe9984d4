"""Tests of every loss against its formula, computed per sample with Python floats."""

import itertools
import math
import random
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor

from learner.losses.batch_counts import BatchCounts
from learner.losses.distill import distill_loss, hindsight_loss
from learner.losses.loss import LOSSES, PolicyLoss, Tokens, policy_loss
from learner.settings import LearnerSettings

LENGTHS = (3, 1, 7, 4, 12, 2, 11)
LIMIT = 12
BASE: dict[str, Any] = {"clip_low": 0.2, "clip_high": 0.28, "rollout_cap": 2.0, "length_limit": LIMIT}
Values = list[list[float]]


def tokens(seed: int = 5) -> dict[str, Values]:
    """Log-probs per token of each sample that reach both clips and the cap, and an advantage per sample."""
    draw = random.Random(seed)

    def each(make: Callable[[int, int], float]) -> Values:
        return [[make(i, t) for t in range(length)] for i, length in enumerate(LENGTHS)]

    engine = each(lambda i, t: -draw.expovariate(1))
    old = each(lambda i, t: engine[i][t] + draw.gauss(0, 0.5))
    new = each(lambda i, t: old[i][t] + draw.gauss(0, 0.4))
    reference = each(lambda i, t: old[i][t] + draw.gauss(0, 0.4))
    goodness = [draw.gauss(0, 1) for _ in LENGTHS]
    return {
        "new": new,
        "old": old,
        "engine": engine,
        "reference": reference,
        "advantages": each(lambda i, t: goodness[i]),
    }


def by_hand(settings: LearnerSettings, new: Values, values: dict[str, Values], frozen: Values | None = None) -> float:
    """The formulas of METHOD. `frozen` replaces `new` where a formula treats it as a constant."""
    frozen, total = frozen or new, 0.0
    count = sum(LENGTHS)
    for i, length in enumerate(LENGTHS):
        old, engine, reference = values["old"][i], values["engine"][i], values["reference"][i]
        advantage = values["advantages"][i][0]
        for t in range(length):
            ratio = math.exp(new[i][t] - old[t])
            if settings.loss == "gspo":
                ratio = math.prod(math.exp(a - b) for a, b in zip(new[i], old, strict=True)) ** (1 / length)
            bounded = min(max(ratio, 1 - settings.clip_low), 1 + settings.clip_high)
            gain = min(ratio * advantage, bounded * advantage)
            if settings.loss == "cispo":
                gain = min(math.exp(frozen[i][t] - old[t]), 1 + settings.clip_high) * advantage * new[i][t]
            apart = new[i][t] - reference[t]
            still = frozen[i][t] - reference[t]
            penalty = {"k1": still * new[i][t], "k2": apart**2 / 2, "k3": math.exp(-apart) - 1 + apart}
            gain -= settings.kl_weight * penalty[settings.kl_estimator]
            gaps = [old[t] - engine[t]] if settings.rollout_level == "token" else [o - e for o, e in zip(old, engine)]  # noqa: B905
            weight = math.exp(sum(gaps))
            if weight > settings.rollout_cap:
                weight = settings.rollout_cap if settings.rollout_correction == "truncate" else 0.0
            divisor = {"dapo": count, "cispo": count, "dr_grpo": len(LENGTHS) * LIMIT}
            total -= weight * gain / divisor.get(settings.loss, len(LENGTHS) * length)
    return total


def flat(values: Values) -> Tensor:
    return torch.tensor([value for mine in values for value in mine], dtype=torch.float64)


def record(values: dict[str, Values], logprobs_T: Tensor, *, kl: bool = False) -> Tokens:
    """The samples as one packed row."""
    return Tokens(
        logprobs_T=logprobs_T,
        old_logprobs_T=flat(values["old"]),
        engine_logprobs_T=flat(values["engine"]),
        advantages_T=flat(values["advantages"]),
        sample_T=torch.tensor([i for i, length in enumerate(LENGTHS) for _ in range(length)]),
        reference_logprobs_T=flat(values["reference"]) if kl else None,
    )


def whole(row: Tokens, settings: LearnerSettings) -> PolicyLoss:
    return policy_loss(row, BatchCounts(tokens=sum(LENGTHS), sequences=len(LENGTHS)), settings)


CORRECTIONS = list(itertools.product(("truncate", "mask"), ("token", "sequence")))
KINDS = [
    *(
        {"loss": loss, "rollout_correction": form, "rollout_level": level}
        for loss in LOSSES
        for form, level in CORRECTIONS
    ),
    *({"loss": loss, "kl_weight": 0.3, "kl_estimator": k} for loss in ("dapo", "gspo") for k in ("k1", "k2", "k3")),
]


@pytest.mark.parametrize("changes", KINDS, ids=lambda changes: "-".join(map(str, changes.values())))
def test_loss_and_gradient_match_the_formulas(changes: dict[str, Any]) -> None:
    settings = LearnerSettings(**(BASE | changes))
    values = tokens()
    logprobs_T = flat(values["new"]).requires_grad_()
    found = whole(record(values, logprobs_T, kl=settings.kl_weight > 0), settings)
    assert found.loss.item() == pytest.approx(by_hand(settings, values["new"], values), rel=1e-10)
    found.loss.backward()
    assert logprobs_T.grad is not None
    step, slopes = 1e-6, iter(logprobs_T.grad.tolist())
    for i, length in enumerate(LENGTHS):
        for t in range(length):
            sides = []
            for move in (step, -step):
                moved = [list(mine) for mine in values["new"]]
                moved[i][t] += move
                sides.append(by_hand(settings, moved, values, frozen=values["new"]))
            assert next(slopes) == pytest.approx((sides[0] - sides[1]) / (2 * step), abs=1e-7)


def test_test_data_reaches_both_clips_and_the_cap() -> None:
    values = tokens()
    settings = LearnerSettings(**BASE)
    found = whole(record(values, flat(values["new"]), kl=True), settings)
    old, engine = flat(values["old"]), flat(values["engine"])
    ratios = (flat(values["new"]) - old).exp()
    advantages = flat(values["advantages"])
    high, low = (ratios > 1.28) & (advantages > 0), (ratios < 0.8) & (advantages < 0)
    assert high.any()
    assert low.any()
    assert found.clipped.item() == (high | low).sum()
    assert found.tail.item() == ((old - engine).exp() > 2).sum() > 0
    assert found.gap_sum.item() == pytest.approx((old - engine).abs().sum().item())
    assert found.gap_max.item() == (old - engine).abs().max()
    apart = flat(values["new"]) - flat(values["reference"])
    assert found.kl.item() == pytest.approx(((-apart).exp() - 1 + apart).sum().item())


@pytest.mark.parametrize("loss", LOSSES)
def test_on_policy_gradient_is_the_plain_policy_gradient(loss: str) -> None:
    """Two samples of one and three tokens: the losses differ only in the weight of the long one."""
    settings = LearnerSettings(**(BASE | {"loss": loss}))
    logprobs_T = torch.tensor([-1.0, -2.0, -2.0, -2.0], requires_grad=True)
    same = logprobs_T.detach()
    row = Tokens(
        logprobs_T=logprobs_T,
        old_logprobs_T=same,
        engine_logprobs_T=same,
        advantages_T=torch.tensor([1.0, -3.0, -3.0, -3.0]),
        sample_T=torch.tensor([0, 1, 1, 1]),
    )
    found = policy_loss(row, BatchCounts(tokens=4, sequences=2), settings)
    found.loss.backward()
    assert logprobs_T.grad is not None
    wanted = {"dapo": [-0.25, 0.75], "cispo": [-0.25, 0.75], "dr_grpo": [-1 / 24, 3 / 24]}.get(loss, [-0.5, 0.5])
    assert logprobs_T.grad.tolist() == pytest.approx([wanted[0], *[wanted[1]] * 3])
    assert (found.clipped.item(), found.tail.item(), found.gap_max.item(), found.kl.item()) == (0, 0, 0, 0)


@pytest.mark.parametrize("loss", LOSSES)
def test_losses_of_rows_add_up_to_the_loss_of_the_batch(loss: str) -> None:
    settings = LearnerSettings(**(BASE | {"loss": loss, "kl_weight": 0.1, "rollout_level": "sequence"}))
    values = tokens()
    row = record(values, flat(values["new"]), kl=True)

    def part(first: int, last: int) -> float:
        places = (row.sample_T >= first) & (row.sample_T < last)
        fields = {name: getattr(row, name)[places] for name in row.__dataclass_fields__}
        return whole(Tokens(**fields), settings).loss.item()

    assert part(0, 3) + part(3, 5) + part(5, 7) == pytest.approx(whole(row, settings).loss.item(), rel=1e-12)
    assert part(7, 7) == 0


def test_masked_importance_weight_may_be_infinite() -> None:
    settings = LearnerSettings(**(BASE | {"rollout_correction": "mask", "rollout_level": "sequence"}))
    values = tokens()
    values["engine"][0] = [-500.0] * LENGTHS[0]
    found = whole(record(values, flat(values["new"])), settings)
    assert found.loss.isfinite()
    assert found.tail.item() >= LENGTHS[0]


def test_distillation_loss_is_cross_entropy() -> None:
    assert distill_loss(torch.tensor([-1.0, -3.0]), BatchCounts(distill_tokens=4, distill_weight=0.5)).item() == 0.5


def test_hindsight_loss_is_the_kl_divergence_from_the_teacher() -> None:
    draw = torch.Generator().manual_seed(0)
    student, teacher = (torch.randn(5, 7, generator=draw, dtype=torch.float64).log_softmax(-1) for _ in range(2))
    wanted = sum(
        math.exp(q) * (q - p) for p, q in zip(student.flatten().tolist(), teacher.flatten().tolist(), strict=True)
    )
    counts = BatchCounts(distill_tokens=4, distill_weight=0.5)
    assert hindsight_loss(student, teacher, counts).item() == pytest.approx(0.5 * wanted / 4)
    logits = teacher.clone().requires_grad_()
    hindsight_loss(logits.log_softmax(-1), teacher, counts).backward()
    assert logits.grad is not None
    assert logits.grad.abs().max().item() == pytest.approx(0, abs=1e-15)
