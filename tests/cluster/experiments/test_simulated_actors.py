"""Tests of the simulated cluster: the real loop runs on it, and no pool exceeds its capacity."""

import asyncio
import random
from pathlib import Path
from statistics import fmean

import pytest

from cluster.experiments.bench.training_loop import simulated
from cluster.experiments.bench.training_loop.simulated_actors import Cluster, Handle, Sleeper, Times
from cluster.settings import check_settings
from rollout.episode import play
from rollout.records import Task

TINY = {"groups": 4, "group_size": 2, "in_flight": 8, "policy": {"engines": 2, "max_num_seqs": 2}}


def test_simulated_times_are_heavy_tailed_around_a_scaled_mean() -> None:
    dice, times = random.Random(1), Times(write=6.0).faster(3)
    drawn = [times.draw(times.write, dice) for _ in range(20_000)]
    assert fmean(drawn) == pytest.approx(2.0, rel=0.05)
    assert max(drawn) > 5 * fmean(drawn), "tails are heavy"


async def test_handle_starts_a_call_before_it_is_awaited() -> None:
    handle = Handle(Sleeper(Times(), 7))
    call = handle.ping.remote()
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    assert call.done()
    assert await call == 7


async def test_episode_on_simulated_pools_has_valid_and_improved_pages(tmp_path: Path) -> None:
    settings = check_settings({**TINY, "episode": {"rounds": 2, "attempts": 3}}, "test")
    worker = Cluster.of(settings, Times().faster(10_000)).worker(settings, tmp_path)
    played = [await play(Task(id="t", brief="b"), worker.services, settings.episode, seed=seed) for seed in range(12)]
    assert all(trajectory.turns[0].attempts[0].outcome == "ok" for trajectory in played)
    assert max(len(trajectory.accepted) for trajectory in played) > 1, "critics differ, so some revisions improve"


@pytest.mark.parametrize("staleness", [0, 2])
def test_loop_on_simulated_actors_stays_within_the_capacity_bound(
    staleness: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    steps = 2
    monkeypatch.setattr(simulated, "STEPS", steps)
    monkeypatch.setattr(simulated, "SPEED", 400.0)
    values = {**simulated.BASE, **TINY, "max_staleness": staleness}
    # The groups of the measured steps may have been played up to `staleness` steps before them.
    assert 0 < simulated.share_of_bound(values, Times(), "test") <= (steps + staleness) / steps
