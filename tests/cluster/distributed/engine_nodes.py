"""An engine on two Ray nodes of this machine, in a separate process: `engine_nodes.py MODEL RESULTS`.

Compares it with an engine on one node, syncs weights twice, then removes the follower's node. Writes the results to a
JSON file.
"""

import asyncio
import json
import os
import sys
from pathlib import Path
from typing import Any

import psutil

from actors.policy.engine import VLLMPolicy
from cluster.distributed.connection import connect
from cluster.distributed.launch import ActorLauncher
from cluster.distributed.pool import Pool
from cluster.settings import check_settings
from rollout.errors import MachineError
from rollout.records import Batch, Completion, Message, Request, Sample
from rollout.seeds import seed_of

BATCH = Batch(samples=(Sample(prompt_ids=(3, 4), token_ids=(5, 6), logprobs=(-5.5, -5.5), advantage=1.0),))
ASK = Request(messages=(Message(role="user", content="a page"),), max_tokens=16, seed=5, num=2)
SETTINGS = {
    "policy": {"nodes": 2, "tensor_parallel": 2, "kv_cache_gib": 0.05, "call_timeout_s": 30},
    "learner": {"lr": 1e-3},
    "cluster": {"policy_cpus": 2, "learner_cpus": 0.5, "placement_timeout_s": 60},
}


def written(answers: tuple[Completion, ...]) -> list[dict[str, Any]]:
    return [{"tokens": one.token_ids, "logprobs": one.logprobs} for one in answers]


def place(actor: Any) -> tuple[str, list[int]]:
    """Runs inside an actor: the id of its Ray node, and the ids of its processes."""
    import ray

    mine = psutil.Process()
    return ray.get_runtime_context().get_node_id(), [mine.pid, *(one.pid for one in mine.children(recursive=True))]


async def fault_of(pool: Pool) -> str:
    """The machine fault that a health check of a pool's actor raises within a minute; empty if none does."""
    for _ in range(120):
        try:
            await pool.ask_one(0, "ping")
        except MachineError as fault:
            return str(fault)
        await asyncio.sleep(0.5)
    return ""


async def ended(pids: list[int]) -> bool:
    """Whether all processes end within a minute."""
    for _ in range(120):
        if not any(psutil.pid_exists(pid) and psutil.Process(pid).status() != "zombie" for pid in pids):
            return True
        await asyncio.sleep(0.5)
    return False


async def alone(model: Path, seed: int) -> list[dict[str, Any]]:
    """Completions of an engine with one worker in this process."""
    settings = check_settings({"policy": {"kv_cache_gib": 0.05}}, "alone").engine
    policy = VLLMPolicy(str(model), settings, seed=seed)
    await policy.start()
    try:
        return written(await policy.complete(ASK))
    finally:
        await policy.stop()


async def main(model: Path, cluster: Any) -> dict[str, Any]:
    nodes = [cluster.add_node(num_cpus=2) for _ in range(2)]
    cluster.wait_for_nodes()
    settings = check_settings(SETTINGS, "engine_nodes")
    found: dict[str, Any] = {"alone": await alone(model, seed_of(settings.seed, "engine")), "gaps": []}
    os.environ["RAY_ADDRESS"] = cluster.address
    connection = await asyncio.to_thread(connect)
    launcher = ActorLauncher(settings)
    try:
        learner = await launcher.launch_learner(model)
        await launcher.start_learner(learner)
        found["gaps"].append((await learner.sync()).gap)
        found["spread"] = written(await learner.engines.ask_one(0, "complete", ASK))
        await learner.update(BATCH)
        found["gaps"].append((await learner.sync()).gap)
        found["versions"] = [
            span.version for one in await learner.engines.ask_one(0, "complete", ASK) for span in one.versions
        ]
        near_node, near = await learner.engines.ask_one(0, "__ray_call__", place)
        far_node, far = await learner.followers.ask_one(0, "__ray_call__", place)
        found["nodes"] = [near_node, far_node]
        (lost,) = [node for node in nodes if node.node_id == far_node]
        cluster.remove_node(lost, allow_graceful=False)
        found["faults"] = await asyncio.gather(fault_of(learner.engines), fault_of(learner.followers))
        found["far_ended"] = await ended(far)
        await launcher.close()
        found["near_ended"] = await ended(near)
    finally:
        await launcher.close()
        await asyncio.to_thread(connection.leave)
    return found


if __name__ == "__main__":
    from ray.cluster_utils import Cluster

    ray_nodes = Cluster(initialize_head=True, head_node_args={"num_cpus": 0})
    try:
        Path(sys.argv[2]).write_text(json.dumps(asyncio.run(main(Path(sys.argv[1]), ray_nodes))))
    finally:
        ray_nodes.shutdown()
