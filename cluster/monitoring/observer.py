"""Reports the progress of a run to the display, MLflow, Prometheus, the HTML report and the summary."""

import logging
import os
import time
from collections import Counter
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any

from actors.judge_api import usage
from cluster.monitoring.background import BackgroundJobs
from cluster.monitoring.display import Display
from cluster.monitoring.gauges import Gauges
from cluster.monitoring.processor_load import ProcessorLoad
from cluster.monitoring.report_content import ReportContent, exam_row, is_silent
from cluster.monitoring.summary import summarise
from cluster.monitoring.tracking.metric_names import EXAM_MARK
from cluster.monitoring.tracking.run_note import final_scores, run_note
from cluster.monitoring.tracking.tracker import Tracker
from cluster.report.page import write_report
from cluster.settings import RunSettings
from cluster.storage.store import Store
from cluster.training.curriculum import Curriculum
from cluster.training.diagnosis import (
    MOSTLY,
    diagnose,
    explain,
    faults_of,
    main_reasons,
    page_findings,
    remedy,
    silent_steps,
)
from cluster.training.exam import Exam
from cluster.training.state import RunState
from rollout.errors import fault_summary
from rollout.records import Group

logger = logging.getLogger(__name__)
EXAM_METRICS = {
    "mean": EXAM_MARK,
    "valid": "exam_valid",
    "gain": "exam_gain",
    "low": "exam_gain_low",
    "high": "exam_gain_high",
    "agreement": "critique_agreement",
    "agreement_by_chance": "critique_agreement_by_chance",
}
"""Keys of an exam's values beside those of steps."""


