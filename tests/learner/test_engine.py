"""Tests of the real engine on a tiny Llama: learning, packing, ranks, and resuming."""

import os
import resource
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import plain_torch
import pytest
import torch
from safetensors.torch import load as read_weights
from tiny_batches import LESSONS, address, hindsights, samples, siblings
from torch import Tensor
from two_ranks import BATCHES, OTHERS, SAME, SETTINGS, moments

from learner.engine import Engine
from rollout.errors import CheckpointError, StorageFault
from rollout.records import Batch, Sample

pytestmark = [
    pytest.mark.engine,
    # Warnings of DeepSpeed and torch.
    pytest.mark.filterwarnings("ignore::DeprecationWarning"),
    pytest.mark.filterwarnings("ignore::FutureWarning"),
    pytest.mark.filterwarnings("ignore::UserWarning"),
]


def start(model: Path, meeting: str, temperature: float = 1.0, **changes: Any) -> Engine:
    torch.set_num_threads(1)
    settings = SETTINGS.model_copy(update=changes)
    return Engine(model, settings, init_method=meeting, temperature=temperature)


def score(engine: Engine, sample: Sample) -> float:
    """Log-prob of a sample's completion."""
    return sum(engine.logprobs(sample.prompt_ids + sample.token_ids)[len(sample.prompt_ids) - 1 :])


def apart(one: dict[str, Tensor], other: dict[str, Tensor]) -> float:
    """Largest weight difference of two models."""
    assert one.keys() == other.keys()
    return max((one[name] - other[name]).abs().max().item() for name in one)


def test_logprobs_equal_those_of_transformers(model: Path, meeting: str) -> None:
    ids = samples(1)[0].prompt_ids + samples(1)[0].token_ids
    with torch.no_grad():
        wanted = plain_torch.read(model)(torch.tensor([ids])).logits[0].log_softmax(-1)
    found = start(model, meeting).logprobs(ids)
    assert found == pytest.approx([wanted[i, token].item() for i, token in enumerate(ids[1:])], abs=1e-5)


@pytest.mark.parametrize(("budget", "temperature", "recompute"), [(70, 1.0, False), (4096, 0.7, True)])
def test_packed_update_equals_a_plain_update(
    model: Path, meeting: str, budget: int, temperature: float, recompute: bool
) -> None:
    engine = start(model, meeting, temperature, token_budget=budget, recompute=recompute)
    metrics = engine.update(Batch(samples=samples())).metrics
    wanted, steps = plain_torch.train(model, [Batch(samples=samples())], SETTINGS, temperature)
    # AdamW's step size does not depend on the gradient's scale, so the gradient norm is compared separately.
    assert metrics["grad_norm"] == pytest.approx(steps[0].norm, rel=1e-5)
    assert metrics["loss"] == pytest.approx(steps[0].loss, abs=1e-5)
    assert apart(read_weights(engine.weights()), wanted) < 1e-5
    assert metrics["tokens"] == sum(len(sample.token_ids) for sample in samples())
    assert metrics["padding_waste"] == 0
    assert 4 < metrics["entropy"] < 5.6
    assert metrics["clip_share"] == 0
    assert 0 < metrics["logprob_gap_mean"] < metrics["logprob_gap_max"]


def test_siblings_share_their_prompt_and_learn_as_if_separate(model: Path, meeting: str) -> None:
    wanted, steps = plain_torch.train(model, [Batch(samples=siblings())], SETTINGS)
    computed = []
    for budget in (60, 90, 4096):
        engine = start(model, meeting, token_budget=budget)
        metrics = engine.update(Batch(samples=siblings())).metrics
        assert metrics["grad_norm"] == pytest.approx(steps[0].norm, rel=1e-5)
        assert metrics["loss"] == pytest.approx(steps[0].loss, abs=1e-5)
        assert apart(read_weights(engine.weights()), wanted) < 1e-5
        computed.append(metrics["computed_tokens"])
    prompts = sum(len(sample.prompt_ids) for sample in samples(3))
    assert computed[-1] == prompts + sum(len(sample.token_ids) - 1 for sample in siblings())
    assert sorted(computed, reverse=True) == computed
    assert computed[0] > computed[-1]


def test_autocast_changes_updates_slightly_and_canary_logprobs_not_at_all(model: Path, meeting: str) -> None:
    exact, rough = start(model, meeting), start(model, meeting, autocast=True)
    ids = samples(1)[0].token_ids
    assert rough.logprobs(ids) == exact.logprobs(ids)
    norms = [engine.update(Batch(samples=samples())).metrics["grad_norm"] for engine in (exact, rough)]
    assert norms[0] != norms[1]
    assert norms[0] == pytest.approx(norms[1], rel=0.02)


