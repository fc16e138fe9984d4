"""Test that Ray places each learner rank on the GPU of its engine, on a real Ray with two nominal GPUs."""

import json
import os
import subprocess
import sys

import pytest

DRIVER = """
import asyncio, json
import ray
from cluster.distributed.bundle import Bundle
from cluster.distributed.launch import ActorLauncher
from cluster.settings import check_settings

ray.init("local", num_cpus=2, num_gpus=2, include_dashboard=False, log_to_driver=False)
settings = check_settings(
    {"policy": {"engines": 2}, "learner": {"ranks": 2}, "cluster": {"policy_gpus": 0.4, "learner_gpus": 0.5}}, "test"
)

class Seated:
    def gpus(self):
        return ray.get_gpu_ids()

async def main():
    launcher = ActorLauncher(settings)
    engine, rank = launcher.bundle("policy", 0.2, 0.4), launcher.bundle("learner", 0.2, 0.5)
    pairs = await launcher.place_pairs(engine)
    engines = await launcher.launch("policy", Seated, [(), ()], engine, group=pairs)
    ranks = await launcher.launch("learner-rank", Seated, [(), ()], rank, group=pairs)
    print(json.dumps([await asyncio.gather(*(one.gpus.remote() for one in those)) for those in (engines, ranks)]))
    await launcher.close()

asyncio.run(main())
ray.shutdown()
"""


@pytest.mark.engine
def test_engine_and_rank_of_the_same_index_share_a_gpu() -> None:
    environment = {key: value for key, value in os.environ.items() if not key.startswith("RAY_")}
    done = subprocess.run([sys.executable, "-c", DRIVER], capture_output=True, text=True, env=environment, check=False)
    assert done.returncode == 0, done.stderr[-3000:]
    engines, ranks = json.loads(done.stdout.strip().splitlines()[-1])
    assert engines == ranks
    assert sorted(engines) == [[0], [1]]
