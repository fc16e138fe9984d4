"""Tests of an engine whose workers are on two nodes: on a real Ray of two worker nodes, and the refusals before it."""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from tiny_model import tiny_model

from cluster.doctor import ask, compare
from cluster.settings import check_settings
from rollout.errors import SettingsError

PATIENCE_S = 900
WHOLE = {"policy_gpus": 4, "learner_gpus": 1}


@pytest.mark.parametrize(
    ("policy", "cluster", "wanted"),
    [
        ({"tensor_parallel": 3}, {}, "policy.tensor_parallel is 3: give a multiple of policy.nodes"),
        ({"tensor_parallel": 4}, WHOLE | {"policy_gpus": 2}, "cluster.policy_gpus is 2, wanted .*tensor_parallel .4."),
        ({"tensor_parallel": 4}, WHOLE | {"learner_gpus": 0.5}, "'shared_memory', which reaches one node"),
        (
            {"tensor_parallel": 2, "transfer": "shared_memory"},
            {},
            "'shared_memory', which reaches one node: give 'nccl",
        ),
    ],
)
def test_impossible_spans_are_refused_in_one_line(policy: dict[str, Any], cluster: dict[str, Any], wanted: str) -> None:
    with pytest.raises(SettingsError, match=f"policy.nodes is 2, but .*{wanted}") as refusal:
        check_settings({"policy": policy | {"nodes": 2}, "cluster": cluster}, "test")
    assert "\n" not in str(refusal.value)


@pytest.mark.parametrize(("cluster", "transfer"), [({}, "gloo"), (WHOLE, "nccl")])
def test_weights_reach_every_node_by_broadcasts(cluster: dict[str, Any], transfer: str) -> None:
    spread = check_settings({"policy": {"nodes": 2, "tensor_parallel": 4}, "cluster": cluster}, "test")
    assert spread.transfer == spread.engine.transfer == transfer


def test_doctor_counts_the_nodes_of_engines() -> None:
    policy = {"nodes": 2, "tensor_parallel": 4, "engines": 3}
    asked = ask(check_settings({"policy": policy, "cluster": WHOLE | {"roles": True}}, "test"))
    assert (asked["policy"], asked["GPU"], asked["nodes"]) == (6, 13, 2)
    assert "lacks 2 nodes (has 1)" in compare(asked, dict.fromkeys(asked, 99.0) | {"nodes": 1.0}, "here").detail


@pytest.fixture(scope="module")
def found(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """What `engine_nodes.py` measured."""
    folder = tmp_path_factory.mktemp("nodes")
    tiny_model(folder)
    root = Path(__file__).parents[3]
    command = [sys.executable, "tests/cluster/distributed/engine_nodes.py", str(folder), str(folder / "found.json")]
    environment = {key: value for key, value in os.environ.items() if not key.startswith("RAY_")}
    environment |= {"PYTHONPATH": f"{root}:{root / 'tests/support'}", "RAY_USAGE_STATS_ENABLED": "0"}
    done = subprocess.run(
        command, capture_output=True, text=True, env=environment, cwd=root, timeout=PATIENCE_S, check=False
    )
    assert done.returncode == 0, done.stderr[-3000:]
    return json.loads((folder / "found.json").read_text())


@pytest.mark.engine
def test_parts_of_an_engine_are_on_different_nodes(found: dict[str, Any]) -> None:
    near, far = found["nodes"]
    assert near != far


@pytest.mark.engine
def test_completions_and_log_probs_are_those_of_an_engine_on_one_node(found: dict[str, Any]) -> None:
    assert len(found["spread"]) == 2
    for spread, alone in zip(found["spread"], found["alone"], strict=True):
        assert spread["tokens"] == alone["tokens"]
        assert spread["logprobs"] == pytest.approx(alone["logprobs"], abs=1e-4)


@pytest.mark.engine
def test_workers_of_both_nodes_receive_and_prove_new_weights(found: dict[str, Any]) -> None:
    assert max(found["gaps"]) < 1e-4
    assert len(found["gaps"]) == 2
    assert found["versions"] == [1, 1]


@pytest.mark.engine
def test_a_lost_node_is_a_fault_of_the_engine_and_all_its_processes_end(found: dict[str, Any]) -> None:
    engine, follower = found["faults"]
    assert "policy-0 lost its engine" in engine, "its own process lives, its engine does not"
    assert "policy-node-0" in follower
    assert found["far_ended"], "the lost node's workers"
    assert found["near_ended"], "the engine's own, after the launcher closed"