@pytest.mark.parametrize("stage", [1, 2, 3])
def test_bfloat16_weights_learn_at_every_zero_stage(model: Path, meeting: str, stage: int) -> None:
    exact, rough = start(model, meeting, lr=1e-3), start(model, meeting, lr=1e-3, dtype="bfloat16", zero_stage=stage)
    for engine in (exact, rough):
        for seed in range(3):
            metrics = engine.update(Batch(samples=samples(seed=seed))).metrics
    assert metrics["grad_norm"] > 0
    wanted, found = read_weights(exact.weights()), read_weights(rough.weights())
    assert all(tensor.dtype == torch.bfloat16 for tensor in found.values())
    start_weights = plain_torch.read(model).state_dict()
    moved = {name: wanted[name] - start_weights[name] for name in wanted}
    off = {name: found[name].float() - wanted[name] for name in wanted}
    assert sum(v.norm() ** 2 for v in off.values()) < 0.2 * sum(v.norm() ** 2 for v in moved.values())


@pytest.mark.parametrize("stage", [1, 2, 3])
def test_bfloat16_gradients_are_accumulated_without_rounding_loss(model: Path, meeting: str, stage: int) -> None:
    kind: dict[str, Any] = {"dtype": "bfloat16", "zero_stage": stage}
    found = {}
    for name, changes in {
        "exact": {},
        "few": {**kind, "token_budget": 4096},
        "many": {**kind, "token_budget": 64},
    }.items():
        engine = start(model, meeting, **changes)
        engine.update(Batch(samples=samples(120)))
        found[name] = torch.cat([moment.flatten() for moment in moments(engine).values()])
    off = {name: ((found[name] - found["exact"]).norm() / found["exact"].norm()).item() for name in ("few", "many")}
    assert 1e-3 < off["few"] < off["many"] * 1.5
    assert off["many"] < off["few"] * 1.5


def test_positive_advantage_raises_and_negative_lowers_the_logprob(model: Path, meeting: str) -> None:
    engine = start(model, meeting, lr=1e-2)
    good, bad = (replace(sample, logprobs=(-5.6,) * len(sample.token_ids)) for sample in samples(2))
    good, bad, cut = replace(good, advantage=1.0), replace(bad, advantage=-1.0), replace(samples(3)[2], truncated=True)
    before = [score(engine, sample) for sample in (good, bad)]
    for _ in range(3):
        metrics = engine.update(Batch(samples=(good, bad, cut))).metrics
    after = [score(engine, sample) for sample in (good, bad)]
    assert after[0] > before[0] + 5
    assert after[1] < before[1] - 5
    assert metrics["samples"] == 2


def test_feedback_distillation_lowers_its_loss(model: Path, meeting: str) -> None:
    engine = start(model, meeting, lr=1e-2, distill_weight=1.0)
    updates = [engine.update(Batch(samples=(), lessons=LESSONS)) for _ in range(4)]
    losses = [update.metrics["distill_loss"] for update in updates]
    assert losses == sorted(losses, reverse=True)
    assert losses[-1] < losses[0] - 1
    assert updates[0].metrics["distill_match"] < updates[3].metrics["distill_match"] <= 1
    target = sum(len(lesson.target.encode()) for lesson in LESSONS)
    assert updates[0].metrics["distill_tokens"] == target


@pytest.mark.parametrize("stage", [1, 3])
def test_hindsight_makes_revisions_likely_without_the_feedback(model: Path, meeting: str, stage: int) -> None:
    # First train a policy to write these completions only when it sees the feedback.
    engine, seen = start(model, meeting, lr=1e-2, distill_weight=1.0, zero_stage=stage), hindsights(2)
    shown = [replace(sample, advantage=1.0, logprobs=(-5.6,) * len(sample.token_ids)) for sample in samples(2)]
    unshown = [replace(s, prompt_ids=one.prompt_ids, advantage=-1.0) for s, one in zip(shown, seen, strict=True)]
    for _ in range(6):
        engine.update(Batch(samples=(*shown, *unshown)))
    before = [score(engine, sample) for sample in unshown]
    assert all(score(engine, sample) > poor + 10 for sample, poor in zip(shown, before, strict=True))
    updates = [engine.update(Batch(samples=(), hindsights=seen)).metrics for _ in range(6)]
    assert updates[-1]["distill_loss"] < updates[0]["distill_loss"] / 2
    assert updates[0]["distill_tokens"] == sum(len(sample.token_ids) for sample in shown)
    assert all(score(engine, sample) > poor + 10 for sample, poor in zip(unshown, before, strict=True))


