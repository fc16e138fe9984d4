"""Test that plain vLLM loads an exported model and gives the learner's log-probs."""

import json
import subprocess
import sys
from pathlib import Path

import pytest
from tiny_batches import address, samples
from tiny_model import tiny_model

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
IDS = samples(1)[0].prompt_ids + samples(1)[0].token_ids


def test_plain_vllm_serves_an_exported_model_with_the_learner_logprobs(tmp_path: Path) -> None:
    tiny_model(tmp_path / "model")
    settings = LearnerSettings(lr=1e-2, token_budget=128, autocast=False, threads=1, zero_stage=3, lora_rank=4)
    engine = Engine(tmp_path / "model", settings, init_method=address())
    first = engine.logprobs(IDS)
    for _ in range(3):
        engine.update(Batch(samples=samples()))
    engine.export(tmp_path / "champion")
    learnt = engine.logprobs(IDS)
    assert max(abs(now - before) for now, before in zip(learnt, first, strict=True)) > 0.1
    assert served(tmp_path / "champion") == pytest.approx(learnt, abs=1e-4)


def served(folder: Path) -> list[float]:
    """vLLM's log-prob of each token after the first."""
    command = [
        sys.executable,
        str(Path(__file__).parents[1] / "support" / "plain_vllm.py"),
        str(folder),
        json.dumps(IDS),
    ]
    shown = subprocess.run(command, capture_output=True, text=True, check=False)
    assert shown.returncode == 0, shown.stderr
    found: list[float] = json.loads(shown.stdout.strip().splitlines()[-1])
    return found
