"""Tests of the no-signal diagnosis in terminal lines, events, metrics, summary and report."""

import asyncio
import io
import json
from dataclasses import replace
from pathlib import Path
from random import Random
from typing import Any

import pytest
from doubles import (
    LEVELS,
    PaperCritic,
    PaperCurriculum,
    PaperLearner,
    PaperPolicy,
    PaperRenderer,
    PaperTracker,
    services,
    task,
    worker,
)

from cluster.generate import say
from cluster.monitoring.display import Display
from cluster.monitoring.observer import Observer
from cluster.preflight.requests import Plan
from cluster.settings import RunSettings, check_settings
from cluster.storage.store import Store
from cluster.train import run as run_plan
from cluster.training.diagnosis import SILENT_STEPS, Finding, explain, silent_steps
from cluster.training.loop import train
from cluster.training.run import Run
from cluster.training.session import TrainingSession
from cluster.training.state import RunState
from rollout.errors import BrowserFault, MachineError
from rollout.prompts import answer
from rollout.records import Completion, Critique, Page, Render, Request
from rollout.selfedit import self_edit
from rollout.settings import EpisodeSettings

TORN = "<script>alert(1)</script> I am sorry, a page is\x1b[2J beyond me."


class Rambler(PaperPolicy):
    """Writes `text` instead of a page, with this finish reason, until its version is `until`."""

    def __init__(self, text: str = TORN, finish: Any = "stop", until: int = 99) -> None:
        super().__init__()
        self.text, self.finish, self.until = text, finish, until

    def _one(self, request: Request, draw: Random) -> Completion:
        written = super()._one(request, draw)
        return replace(written, text=self.text, finish=self.finish) if self.version < self.until else written


class Thrower(PaperRenderer):
    """Every page throws the same exception at another line; every seventh page throws another one."""

    number = 0

    async def render(self, page: Page, *args: Any) -> Render:
        render = await super().render(page, *args)
        number = self.number = self.number + 1
        said = (
            "Error: odd"
            if number % 7 == 0
            else f"ReferenceError: tailwind is not defined at https://x.test/:{number}:9"
        )
        return replace(render, outcome="exception", detail=said)


class Indifferent(PaperCritic):
    """Gives every page the same score."""

    async def judge(self, *args: Any, **kwargs: Any) -> Critique:
        return replace(await super().judge(*args, **kwargs), score=0.5)


class Torn(PaperRenderer):
    """Raises a browser fault for six pages after the four pages of the exam."""

    number = 0

    async def render(self, page: Page, *args: Any) -> Render:
        render = await super().render(page, *args)
        self.number += 1
        if 4 < self.number <= 10:
            raise BrowserFault("two browsers\nstood still")
        return render


def only(level: int) -> PaperPolicy:
    """A policy that always writes the page of one level."""
    return PaperPolicy([0.0 if one == level else -1e9 for one in range(LEVELS)])


class Watched:
    """A complete run on paper actors with the real observer and all its output."""

    def __init__(self, path: Path, policy: PaperPolicy, members: Any, fields: Any) -> None:
        self.settings = settings(**fields)
        self.path, self.out, self.tracker, self.state = path, io.StringIO(), PaperTracker(), RunState()
        store, display = Store(path), Display(self.out)
        observer = Observer(self.settings, store, self.state, display, self.tracker, "r")  # type: ignore[arg-type]
        self.observer = observer
        self.run = Run(
            settings=self.settings,
            curriculum=PaperCurriculum(),  # type: ignore[arg-type]
            store=store,
            workers=worker(services(policy=policy, **members), self.settings.episode, store),
            learner=PaperLearner(policy),
            observer=observer,
            state=self.state,
        )

    @property
    def lines(self) -> list[str]:
        """The terminal lines of the steps."""
        return [line for line in self.out.getvalue().splitlines() if "] step " in line and "  valid" in line]

    @property
    def notes(self) -> list[str]:
        """The events with advice."""
        return [event for event in self.state.events if "What usually helps" in event]

    @property
    def summary(self) -> Any:
        return json.loads((self.path / "summary.json").read_text())

    @property
    def report(self) -> str:
        return (self.path / "report.html").read_text()


