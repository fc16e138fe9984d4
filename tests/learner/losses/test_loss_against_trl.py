"""Tests of the losses against TRL's GRPOTrainer on the same tensors."""

import importlib
import random
import warnings
from collections import defaultdict
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from torch import Tensor

from learner.losses.batch_counts import BatchCounts
from learner.losses.loss import Tokens, policy_loss
from learner.settings import LearnerSettings

LENGTHS, LIMIT = (5, 9, 2, 9, 1, 6), 9
LOW, HIGH, CAP = 0.2, 0.28, 2.0
NAMES = ("new", "old", "engine", "reference")


@pytest.fixture(scope="module")
def trainer() -> Any:
    """The trainer class of TRL."""
    with warnings.catch_warnings():
        # TRL warns, among other things, that it knows older vLLM versions only; vLLM is not used here.
        warnings.simplefilter("ignore")
        try:
            return importlib.import_module("trl").GRPOTrainer
        except ImportError as error:
            pytest.skip(f"TRL is not installed: {error}")


def padded() -> dict[str, Tensor]:
    """[S, LIMIT] log-probs that reach both clips and the cap, a mask, and [S] advantages, in float64."""
    draw = torch.Generator().manual_seed(3)
    shape = (len(LENGTHS), LIMIT)

    def noise(scale: float) -> Tensor:
        return scale * torch.randn(shape, generator=draw, dtype=torch.float64)

    engine = noise(1.0) - 3
    old = engine + noise(0.5)
    return {
        "engine": engine,
        "old": old,
        "new": old + noise(0.4),
        "reference": old + noise(0.4),
        "mask": torch.tensor([[t < length for t in range(LIMIT)] for length in LENGTHS]).double(),
        "advantages": noise(1.0)[:, 0],
    }


def theirs(trainer: Any, kind: str, values: dict[str, Tensor], settings: LearnerSettings) -> Tensor:
    """The loss of TRL: its method on a trainer with given log-probs."""
    loss_type, level = ("grpo", "sequence") if kind == "gspo" else (kind, "token")
    seen = SimpleNamespace(gather=lambda x: x, reduce=lambda x, reduction: x, num_processes=1, sync_gradients=True)
    seen.gather_for_metrics = seen.gather
    self = trainer.__new__(trainer)
    vars(self).update(
        loss_type=loss_type,
        importance_sampling_level=level,
        epsilon_low=LOW,
        # TRL's value is the clip itself; ours is its distance from 1.
        epsilon_high=1 + HIGH if kind == "cispo" else HIGH,
        beta=settings.kl_weight,
        max_completion_length=LIMIT,
        current_gradient_accumulation_steps=1,
        use_vllm=True,
        vllm_importance_sampling_correction=True,
        top_entropy_quantile=1.0,
        off_policy_mask_threshold=None,
        aux_loss_enabled=False,
        _entropy_bonus_enabled=False,
        accelerator=seen,
        model=SimpleNamespace(training=True),
        args=SimpleNamespace(delta=None, use_bias_correction_kl=False, steps_per_generation=1),
        _metrics={"train": defaultdict(list)},
        _get_per_token_logps_and_entropies=lambda *_, **__: (values["new"], torch.zeros_like(values["new"]), None),
    )
    ids = torch.zeros(values["mask"].shape, dtype=torch.long)
    weights = (values["old"] - values["engine"]).exp().clamp(max=CAP)
    inputs = {
        "prompt_ids": ids[:, :1],
        "prompt_mask": ids[:, :1] + 1,
        "completion_ids": ids,
        "completion_mask": values["mask"],
        "advantages": values["advantages"],
        "old_per_token_logps": values["old"],
        # TRL does not weight its KL by this ratio, so the ratio is left out when a KL is compared.
        "importance_sampling_ratio": torch.ones_like(weights) if settings.kl_weight else weights,
        "ref_per_token_logps": values["reference"],
        "num_items_in_batch": values["mask"].sum(),
    }
    found: Tensor = trainer._compute_loss(self, None, inputs)
    return found


def ours(values: dict[str, Tensor], settings: LearnerSettings) -> Tensor:
    """The same samples packed in another order in two rows."""
    order = random.Random(1).sample(range(len(LENGTHS)), len(LENGTHS))
    total = torch.zeros((), dtype=torch.float64)
    counts = BatchCounts(tokens=sum(LENGTHS), sequences=len(LENGTHS))
    for row in (order[:4], order[4:]):
        fields = {name: torch.cat([values[name][i, : LENGTHS[i]] for i in row]) for name in NAMES}
        tokens = Tokens(
            logprobs_T=fields["new"],
            old_logprobs_T=fields["old"],
            engine_logprobs_T=fields["old"] if settings.kl_weight else fields["engine"],
            advantages_T=torch.cat([values["advantages"][i].expand(LENGTHS[i]) for i in row]),
            sample_T=torch.tensor([place for place, i in enumerate(row) for _ in range(LENGTHS[i])]),
            reference_logprobs_T=fields["reference"] if settings.kl_weight else None,
        )
        total = total + policy_loss(tokens, counts, settings).loss
    return total


@pytest.mark.parametrize("kl_weight", [0.0, 0.3])
@pytest.mark.parametrize("kind", ["grpo", "dapo", "dr_grpo", "gspo", "cispo"])
def test_losses_and_gradients_equal_those_of_trl(trainer: Any, kind: str, kl_weight: float) -> None:
    settings = LearnerSettings(
        loss=kind,  # type: ignore[arg-type]
        length_limit=LIMIT,
        clip_low=LOW,
        clip_high=HIGH,
        rollout_cap=CAP,
        kl_weight=kl_weight,
        kl_estimator="k3",
    )
    found = []
    for loss in (lambda v: theirs(trainer, kind, v, settings), lambda v: ours(v, settings)):
        values = padded()
        values["new"].requires_grad_()
        result = loss(values)
        result.backward()
        found.append((result.item(), values["new"].grad))
    (their_loss, their_slopes), (our_loss, our_slopes) = found
    assert our_loss == pytest.approx(their_loss, abs=1e-6)
    assert our_loss == pytest.approx(their_loss, rel=1e-12)
    assert their_slopes is not None
    assert our_slopes is not None
    torch.testing.assert_close(our_slopes, their_slopes, rtol=1e-10, atol=1e-12)
