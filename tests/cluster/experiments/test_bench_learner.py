"""Tests of the learner benchmark: the baselines do the same work as the learner."""

import random
from pathlib import Path
from typing import Any

import pytest
import torch
from tiny_model import tiny_model

from cluster.experiments.bench.learner import _address, measure
from cluster.experiments.bench.plain import PlainLoop, micro_batches
from learner.batch import pack
from learner.engine import Engine
from learner.model import read_model
from learner.packing import sequence_of, ungrouped
from learner.settings import LearnerSettings
from rollout.records import Batch, Sample

SETTINGS = LearnerSettings(lr=1e-3, token_budget=256, threads=1, autocast=False)


def loud(test: Any) -> Any:
    """Marks a test of the real engine and ignores the warnings of DeepSpeed and torch."""
    for kind in ("DeprecationWarning", "FutureWarning", "UserWarning"):
        test = pytest.mark.filterwarnings(f"ignore::{kind}")(test)
    return pytest.mark.engine(test)


def samples(num: int = 12) -> list[Sample]:
    draw = random.Random(3)
    return [
        Sample(
            prompt_ids=tuple(draw.randrange(3, 259) for _ in range(draw.randint(2, 20))),
            token_ids=(tokens := tuple(draw.randrange(3, 259) for _ in range(draw.randint(8, 90)))),
            logprobs=tuple(draw.gauss(-5.6, 0.4) for _ in tokens),
            advantage=draw.gauss(0, 1),
        )
        for _ in range(num)
    ]


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("model")
    tiny_model(folder)
    return folder


@loud
def test_plain_loops_take_the_same_steps_as_the_learner(model: Path) -> None:
    torch.set_num_threads(1)
    engine = Engine(model, SETTINGS, init_method=_address())
    packed, padded = (PlainLoop(read_model(model, SETTINGS, "cpu"), SETTINGS, "cpu") for _ in range(2))
    padded.model.set_attn_implementation("sdpa")
    pieces = [sequence_of(sample) for sample in samples()]
    rows = [
        ungrouped(pieces[i] for i in row) for row in pack([piece.length for piece in pieces], SETTINGS.token_budget)
    ]
    for _step in range(3):
        norm = engine.update(Batch(samples=tuple(samples()))).metrics["grad_norm"]
        assert packed.update_packed(rows) == pytest.approx(norm, rel=1e-4)
        assert padded.update_padded(pieces) == pytest.approx(norm, rel=1e-4)
    learnt = dict(engine.tensors())
    for loop in (packed, padded):
        assert all((learnt[name] - p).abs().max() < 1e-5 for name, p in loop.model.named_parameters())


@loud
@pytest.mark.parametrize("changes", [{}, {"lora_rank": 4}], ids=str)
def test_measurement_reports_every_metric(
    model: Path, changes: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("cluster.experiments.bench.learner.TURNS", 1)
    figures = measure(model, SETTINGS.model_copy(update=changes), samples(), padded=not changes)
    wanted = {"tokens", "tokens_per_s", "padding_waste", "ratio_plain_torch", "learner_s", "plain_s"}
    if not changes:
        wanted |= {"ratio_packed", "ratio_packed_sorted", "padded_s", "padded_sorted_s"}
    assert figures.keys() == wanted
    assert all(value > 0 for name, value in figures.items() if name != "padding_waste")
    assert figures["padding_waste"] == 0


def test_padded_micro_batches_stay_within_the_token_budget() -> None:
    pieces = [sequence_of(sample) for sample in samples(40)]
    some = list(micro_batches(pieces, 256))
    assert [piece for batch in some for piece in batch] == pieces
    sizes = [len(batch) * max(piece.length for piece in batch) for batch in some]
    assert max(sizes) <= 256
    assert sum(sizes) > 1.2 * sum(piece.length for piece in pieces)


def test_bfloat16_weights_have_float32_masters(model: Path) -> None:
    rough = SETTINGS.model_copy(update={"dtype": "bfloat16", "lr": 1e-5})
    loop = PlainLoop(read_model(model, rough, "cpu"), rough, "cpu")
    before = [weight.clone() for weight in loop.weights]
    pieces = [sequence_of(sample) for sample in samples()]
    for _ in range(2):
        loop.update_packed([ungrouped(pieces[:4]), ungrouped(pieces[4:8])])
    # Steps too small for bfloat16 remain in the masters.
    kept = zip(loop.masters, before, strict=True)
    assert all(0 < (master - weight).abs().max() < 1e-4 for master, weight in kept)