def test_empty_batch_changes_no_weight(model: Path, meeting: str) -> None:
    engine = start(model, meeting)
    engine.update(Batch(samples=samples()))
    before = engine.weights()
    update = engine.update(Batch(samples=()))
    assert (update.version, engine.version, engine.weights() == before) == (2, 2, True)
    assert update.metrics.keys() == engine.update(Batch(samples=samples())).metrics.keys()


def test_non_finite_loss_stops_the_run(model: Path, meeting: str) -> None:
    engine = start(model, meeting)
    broken = replace(samples(1)[0], logprobs=(float("nan"),) * len(samples(1)[0].token_ids))
    with pytest.raises(RuntimeError, match="update 1: the loss is not finite"):
        engine.update(Batch(samples=(broken,)))


def test_resumed_learner_continues_bit_identically(model: Path, meeting: str, tmp_path: Path) -> None:
    engine = start(model, meeting)
    batches = [Batch(samples=samples(seed=seed), lessons=LESSONS) for seed in range(4)]
    for batch in batches[:2]:
        engine.update(batch)
    engine.save(tmp_path / "step-2")
    at_two = engine.weights()
    for batch in batches[2:]:
        engine.update(batch)
    resumed = start(model, meeting)
    resumed.load(tmp_path / "step-2")
    assert (resumed.version, resumed.weights() == at_two) == (2, True)
    for batch in batches[2:]:
        resumed.update(batch)
    assert resumed.weights() == engine.weights()
    engine.load(tmp_path / "step-2")
    assert (engine.version, engine.weights() == at_two) == (2, True)


def test_incompatible_or_damaged_checkpoint_is_refused(model: Path, meeting: str, tmp_path: Path) -> None:
    engine = start(model, meeting)
    engine.save(tmp_path / "step-1")
    with pytest.raises(CheckpointError, match="written with zero_stage = 1, but this run has 2"):
        start(model, meeting, zero_stage=2).load(tmp_path / "step-1")
    largest = max((tmp_path / "step-1").rglob("*.pt"), key=lambda path: path.stat().st_size)
    with largest.open("r+b") as file:
        file.seek(1000)
        file.write(b"rot")
    with pytest.raises(CheckpointError, match=f"{largest.name} is damaged"):
        engine.load(tmp_path / "step-1")


@pytest.mark.parametrize("write", ["save", "export"])
def test_full_disk_is_a_storage_fault(model: Path, meeting: str, tmp_path: Path, write: str) -> None:
    engine = start(model, meeting)
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1 << 16, limits[1]))
    try:
        with pytest.raises(StorageFault, match="cannot write .*step-1: File too large"):
            getattr(engine, write)(tmp_path / "step-1")
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert not list(tmp_path.iterdir())


def test_exported_model_equals_the_learner(model: Path, meeting: str, tmp_path: Path) -> None:
    engine = start(model, meeting)
    engine.update(Batch(samples=samples()))
    engine.export(tmp_path / "champion")
    ids = samples(1)[0].token_ids
    with torch.no_grad():
        wanted = plain_torch.read(tmp_path / "champion")(torch.tensor([ids])).logits[0].log_softmax(-1)
    assert engine.logprobs(ids) == pytest.approx([wanted[i, t].item() for i, t in enumerate(ids[1:])], abs=1e-5)
    again = start(tmp_path / "champion", meeting)
    assert again.weights() == engine.weights()


