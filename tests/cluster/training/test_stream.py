"""Tests of the group stream: order, limits, refills and lost episodes, on constructed groups."""

import asyncio
from typing import Any

import pytest
from doubles import PaperPolicy, PaperRenderer, services, task

from cluster.settings import RunSettings, check_settings
from cluster.training.stream import Stream
from learner.losses.credit import has_signal
from rollout.episode import play
from rollout.errors import MachineError
from rollout.records import Group
from rollout.settings import EpisodeSettings

FLAT, VARIED = [0, 0, 0, 0, 99.0], [0.0] * 5


def settings(**values: Any) -> RunSettings:
    return check_settings({"steps": 5, "groups": 4, "group_size": 2, "in_flight": 4, "refill": 0.5} | values, "test")


async def group(name: str, logits: list[float], num: int = 2, dropped: int = 0) -> Group:
    episode = EpisodeSettings(rounds=0, max_tokens=16)
    actors = services(policy=PaperPolicy(logits), renderer=PaperRenderer())
    played = [await play(task(name), actors, episode, seed=1, sibling=i) for i in range(num)]
    return Group(task=task(name), trajectories=tuple(played), dropped=dropped)


async def test_groups_are_returned_in_order_of_their_places() -> None:
    async def play_group(step: int, place: int) -> Group:
        await asyncio.sleep(0.001 * (4 - place))
        return await group(f"{step}/{place}", VARIED)

    stream = Stream(play_group, settings(in_flight=64, refill=0))
    for step in (1, 2):
        assert [g.task.id for g in await stream.collect(step)] == [f"{step}/{place}" for place in range(4)]


async def test_episodes_at_once_stay_within_in_flight() -> None:
    playing, most = 0, 0

    async def play_group(step: int, place: int) -> Group:
        nonlocal playing, most
        playing += 1
        most = max(most, playing)
        await asyncio.sleep(0.001)
        playing -= 1
        return await group(f"{step}/{place}", VARIED)

    await Stream(play_group, settings(in_flight=4, groups=8)).collect(1)
    assert most == 2, "in_flight = 4 episodes are two groups of two"


async def test_flat_groups_are_refilled_up_to_the_limit() -> None:
    places: list[int] = []

    async def play_group(step: int, place: int) -> Group:
        places.append(place)
        return await group(f"{step}/{place}", FLAT)

    groups = await Stream(play_group, settings()).collect(1)
    assert not any(has_signal(group, settings().learner) for group in groups)
    assert places == [0, 1, 2, 3, 4, 5], "half as many again, and no more"


async def test_stream_plays_ahead_as_far_as_staleness_allows() -> None:
    started: list[int] = []

    async def play_group(step: int, place: int) -> Group:
        started.append(step)
        return await group(f"{step}/{place}", VARIED)

    for allowed, wanted in ((0, [4, 4, 4]), (2, [12, 4, 4])):
        started.clear()
        stream = Stream(play_group, settings(max_staleness=allowed, in_flight=64, refill=0))
        for step in (1, 2, 3):
            await stream.collect(step)
            while stream.tasks.playing:
                await asyncio.sleep(0)
        assert [started.count(step) for step in (1, 2, 3)] == wanted
        assert stream.metrics()["groups_given_up"] == 0
        await stream.close()


class Hall:
    """Plays groups; the test decides when the slow ones finish."""

    def __init__(self, *slow: tuple[int, int]) -> None:
        self.slow = {key: asyncio.Event() for key in slow}
        self.cancelled: list[tuple[int, int]] = []

    async def play(self, step: int, place: int) -> Group:
        try:
            if (step, place) in self.slow:
                await self.slow[step, place].wait()
        except asyncio.CancelledError:
            self.cancelled.append((step, place))
            raise
        return await group(f"{step}/{place}", VARIED)


def names(groups: list[Group]) -> list[str]:
    return [one.task.id for one in groups]


async def test_long_group_does_not_delay_its_step_and_goes_to_a_later_one() -> None:
    hall = Hall((1, 1))
    stream = Stream(hall.play, settings(max_staleness=1, in_flight=64, refill=0))
    assert names(await stream.collect(1)) == ["1/0", "1/2", "1/3", "1/4"]
    hall.slow[1, 1].set()
    while stream.tasks.playing:
        await asyncio.sleep(0)
    assert names(await stream.collect(2)) == ["1/1", "1/5", "1/6", "1/7"], "the earliest begun come first"
    await stream.close()


async def test_resumed_stream_uses_finished_groups_first_and_repeats_no_place() -> None:
    begun: list[tuple[int, int]] = []

    async def play_group(step: int, place: int) -> Group:
        begun.append((step, place))
        return await group(f"{step}/{place}", VARIED)

    finished = [(1, 3), (2, 5), (2, 6), (3, 1), (3, 9)]
    stream = Stream(play_group, settings(max_staleness=1, in_flight=64, refill=0), finished)
    assert stream.unlearnt() == set(finished)
    assert names(await stream.collect(3)) == ["2/5", "2/6", "3/0", "3/1"]
    while stream.tasks.playing:
        await asyncio.sleep(0)
    assert stream.metrics()["groups_given_up"] == 1, "1/3 is too stale for step 3"
    assert {(3, 2), (3, 3), (3, 9)} <= stream.unlearnt()
    assert (3, 9) not in begun, "what is of this step comes when it is its turn"
    await stream.collect(4)
    await asyncio.sleep(0)
    assert (3, 9) in begun, "and in the next step at the latest"
    assert len(begun) == len(set(begun))
    await stream.close()
    assert stream.unlearnt() == set()


async def test_group_too_stale_for_any_step_is_cancelled() -> None:
    hall = Hall((1, 1))
    stream = Stream(hall.play, settings(max_staleness=1, in_flight=64, refill=0))
    for step in (1, 2):
        await stream.collect(step)
    assert hall.cancelled == []
    third = names(await stream.collect(3))
    assert hall.cancelled == [(1, 1)]
    assert not [name for name in third if name.startswith("1/")]
    assert stream.metrics()["groups_given_up"] == 1
    await stream.close()


async def test_on_policy_step_waits_for_its_long_group() -> None:
    hall = Hall((1, 1))
    stream = Stream(hall.play, settings(max_staleness=0, in_flight=64, refill=0))
    collecting = asyncio.create_task(stream.collect(1))
    for _ in range(50):
        await asyncio.sleep(0)
    assert not collecting.done()
    hall.slow[1, 1].set()
    assert names(await collecting) == ["1/0", "1/1", "1/2", "1/3"]


async def test_losses_above_the_limit_raise_a_machine_error() -> None:
    async def play_group(step: int, place: int) -> Group:
        return await group(f"{step}/{place}", VARIED, num=1, dropped=1)

    with pytest.raises(MachineError, match="4 of 8 episodes"):
        await Stream(play_group, settings(refill=0)).collect(1)


async def test_exception_in_an_episode_reaches_the_caller() -> None:
    async def play_group(step: int, place: int) -> Group:
        raise ZeroDivisionError("a bug")

    stream = Stream(play_group, settings())
    with pytest.raises(ZeroDivisionError):
        await stream.collect(1)
    await stream.close()
