"""Checks of a run after any disturbance: nothing twice, nothing lost without being counted, no wrong zero reward."""

import html
import json
import re
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass

from world import STEPS, World

from actors.browser.renderer import ChromiumRenderer
from cluster.settings import check_settings
from cluster.storage.store import Store, read_groups
from rollout.parsing import parse_page
from rollout.records import Attempt, Group, Task

EPISODES = 16
"""Episodes per step."""
Judged = dict[tuple[str, str], float]
"""Reward of a page, by task and page hash."""


@dataclass(frozen=True, kw_only=True)
class Finding:
    """Counts of an examination."""

    finished: int
    dropped: int
    zeros: int
    """Pages with reward zero; rendering each again in a new browser confirmed its outcome."""
    same: int
    """Pages that the undisturbed run has too; all have the same reward there."""


def groups_of(world: World) -> dict[int, list[Group]]:
    """Groups of each step."""
    store = Store(world.run)
    return {step: store.read_groups(step) or [] for step in range(1, STEPS + 1)}


def attempts_of(world: World) -> Iterator[tuple[Task, Attempt]]:
    """All scored attempts of steps and exams."""
    exams = [group for path in sorted((world.run / "exams").glob("*.parquet")) for group in read_groups(path)]
    for group in [*(group for groups in groups_of(world).values() for group in groups), *exams]:
        for trajectory in group.trajectories:
            for attempt in (attempt for turn in trajectory.turns for attempt in turn.attempts):
                if attempt.reward is not None:
                    yield group.task, attempt


def rewards_of(world: World) -> Judged:
    """Reward of each scored page."""
    return {(task.id, a.page.sha256): a.total for task, a in attempts_of(world) if a.page.html is not None}


async def examine(world: World, calm: World | None = None) -> Finding:
    """Raises AssertionError if a run is not correct; `calm` is the same run undisturbed, if available."""
    summary, history = world.summary(), world.history()
    assert (summary["status"], summary["steps"]) == ("finished", STEPS)
    assert [row["step"] for row in history] == list(range(1, STEPS + 1)), "a step is missing, or was counted twice"
    assert summary["forced_optimization"]["violations"] == 0
    finished = dropped = 0
    for step, groups in groups_of(world).items():
        episodes = Counter(trajectory.id for group in groups for trajectory in group.trajectories)
        assert set(episodes.values()) == {1}, f"episodes that are counted twice in step {step}: {episodes}"
        lost = sum(group.dropped for group in groups)
        assert len(episodes) + lost == EPISODES, f"step {step} has {len(episodes)} episodes, {lost} dropped"
        finished, dropped = finished + len(episodes), dropped + lost
    assert summary["episodes"]["finished"] == finished
    assert summary["episodes"]["dropped"] == dropped
    assert sum(row["machine_faults"] for row in history) >= dropped
    same = 0 if calm is None else compare(world, calm)
    return Finding(finished=finished, dropped=dropped, zeros=await _zeros(world), same=same)


def compare(world: World, calm: World) -> int:
    """Number of pages that both runs have. Raises AssertionError if their tasks or rewards differ."""
    undisturbed = groups_of(calm)
    for step, groups in groups_of(world).items():
        tasks = [group.task.id for group in groups], [group.task.id for group in undisturbed[step]]
        assert tasks[0] == tasks[1], "other tasks than undisturbed"
    mine, others = rewards_of(world), rewards_of(calm)
    same = mine.keys() & others.keys()
    if summary_judge(world) == summary_judge(calm):
        assert {key: mine[key] for key in same} == {key: others[key] for key in same}
    return len(same)


def summary_judge(world: World) -> str:
    """Kind of the critic of a run."""
    return str(_settings(world)["critic"]["kind"])


def events_of(world: World, pattern: str) -> int:
    """Number of events in the report that match a pattern."""
    page = html.unescape((world.run / "report.html").read_text())
    listed = re.search(r'<ol class="card events"[^>]*>(.*?)</ol>', page, re.DOTALL)
    assert listed or "No events." in page, "the report has no list of events"
    return len(re.findall(pattern, listed[1].replace("<li>", "\n") if listed else ""))


async def _zeros(world: World) -> int:
    """Render every page with reward zero again; the number of such attempts."""
    settings = check_settings(_settings(world), "run.json").browser
    nothing = [(task, attempt) for task, attempt in attempts_of(world) if attempt.reward and not attempt.reward.gate]
    renderer = ChromiumRenderer(settings)
    await renderer.start()
    try:
        for task, attempt in nothing:
            page = parse_page(attempt.completion.text)
            if page.html is None:
                assert attempt.outcome == "no_page", attempt
                continue
            render = await renderer.render(page, task.probes)
            assert render.outcome == attempt.outcome != "ok", f"{task.id}: {attempt.outcome} was {render.outcome}"
    finally:
        await renderer.stop()
    return len(nothing)


def _settings(world: World) -> dict[str, dict[str, str]]:
    settings: dict[str, dict[str, str]] = json.loads((world.run / "run.json").read_text())["settings"]
    return settings
