"""The loss against the formula written out token by token, in float64."""

import math
import random

import pytest
import torch

from learner.distill import distill_loss
from learner.loss import policy_loss

LOW, HIGH, CAP = 0.2, 0.28, 2.0


def by_hand(new: list[float], old: list[float], engine: list[float], advantages: list[float], num: int) -> float:
    """METHOD's formula with Python's floats."""
    total = 0.0
    for logp, start, sampled, advantage in zip(new, old, engine, advantages, strict=True):
        ratio = math.exp(logp - start)
        bounded = min(max(ratio, 1 - LOW), 1 + HIGH)
        total -= min(math.exp(start - sampled), CAP) * min(ratio * advantage, bounded * advantage)
    return total / num


def tokens(num: int = 200) -> list[list[float]]:
    """Random log-probs (new, old, engine) and advantages that reach both clips and the cap."""
    draw = random.Random(5)
    engine = [-draw.expovariate(1) for _ in range(num)]
    old = [value + draw.gauss(0, 0.6) for value in engine]
    new = [value + draw.gauss(0, 0.4) for value in old]
    return [new, old, engine, [draw.gauss(0, 1) for _ in range(num)]]


def test_loss_is_the_formula() -> None:
    values = tokens()
    found = policy_loss(
        *(torch.tensor(v, dtype=torch.float64) for v in values), clip_low=LOW, clip_high=HIGH, cap=CAP, num_tokens=321
    )
    new, old, engine, advantages = values
    assert found.loss.item() == pytest.approx(by_hand(new, old, engine, advantages, 321), rel=1e-12)
    gaps = [abs(o - e) for o, e in zip(old, engine, strict=True)]
    assert found.gap_sum.item() == pytest.approx(sum(gaps))
    assert found.gap_max.item() == pytest.approx(max(gaps))
    assert found.tail.item() == sum(o - e > math.log(CAP) for o, e in zip(old, engine, strict=True)) > 0
    ratios = [(math.exp(n - o), a) for n, o, a in zip(new, old, advantages, strict=True)]
    assert found.clipped.item() == sum((r > 1 + HIGH and a > 0) or (r < 1 - LOW and a < 0) for r, a in ratios) > 0


def test_gradient_is_the_formulas() -> None:
    new, old, engine, advantages = tokens(40)
    logprobs_T = torch.tensor(new, dtype=torch.float64, requires_grad=True)
    rest = (torch.tensor(v, dtype=torch.float64) for v in (old, engine, advantages))
    policy_loss(logprobs_T, *rest, clip_low=LOW, clip_high=HIGH, cap=CAP, num_tokens=40).loss.backward()
    assert logprobs_T.grad is not None
    step = 1e-6
    for place, slope in enumerate(logprobs_T.grad.tolist()):
        up, down = list(new), list(new)
        up[place] += step
        down[place] -= step
        sides = [by_hand(side, old, engine, advantages, 40) for side in (up, down)]
        assert slope == pytest.approx((sides[0] - sides[1]) / (2 * step), abs=1e-7)


def test_on_policy_the_gradient_is_plain_policy_gradient() -> None:
    logprobs_T = torch.tensor([-1.0, -2.0], requires_grad=True)
    same = logprobs_T.detach()
    found = policy_loss(
        logprobs_T, same, same, torch.tensor([1.0, -3.0]), clip_low=LOW, clip_high=HIGH, cap=CAP, num_tokens=2
    )
    found.loss.backward()
    assert logprobs_T.grad is not None
    assert logprobs_T.grad.tolist() == [-0.5, 1.5]
    assert (found.clipped.item(), found.tail.item(), found.gap_max.item()) == (0, 0, 0)


def test_shares_of_a_batch_add_up_to_the_batch() -> None:
    values = [torch.tensor(v, dtype=torch.float64) for v in tokens()]

    def loss(places: slice) -> float:
        share = [v[places] for v in values]
        return policy_loss(*share, clip_low=LOW, clip_high=HIGH, cap=CAP, num_tokens=200).loss.item()

    assert loss(slice(0, 70)) + loss(slice(70, 200)) == pytest.approx(loss(slice(0, 200)), rel=1e-12)
    assert loss(slice(0, 0)) == 0


def test_distillation_is_cross_entropy() -> None:
    assert distill_loss(torch.tensor([-1.0, -3.0]), weight=0.5, num_tokens=4).item() == 0.5