class Observer:
    """Observer of a run. Reports and MLflow run in a background thread, so that no step waits for them."""

    def __init__(
        self, settings: RunSettings, store: Store, state: RunState, display: Display, tracker: Tracker, run_id: str
    ) -> None:
        self.settings, self.store, self.state = settings, store, state
        self.display, self.tracker, self.run_id = display, tracker, run_id
        self.content = ReportContent(settings, store, run_id)
        self.background = BackgroundJobs("observer")
        self.processors = ProcessorLoad()
        self.costs = self._costs()
        self.gauges = Gauges(run_id)

    def stage(self, text: str) -> None:
        """Starts a named stage."""
        self.processors.start()
        self.display.stage(text)

    def progress(self, done: int, total: int, text: str) -> None:
        """Updates the progress of the stage."""
        self.display.progress(done, total, text)

    def note(self, text: str) -> None:
        """Reports an event: it is displayed now and listed in the report."""
        self.state.events.append(f"{time.strftime('%H:%M:%S')} {text}")
        self.store.note(self.state.events[-1])
        self.display.note(text)

    def step(self, state: RunState, groups: list[Group]) -> None:
        """Displays and delivers a finished step, and refreshes the report every `report.every` steps.

        If all pools share this machine, the processor load is added to the step's row. If critics are called over HTTP,
        their cost since the last step is added, including exams, lost episodes and retries.
        """
        row = state.history[-1]
        if not self.settings.cluster.roles:
            row |= {"cores": os.cpu_count() or 1, "cpu_busy": self.processors.busy()}
        row |= self._spent()
        step = int(row["step"])
        faults = int(row.get("machine_faults", 0))
        if faults:
            said = fault_summary(faults_of(groups))
            self.note(
                f"step {step}: {faults} machine faults, {int(row['dropped'])} episodes dropped, none scored"
                + (f": {said}" if said else "")
            )
        state.findings = diagnose(groups, self.settings.learner)
        self.display.step(row, self.settings.steps, explain(state.findings, row))
        self._note_remedy(state)
        self.background.submit(self.tracker.metrics, list(state.history))
        self.background.submit(self.gauges.show, dict(row))
        reports = step == 1 or step % self.settings.report.every == 0
        self.background.submit(partial(self.tracker.episodes, upload=reports), step, groups)
        if reports:
            self.background.submit(self.tracker.file, self.store.step_file(step), "trajectories")
            self.background.submit(self.publish, "running", RunState.from_json(state.to_json()))

    def _note_remedy(self, state: RunState) -> None:
        """After several steps without a signal, notes the usual remedy, once for each reason."""
        if not is_silent(state):
            return
        advice = remedy(state.findings[0], self.settings)
        if not any(event.endswith(advice) for event in state.events):
            steps = silent_steps(state.history)
            self.note(f"no signal for {steps} steps: {main_reasons(state.findings)}. What usually helps: {advice}")

    def exam(self, exam: Exam, state: RunState) -> None:
        """Reports and delivers an exam, and the champion if it changed or its delivery is pending."""
        self.background.submit(self._deliver_exams, list(state.exams), state.champion_step, state.champion.mean)
        self.background.submit(self._describe, "running", RunState.from_json(state.to_json()))
        champion = "the new champion" if state.champion_step == exam.step else f"champion stays {state.champion_step}"
        why = f" ({self._exam_reason(exam)})" if exam.valid <= 1 - MOSTLY else ""
        self.note(f"exam after step {exam.step}: reward {exam.mean:.3f}, valid {exam.valid:.0%}{why}; {champion}")

    def _exam_reason(self, exam: Exam) -> str:
        """The most frequent reasons that pages of an exam earned nothing."""
        played = self.store.read_exam(exam.step) or []
        groups = [Group(task=trajectory.task, trajectories=(trajectory,)) for trajectory in played]
        findings = page_findings(groups)
        return main_reasons(findings) if findings else "its pages were not kept"

    def _deliver_exams(self, exams: list[Exam], champion: int, reward: float) -> None:
        self.tracker.metrics([_exam_metrics(exam, exams) for exam in exams], EXAM_MARK)
        self.tracker.champion(self.store.path / "champion", champion, reward)
        self.tracker.exam_pictures([exam.step for exam in exams])

    def _describe(self, status: str, state: RunState) -> None:
        """Updates the description of the run in MLflow."""
        summary = summarise(self.run_id, status, state, self.settings)
        why = explain(state.findings, state.history[-1]) if state.history else ""
        exams = [exam_row(exam, state.exams) for exam in state.exams]
        self.tracker.describe(run_note(summary, exams, [why, self.content.advice(state)]))

    def data_sets(self, curriculum: Curriculum) -> None:
        """Links the run in MLflow to its data sets."""
        self.background.submit(self.tracker.data_sets, curriculum)

    def publish(self, status: str, state: RunState) -> dict[str, Any]:
        """Writes the summary and the report; returns the summary."""
        summary = summarise(self.run_id, status, state, self.settings)
        self.store.write_json("summary.json", summary)
        write_report(self.store.path / "report.html", self.content.report(summary, state))
        return summary

    def finish(self, status: str) -> dict[str, Any]:
        """Ends the run: writes summary and report, delivers everything, and ends the MLflow run."""
        try:
            self.background.finish()
        finally:
            self.gauges.close()
        if status == "finished":
            self.tracker.reach()
        summary = self.publish(status, self.state)
        self.tracker.metrics(self.state.history)
        self.tracker.episodes(self.state.step, self.store.read_groups(self.state.step) or [], upload=True)
        if self.state.exams:
            self._deliver_exams(self.state.exams, self.state.champion_step, self.state.champion.mean)
        self._describe(status, self.state)
        for name in ("summary.json", "report.html", "run.json"):
            self.tracker.file(self.store.path / name)
        if status == "finished":
            self.tracker.final(final_scores(summary))
            if self.state.champion_step == 0:
                self.tracker.folder(self.store.path / "champion", "champion/step-000000")
            self.tracker.folder(self.store.trajectories, "trajectories")
        self.tracker.finish(status)
        if words := self.content.advice(self.state):
            self.display.note(words)
        return summary

    def _costs(self) -> Counter[str]:
        """Total cost of the critics in this run, including resumed parts."""
        return usage.total(self.store.costs.glob("*.json"))

    def _spent(self) -> dict[str, float]:
        """Critic cost since the last call, and the total tokens so far; empty if no critic is paid."""
        before = self.costs
        self.costs = self._costs()
        if not self.costs:
            return {}
        spent = {f"critic_{name}": float(self.costs[name] - before[name]) for name in usage.COUNTED}
        return spent | {"critic_tokens_total": float(self.costs["tokens"])}


def _exam_metrics(exam: Exam, exams: Sequence[Exam]) -> dict[str, float]:
    """An exam's values under the keys of `EXAM_METRICS`."""
    return {EXAM_METRICS.get(name, name): value for name, value in exam_row(exam, exams).items()}


def display_path(store: Store, path: str) -> Path:
    """Path of a file of the run, relative to the working directory if inside it."""
    full = store.path / path
    try:
        return full.relative_to(Path.cwd())
    except ValueError:
        return full
