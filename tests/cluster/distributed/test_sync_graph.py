"""Tests of weight syncs between real learner ranks and real engines, with each transfer method.

The ranks shard the model by ZeRO-3. On GPUs the methods are `nccl` and `ipc`; without GPUs, the same tests use `gloo`
and `shared_memory`.
"""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from tiny_model import tiny_model

pytestmark = pytest.mark.engine
PATIENCE_S = 600
SETTINGS = ("policy.kv_cache_gib=0.05", "learner.lr=1e-3", "learner.zero_stage=3", "cluster.placement_timeout_s=60")
ON_GPU = ("policy.dtype=float32", "policy.gpu_memory_utilization=0.2", "cluster.max_logprob_gap=0.02")


def gpus() -> int:
    """Number of GPUs that the driver of this machine lists."""
    if shutil.which("nvidia-smi") is None:
        return 0
    listed = subprocess.run(["nvidia-smi", "-L"], capture_output=True, text=True, check=False)
    return sum(line.startswith("GPU ") for line in listed.stdout.splitlines())


def synced(folder: Path, *overrides: str) -> dict[str, Any]:
    tiny_model(folder)
    command = [sys.executable, "tests/support/sync_graph.py", str(folder), *SETTINGS, *overrides]
    environment = {key: value for key, value in os.environ.items() if not key.startswith("RAY_")} | {"PYTHONPATH": "."}
    done = subprocess.run(command, capture_output=True, text=True, env=environment, timeout=PATIENCE_S, check=False)
    assert done.returncode == 0, done.stderr[-3000:]
    found: dict[str, Any] = json.loads(done.stdout.strip().splitlines()[-1])
    return found


def check(found: dict[str, Any], engines: int, gap: float) -> None:
    assert [sync["version"] for sync in found["syncs"]] == [0, 1, 2]
    assert all(sync["gap"] <= gap for sync in found["syncs"])
    assert all(sync["bytes"] > 400_000 for sync in found["syncs"])
    assert found["written"] == [[[version]] * engines for version in range(3)]


@pytest.mark.gpu
def test_two_sharded_ranks_send_weights_to_two_engines(tmp_path: Path) -> None:
    two = ("policy.engines=2", "learner.ranks=2")
    if gpus() >= 4:
        whole = ("cluster.policy_gpus=1", "cluster.learner_gpus=1")
        check(synced(tmp_path, *ON_GPU, *two, *whole), engines=2, gap=0.02)
    else:
        check(synced(tmp_path, *two, "policy.transfer=gloo"), engines=2, gap=1e-3)


@pytest.mark.gpu
@pytest.mark.skipif(gpus() < 2, reason="wants 2 GPUs: without them, it is the test of two ranks with one fewer")
def test_nccl_transfer_from_one_gpu_to_another(tmp_path: Path) -> None:
    check(synced(tmp_path, *ON_GPU, "cluster.policy_gpus=1", "cluster.learner_gpus=1"), engines=1, gap=0.02)


@pytest.mark.gpu
@pytest.mark.parametrize("level", [1, 2])
def test_engine_that_shares_a_device_sleeps_during_updates(tmp_path: Path, level: int) -> None:
    sleep = f"policy.sleep_level={level}"
    if gpus():
        shared = ("cluster.policy_gpus=0.5", "cluster.learner_gpus=0.5")
        check(synced(tmp_path, *ON_GPU, *shared, sleep), engines=1, gap=0.02)
    else:
        check(synced(tmp_path, sleep), engines=1, gap=1e-3)


@pytest.mark.gpu
@pytest.mark.skipif(gpus() < 1, reason="wants a GPU, which a learner rank and an engine share: memory handles")
def test_ipc_transfer_between_a_rank_and_an_engine_on_one_gpu(tmp_path: Path) -> None:
    check(synced(tmp_path, *ON_GPU, "cluster.policy_gpus=0.5", "cluster.learner_gpus=0.5"), engines=1, gap=0.02)