def settings(**fields: Any) -> RunSettings:
    values: dict[str, Any] = {
        "steps": SILENT_STEPS + 2,
        "groups": 6,
        "group_size": 4,
        "refill": 0.0,
        "episode": {"rounds": 0, "max_tokens": 16},
        "exam": {"tasks": 4, "every": 20, "inference_tasks": 2},
    }
    return check_settings(values | fields, "test")


async def watched(path: Path, policy: PaperPolicy, fields: dict[str, Any] | None = None, **members: Any) -> Watched:
    run = Watched(path, policy, members, fields or {})
    await train(run.run)
    run.observer.finish("finished")
    return run


async def test_policy_without_pages_is_reported_everywhere(tmp_path: Path) -> None:
    run = await watched(tmp_path, Rambler())
    assert len(run.lines) == run.settings.steps
    assert all("no signal: 24 of 24 first pages: no ```html block" in line for line in run.lines)
    (note,) = run.notes
    assert f"no signal for {SILENT_STEPS} steps: 24 of 24 first pages: no ```html block" in note
    assert "system prompt" in note
    assert run.out.getvalue().count("What usually helps") == 2, "once on the way, once as the last word"
    (exam,) = [event for event in run.state.events if "exam after step 0" in event]
    assert "valid 0% (4 of 4 first pages: no ```html block)" in exam
    assert run.state.history[-1]["first_pages_no_fence"] == 24
    assert run.state.history[-1]["first_pages_blank"] == 0, "a curve has no gaps"
    assert run.state.history[-1]["signal_groups"] == 0
    assert run.summary["first_pages"] == {"no_fence": 24 * run.settings.steps}
    assert run.summary["signal"] == {
        "steps_without": run.settings.steps,
        "steps_without_at_end": run.settings.steps,
        "flat_groups": {"failed": 6 * run.settings.steps},
        "reason": "24 of 24 first pages: no ```html block",
    }


async def test_report_shows_an_example_answer_as_escaped_text(tmp_path: Path) -> None:
    run = await watched(tmp_path, Rambler())
    assert "&lt;script&gt;alert(1)&lt;/script&gt; I am sorry" in run.report
    assert "<script>alert(1)" not in run.report
    assert "No signal: 24 of 24 first pages: no ```html block." in run.report
    assert "Speed:" not in run.report, "a faster step helps nobody here"


async def test_first_report_is_written_before_the_fifth_step(tmp_path: Path) -> None:
    run = Watched(tmp_path, Rambler(), {}, {"steps": 1})
    run.observer.finish = lambda status: {}  # type: ignore[method-assign]
    await train(run.run)
    run.observer.background.finish()
    assert "No signal: 24 of 24" in run.report


@pytest.mark.parametrize(
    ("text", "finish", "reason", "advice"),
    [
        ("<think>First I", "length", "cut off at episode.max_tokens before a page began", "(now 16)"),
        ("```html\n<p>half a", "length", "cut off at episode.max_tokens inside the page", "(now 16)"),
        ("```html\n<p>half a", "stop", "the ```html block is never closed", "system prompt"),
        (answer("<p>1") + "\n" + answer("<p>2"), "stop", "more than one ```html block", "system prompt"),
    ],
)
async def test_answer_without_a_page_is_reported_with_its_problem(
    tmp_path: Path, text: str, finish: str, reason: str, advice: str
) -> None:
    run = await watched(tmp_path, Rambler(text, finish))
    assert f"24 of 24 first pages: {reason}" in run.lines[0]
    assert advice in run.notes[0]


async def test_pages_that_throw_are_reported_with_the_most_frequent_exception(tmp_path: Path) -> None:
    run = await watched(tmp_path, only(2), renderer=Thrower())
    said = "24 of 24 first pages: threw an exception (ReferenceError: tailwind is not defined)"
    assert all(said in line for line in run.lines)
    assert said in run.notes[0]
    assert "ReferenceError: tailwind is not defined" in run.report
    assert run.summary["first_pages"] == {"exception": 24 * run.settings.steps}


async def test_equal_pages_and_equal_scores_are_reported_differently(tmp_path: Path) -> None:
    same = await watched(tmp_path / "same", only(2))
    assert "6 of 6 groups: all siblings wrote the same page" in same.lines[0]
    assert "episode.temperature (now 1)" in same.notes[0]
    alike = await watched(tmp_path / "alike", PaperPolicy([-1e9, 0, 0, 0, 0]), critic=Indifferent())
    assert "groups: the siblings' pages differ and their rewards do not" in alike.lines[-1]
    assert "cluster.calibrate" in alike.notes[0]
    solved = await watched(tmp_path / "solved", only(LEVELS - 1))
    assert "6 of 6 groups: all siblings earned the full reward" in solved.lines[0]


