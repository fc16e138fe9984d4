"""Tests of weights in shared memory: tied models, and cleanup."""

import gc
from pathlib import Path

import psutil
import pytest
from tiny_model import tiny_model
from tiny_policy import CANARY, VLLM_WARNINGS, logprobs_of, moved

import actors.vllm_environment
from actors.policy.engine import VLLMPolicy
from actors.settings import PolicySettings
from actors.vllm_environment import shared_file
from rollout.errors import StorageFault

pytestmark = VLLM_WARNINGS


@pytest.mark.engine
async def test_tied_output_head_follows_the_embeddings_and_stop_cleans_up(tmp_path: Path) -> None:
    model = tiny_model(tmp_path, tied=True)
    shared = set(Path("/dev/shm").iterdir())
    policy = VLLMPolicy(str(tmp_path), PolicySettings(kv_cache_gib=0.05), seed=7)
    await policy.start()
    try:
        for version in (1, 2):
            await policy.update_weights(moved(model, version), version)
            assert await policy.canary(CANARY) == pytest.approx(logprobs_of(model, CANARY), abs=1e-3)
    finally:
        await policy.stop()
        del policy
        gc.collect()
    assert not [child for child in psutil.Process().children(recursive=True) if "EngineCore" in child.name()]
    assert set(Path("/dev/shm").iterdir()) <= shared


def test_shared_file_is_removed_after_use() -> None:
    with shared_file(b"weights", rank=3) as path:
        assert path.read_bytes() == b"weights"
    assert not path.exists()


def test_full_shared_memory_is_a_storage_fault(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(actors.vllm_environment, "SHARED_FOLDER", Path("/proc"))
    with pytest.raises(StorageFault, match="7 bytes of weights do not fit in /proc"), shared_file(b"weights", rank=0):
        pass
