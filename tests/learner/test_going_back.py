"""Tests of the real engine's return to a champion in place: weights and optimizer are restored."""

from pathlib import Path
from typing import Any

import pytest
import torch
from tiny_batches import LESSONS, samples

from learner.engine import Engine
from learner.settings import LearnerSettings
from rollout.records import Batch

pytestmark = [
    pytest.mark.engine,
    # Warnings of DeepSpeed and torch.
    pytest.mark.filterwarnings("ignore::DeprecationWarning"),
    pytest.mark.filterwarnings("ignore::FutureWarning"),
    pytest.mark.filterwarnings("ignore::UserWarning"),
]
BATCHES = [Batch(samples=samples(seed=seed), lessons=LESSONS) for seed in range(3)]


@pytest.mark.parametrize("champion", [0, 1])
@pytest.mark.parametrize("kind", [{}, {"zero_stage": 2}, {"zero_stage": 3}, {"dtype": "bfloat16"}], ids=str)
def test_loading_a_champion_in_place_is_bit_identical(
    model: Path, meeting: str, tmp_path: Path, kind: dict[str, Any], champion: int
) -> None:
    torch.set_num_threads(1)
    settings = LearnerSettings(lr=1e-3, token_budget=128, autocast=False, threads=1, **kind)
    engine = Engine(model, settings, init_method=meeting)
    for batch in BATCHES[:champion]:
        engine.update(batch)
    engine.save(tmp_path / "champion")
    then = engine.weights()
    way = [(engine.update(batch), engine.weights()) for batch in BATCHES]
    engine.load(tmp_path / "champion")
    assert (engine.version, engine.weights() == then) == (champion, True)
    # An optimizer with the old state would take other steps now.
    again = [(engine.update(batch), engine.weights()) for batch in BATCHES]
    assert [one.version for one, _ in again] == [one.version for one, _ in way]
    assert [weights for _, weights in again] == [weights for _, weights in way]