async def test_policy_that_recovers_is_no_longer_reported(tmp_path: Path) -> None:
    run = await watched(tmp_path, Rambler(until=SILENT_STEPS), {"steps": SILENT_STEPS + 3})
    assert ["no signal" in line for line in run.lines] == [True] * SILENT_STEPS + [False] * 3
    assert len(run.notes) == 1
    assert run.summary["signal"]["steps_without"] == SILENT_STEPS
    assert run.summary["signal"]["steps_without_at_end"] == 0
    assert run.summary["signal"]["reason"] == ""
    assert 'class="card alarm"' not in run.report
    assert "What usually helps" not in run.out.getvalue().splitlines()[-1]


async def test_dropped_episode_is_reported_with_its_fault(tmp_path: Path) -> None:
    fields = {"episode": {"rounds": 0, "max_tokens": 16, "retries": 0}, "max_fault_share": 1.0, "steps": 1}
    run = await watched(tmp_path, PaperPolicy(), fields, renderer=Torn())
    (note,) = [event for event in run.state.events if "machine faults" in event]
    assert note.endswith("none scored: 6 x BrowserFault, the last: two browsers stood still")
    assert note in run.report
    assert run.summary["episodes"]["faults"] == {"BrowserFault": 6}
    stored = run.run.store.read_groups(1) or []
    assert [fault for group in stored for fault in group.faults] == ["BrowserFault: two browsers stood still"] * 6


def test_history_rows_without_signal_counts_count_as_steps_with_signal() -> None:
    assert silent_steps([{"step": 1}, {"step": 2}]) == 0
    assert silent_steps([{"signal_groups": 0}, {"signal_groups": 2}, {"signal_groups": 0}, {"signal_groups": 0}]) == 2
    assert explain([], {"signal_groups": 0}) == ""


def test_explanation_names_a_second_reason_if_the_first_covers_too_little() -> None:
    fence = Finding(reason="no_fence", count=14, total=24)
    blank = Finding(reason="blank", count=7, total=24, detail="one colour")
    silent = {"signal_groups": 0.0}
    assert explain([fence, blank], silent) == (
        "no signal: 14 of 24 first pages: no ```html block; 7: blank page (one colour)"
    )
    assert explain([replace(fence, count=20), blank], silent) == "no signal: 20 of 24 first pages: no ```html block"
    assert explain([replace(fence, count=11)], {"signal_groups": 3.0}) == "", "most pages render"
    assert explain([fence], {"signal_groups": 3.0}) == "14 of 24 first pages: no ```html block"


async def test_generate_command_says_why_a_draft_does_not_render() -> None:
    broken = PaperRenderer()
    drafts = await self_edit(task(), only(0), broken, EpisodeSettings(), rounds=0, seed=0)
    assert say(drafts[0]).startswith("The page throws an exception while it loads: ReferenceError: paper, 1 tokens")
    drafts = await self_edit(task(), Rambler(), broken, EpisodeSettings(), rounds=0, seed=0)
    assert say(drafts[0]).startswith("No page could be read from the answer: there is no ```html block, 1 tokens")
    drafts = await self_edit(task(), only(3), broken, EpisodeSettings(), rounds=0, seed=0)
    assert say(drafts[0]).startswith("ok, 1 tokens")


def test_failed_run_says_why_in_its_events_and_report(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    plan = Plan(settings=settings(), store=Store(tmp_path), state=RunState(), run_id="r")

    async def fails(session: TrainingSession) -> None:
        session.observer = Observer(plan.settings, plan.store, plan.state, session.display, PaperTracker(), "r")  # type: ignore[arg-type]
        raise MachineError("12 of 24 episodes were lost, the last: two browsers stood still")

    monkeypatch.setattr(TrainingSession, "work", fails)
    assert asyncio.run(run_plan(plan)) == 2
    assert plan.store.events()[-1].endswith("failed: 12 of 24 episodes were lost, the last: two browsers stood still")
    assert "the last: two browsers stood still" in (tmp_path / "report.html").read_text()
