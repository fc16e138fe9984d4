"""The stream: order, bounds, refills and losses, on groups made by hand."""

import asyncio
from typing import Any

import pytest
from doubles import PaperPolicy, PaperRenderer, cast, task

from cluster.settings import RunSettings, check_settings
from cluster.stream import Stream
from learner.credit import teaches
from rollout.episode import play
from rollout.errors import MachineError
from rollout.records import Group
from rollout.settings import EpisodeSettings

FLAT, VARIED = [0, 0, 0, 0, 99.0], [0.0] * 5


def settings(**values: Any) -> RunSettings:
    return check_settings({"steps": 5, "groups": 4, "group_size": 2, "in_flight": 4, "refill": 0.5} | values, "test")


async def group(name: str, logits: list[float], num: int = 2, dropped: int = 0) -> Group:
    episode = EpisodeSettings(rounds=0, max_tokens=16)
    actors = cast(policy=PaperPolicy(logits), renderer=PaperRenderer())
    played = [await play(task(name), actors, episode, seed=1, sibling=i) for i in range(num)]
    return Group(task=task(name), trajectories=tuple(played), dropped=dropped)


async def test_groups_come_in_order_whatever_finishes_first() -> None:
    async def play_group(step: int, place: int) -> Group:
        await asyncio.sleep(0.001 * (4 - place))
        return await group(f"{step}/{place}", VARIED)

    stream = Stream(play_group, settings(in_flight=64, refill=0))
    for step in (1, 2):
        assert [g.task.id for g in await stream.collect(step)] == [f"{step}/{place}" for place in range(4)]


async def test_no_more_episodes_than_allowed_are_played_at_once() -> None:
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


async def test_flat_groups_are_replaced_within_bounds() -> None:
    places: list[int] = []

    async def play_group(step: int, place: int) -> Group:
        places.append(place)
        return await group(f"{step}/{place}", FLAT)

    groups = await Stream(play_group, settings()).collect(1)
    assert not any(teaches(group, settings().learner) for group in groups)
    assert places == [0, 1, 2, 3, 4, 5], "half as many again, and no more"


async def test_nothing_is_played_ahead_unless_staleness_allows() -> None:
    started: set[int] = set()

    async def play_group(step: int, place: int) -> Group:
        started.add(step)
        return await group(f"{step}/{place}", VARIED)

    for allowed, wanted in ((0, {1}), (2, {1, 2, 3})):
        started.clear()
        stream = Stream(play_group, settings(max_staleness=allowed, in_flight=64, refill=0))
        await stream.collect(1)
        await asyncio.sleep(0)
        assert started == wanted
        await stream.close()


async def test_losses_past_the_limit_raise_an_alarm() -> None:
    async def play_group(step: int, place: int) -> Group:
        return await group(f"{step}/{place}", VARIED, num=1, dropped=1)

    with pytest.raises(MachineError, match="4 of 8 episodes"):
        await Stream(play_group, settings(refill=0)).collect(1)


async def test_a_bug_in_an_episode_reaches_the_caller() -> None:
    async def play_group(step: int, place: int) -> Group:
        raise ZeroDivisionError("a bug")

    stream = Stream(play_group, settings())
    with pytest.raises(ZeroDivisionError):
        await stream.collect(1)
    await stream.close()
