"""Tests of the observer: CPU use and judge costs of a step, exams, and the final speed advice."""

import asyncio
import io
from pathlib import Path

import pytest
from doubles import PaperTracker

from actors.judge_api.usage import UsageLedger
from cluster.monitoring.display import Display
from cluster.monitoring.observer import Observer
from cluster.monitoring.processor_load import ProcessorLoad
from cluster.preflight.requests import Plan
from cluster.settings import RunSettings
from cluster.storage.store import Store
from cluster.training.exam import Exam
from cluster.training.session import TrainingSession
from cluster.training.state import RunState

STEP = {"step": 1, "seconds_play": 20.0, "seconds_learn": 8.0, "seconds_sync": 2.0, "seconds_step": 30.0}
WORK = {"busy_browser": 64.0, "busy_policy": 20.0, "busy_critic": 4.0}


def test_cpu_use_is_computed_from_tick_counters(tmp_path: Path) -> None:
    stat = tmp_path / "stat"
    stat.write_text("cpu  100 0 50 800 50 0 0 0 7 0\ncpu0 1 2 3\n")
    processors = ProcessorLoad(stat)
    assert processors.busy() == 0.0
    stat.write_text("cpu  160 10 65 810 55 3 1 1 9 0\n")
    assert processors.busy() == 90 / 105
    processors.start()
    stat.write_text("cpu  160 10 65 910 55 3 1 1 9 0\n")
    assert processors.busy() == 0.0


def test_step_metrics_include_judge_costs_since_the_last_step(tmp_path: Path) -> None:
    state, tracker, store = RunState(), PaperTracker(), Store(tmp_path)
    book, other = UsageLedger(store.costs / "critic-0.json"), UsageLedger(store.costs / "critic-1.json")

    def pay(ledger: UsageLedger, tokens: int) -> None:
        ledger.account("http").update({"requests": 1, "tokens": tokens, "judgments": 1})
        ledger.save()

    def step(number: int) -> dict[str, float]:
        state.history.append(STEP | WORK | {"step": number})
        observer.step(state, [])
        return state.history[-1]

    observer = Observer(RunSettings(), store, state, Display(io.StringIO()), tracker, "r")  # type: ignore[arg-type]
    assert "critic_tokens" not in step(1)  # no usage so far
    pay(book, 70)
    observer = Observer(RunSettings(), store, state, Display(io.StringIO()), tracker, "r")  # type: ignore[arg-type]
    pay(book, 20)
    pay(other, 10)
    row = step(2)
    assert (row["critic_tokens"], row["critic_requests"], row["critic_retries"]) == (30.0, 2.0, 0.0)
    assert row["critic_tokens_total"] == 100.0  # includes usage from before a resume
    assert step(3)["critic_tokens"] == 0.0
    observer.finish("stopped")


def test_exam_is_tracked_with_undelivered_exams_and_the_champion(tmp_path: Path) -> None:
    exams = [
        Exam(step=0, rewards={"a": 0.25, "b": 0.25}, valid=0.5, agreement=0.5, agreement_by_chance=0.25),
        Exam(step=4, rewards={"a": 0.5, "b": 0.5}, valid=1.0),
    ]
    state, tracker = RunState(exams=exams, champion_step=4), PaperTracker()
    observer = Observer(RunSettings(), Store(tmp_path), state, Display(io.StringIO()), tracker, "r")  # type: ignore[arg-type]
    observer.exam(exams[1], state)
    observer.background.finish()
    first, second = tracker.rows
    assert first == {
        "step": 0.0,
        "exam_reward": 0.25,
        "exam_valid": 0.5,
        "critique_agreement": 0.5,
        "critique_agreement_by_chance": 0.25,
    }
    assert (second["exam_gain"], second["exam_gain_low"], second["exam_gain_high"]) == (0.25, 0.25, 0.25)
    assert tracker.champions == [(tmp_path / "champion", 4, 0.5)]
    assert Store(tmp_path).events() == state.events


def test_step_metrics_include_cpu_use_and_the_report_ends_with_advice(tmp_path: Path) -> None:
    state, out, tracker = RunState(), io.StringIO(), PaperTracker()
    settings = RunSettings()
    observer = Observer(settings, Store(tmp_path), state, Display(out), tracker, "r")  # type: ignore[arg-type]
    observer.stage("step 1")
    state.step = 1
    state.history.append(STEP | WORK)
    observer.step(state, [])
    observer.finish("stopped")
    (row,) = tracker.rows
    assert 0.0 <= row["cpu_busy"] <= 1.0
    assert row["cores"] >= 1
    (said,) = [
        line for line in out.getvalue().splitlines() if " a step" in line or "actors" in line or "balance" in line
    ]
    assert said.split("· ")[1] in (tmp_path / "report.html").read_text()


def test_report_that_cannot_be_written_gives_one_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """The run then does not count as finished."""
    (tmp_path / "report.html").mkdir()
    display = Display(io.StringIO())
    plan = Plan(settings=RunSettings(), store=Store(tmp_path), state=RunState(), run_id="r")
    session = TrainingSession(plan, display)
    session.observer = Observer(plan.settings, plan.store, plan.state, display, PaperTracker(), "r")  # type: ignore[arg-type]
    assert not asyncio.run(session.close("finished"))
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith("relook: the last report could not be written: cannot write")
    assert str(tmp_path / "report.html") in line