@pytest.fixture(scope="module")
def learnt(model: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[int, Any]:
    """Results of the updates in `two_ranks.py` with one rank and with two."""
    script, out = str(Path(__file__).parents[1] / "support" / "two_ranks.py"), tmp_path_factory.mktemp("ranks")
    environment = os.environ | {"PYTHONPATH": str(Path.cwd()), "OMP_NUM_THREADS": "1"}
    running = []
    for ranks in (1, 2):
        where = address()
        running += [
            subprocess.Popen(
                [sys.executable, script, str(model), str(rank), str(ranks), where, str(out)],
                env=environment,
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                text=True,
            )
            for rank in range(ranks)
        ]
    for process in running:
        said, _ = process.communicate(timeout=300)
        assert process.returncode == 0, said
    return {ranks: torch.load(out / f"{ranks}.pt") for ranks in (1, 2)}


@pytest.mark.parametrize("way", SAME)
def test_two_ranks_match_a_plain_loop_at_every_zero_stage(model: Path, learnt: dict[int, Any], way: str) -> None:
    weights, steps = plain_torch.train(model, BATCHES, SETTINGS)
    found = learnt[2][way]
    for step, metrics, gradients in zip(steps, found["metrics"], found["gradients"], strict=True):
        assert metrics["loss"] == pytest.approx(step.loss, abs=1e-5)
        assert metrics["distill_loss"] == pytest.approx(step.distill_loss, abs=1e-5)
        assert metrics["grad_norm"] == pytest.approx(step.norm, rel=1e-5)
        assert apart(gradients, step.gradients) < 1e-5
    assert apart(found["weights"], weights) < 1e-5


@pytest.mark.parametrize("way", OTHERS)
def test_two_ranks_match_one_rank(learnt: dict[int, Any], way: str) -> None:
    one, two = (learnt[ranks][way] for ranks in (1, 2))
    for here, there in zip(one["metrics"], two["metrics"], strict=True):
        for name in ("loss", "distill_loss", "grad_norm", "kl", "entropy", "tokens"):
            assert here[name] == pytest.approx(there[name], rel=1e-4, abs=1e-5), name
    assert apart(one["weights"], two["weights"]) < 1e-5


@pytest.mark.parametrize("loss", ["dapo", "grpo", "gspo", "cispo"])
def test_clipping_starts_with_the_second_epoch_on_a_batch(model: Path, meeting: str, loss: str) -> None:
    batch = Batch(samples=samples())
    once = start(model, meeting, loss=loss, lr=1e-2, clip_high=0.01, clip_low=0.01)
    assert once.update(batch).metrics["clip_share"] == 0
    often = start(model, meeting, loss=loss, lr=1e-2, clip_high=0.01, clip_low=0.01, epochs=3)
    metrics = often.update(batch).metrics
    assert metrics["clip_share"] > 0.1
    assert metrics["tokens"] == sum(len(sample.token_ids) for sample in samples())
    assert apart(read_weights(once.weights()), read_weights(often.weights())) > 1e-3


@pytest.mark.parametrize("budget", [70, 4096])
def test_sequence_level_loss_does_not_depend_on_packing(model: Path, meeting: str, budget: int) -> None:
    kind = {"loss": "gspo", "rollout_level": "sequence", "rollout_correction": "mask", "rollout_cap": 1.2, "epochs": 2}
    wanted = start(model, meeting, token_budget=59, **kind).update(Batch(samples=samples())).metrics
    found = start(model, meeting, token_budget=budget, **kind).update(Batch(samples=samples())).metrics
    assert 0 < found["ratio_tail"] < 1
    for name in ("loss", "grad_norm", "ratio_tail"):
        assert found[name] == pytest.approx(wanted[name], rel=1e-5), name


def test_truncated_samples_are_used_only_with_a_length_penalty(model: Path, meeting: str) -> None:
    batch = Batch(samples=(samples(1)[0], replace(samples(2)[1], truncated=True)))
    assert start(model, meeting).update(batch).metrics["samples"] == 1
    soft = start(model, meeting, overlong="soft", length_limit=64, overlong_tokens=16)
    assert soft.update(batch).metrics["samples"] == 2


@pytest.mark.parametrize("stage", [1, 3])
def test_kl_is_measured_against_the_first_weights_and_limits_the_policy(
    model: Path, meeting: str, tmp_path: Path, stage: int
) -> None:
    kind: dict[str, Any] = {"lr": 1e-2, "zero_stage": stage, "kl_estimator": "k2"}
    batch = Batch(samples=samples())
    held, free = (start(model, meeting, kl_weight=weight, **kind) for weight in (10.0, 1e-9))
    assert start(model, meeting).update(batch).metrics.keys().isdisjoint({"kl"})
    seen = [[engine.update(batch).metrics["kl"] for _ in range(5)] for engine in (held, free)]
    assert seen[0][0] == seen[1][0] == pytest.approx(0, abs=1e-9)
    assert 0 < seen[0][-1] < seen[1][-1] / 2
    free.save(tmp_path / "step-5")
    resumed = start(model, meeting, kl_weight=1e-9, **kind)
    resumed.load(tmp_path / "step-5")
    assert resumed.update(batch).metrics["kl"] == free.update(batch).metrics["kl"] > seen[1][-1] / 2
    free.export(tmp_path / "later")
    with pytest.raises(CheckpointError, match="resume with the initial model of that run"):
        start(tmp_path / "later", meeting, kl_weight=1e-9, **kind).load(tmp_path / "step-5")
