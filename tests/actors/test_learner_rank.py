"""Tests of the learner rank actor: a plain class around a real engine."""

import socket
from pathlib import Path

import pytest
from safetensors.torch import load as read_weights
from tiny_model import tiny_model
from tiny_policy import CANARY, logprobs_of

from actors.learner.rank import LearnerRank
from learner.settings import LearnerSettings
from rollout.records import Batch, Sample

pytestmark = [
    pytest.mark.engine,
    # Warnings of DeepSpeed and torch.
    pytest.mark.filterwarnings("ignore::DeprecationWarning"),
    pytest.mark.filterwarnings("ignore::FutureWarning"),
    pytest.mark.filterwarnings("ignore::UserWarning"),
]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("model")


@pytest.fixture(scope="module")
def rank(folder: Path) -> LearnerRank:
    tiny_model(folder, tied=True)
    with socket.socket() as door:
        door.bind(("127.0.0.1", 0))
        port = door.getsockname()[1]
    settings = LearnerSettings(lr=1e-3, threads=1)
    return LearnerRank(str(folder), settings, rank=0, world_size=1, init_method=f"tcp://127.0.0.1:{port}")


def test_thread_count_follows_the_settings(rank: LearnerRank) -> None:
    import torch

    rank.ping()
    assert torch.get_num_threads() == 1


def test_update_changes_the_exported_weights_and_load_restores_them(
    rank: LearnerRank, folder: Path, tmp_path: Path
) -> None:
    from transformers import AutoModelForCausalLM

    before = rank.weights()
    assert rank.weights_size() == len(before)
    update = rank.update(
        Batch(samples=(Sample(prompt_ids=(3, 4), token_ids=(5, 6), logprobs=(-5.5, -5.5), advantage=1.0),))
    )
    assert update.version == rank.get_version() == 1
    after = rank.weights()
    assert after != before
    # The tied head is sent once, under its name in a checkpoint.
    names = read_weights(after).keys()
    assert "model.embed_tokens.weight" in names
    assert "lm_head.weight" not in names
    rank.save(tmp_path / "step-1")
    rank.export(tmp_path / "champion")
    rank.update(Batch(samples=(Sample(prompt_ids=(3,), token_ids=(9,), logprobs=(-5.5,), advantage=-1.0),)))
    rank.load(tmp_path / "step-1")
    assert (rank.get_version(), rank.weights() == after) == (1, True)
    exported = AutoModelForCausalLM.from_pretrained(tmp_path / "champion", dtype="float32").eval()
    assert rank.logprobs(CANARY) == pytest.approx(logprobs_of(exported, CANARY), abs=1e-5)
