"""Reports the progress of a run to the display, MLflow, Prometheus, the HTML report and the summary."""

import itertools
import logging
import os
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Any

from actors.judge_api import usage
from cluster.monitoring.display import Display
from cluster.monitoring.gauges import Gauges
from cluster.monitoring.mlflow_tracker import EXAM_MARK, Tracker
from cluster.monitoring.summary import summarise
from cluster.report.page import Film, Pair, Report, write_report
from cluster.settings import RunSettings
from cluster.storage.store import Store, read_groups
from cluster.training.bottleneck import advice
from cluster.training.diagnosis import (
    MOSTLY,
    SILENT_STEPS,
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
from learner.promotion import bootstrap
from rollout.errors import fault_summary
from rollout.records import Group

logger = logging.getLogger(__name__)
MAX_FILM_STEPS = 10
FILMS_A_STEP = 2
MAX_PAIRS = 24
EXAM_METRICS = {
    "mean": EXAM_MARK,
    "valid": "exam_valid",
    "gain": "exam_gain",
    "low": "exam_gain_low",
    "high": "exam_gain_high",
    "agreement": "critique_agreement",
    "agreement_by_chance": "critique_agreement_by_chance",
}
"""MLflow metric names of an exam's values."""


class Observer:
    """Observer of a run. Reports and MLflow run in a background thread, so that no step waits for them."""

    def __init__(
        self, settings: RunSettings, store: Store, state: RunState, display: Display, tracker: Tracker, run_id: str
    ) -> None:
        self.settings, self.store, self.state = settings, store, state
        self.display, self.tracker, self.run_id = display, tracker, run_id
        self.clerk = ThreadPoolExecutor(1, thread_name_prefix="clerk")
        self.errands: list[Future[Any]] = []
        self.processors = Processors()
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
        self._help(state)
        self._later(self.tracker.metrics, list(state.history))
        self._later(self.gauges.show, dict(row))
        if step == 1 or step % self.settings.report.every == 0:
            self._later(self.tracker.file, self.store.step_file(step), "trajectories")
            self._later(self.publish, "running", RunState.from_json(state.to_json()))

    def _help(self, state: RunState) -> None:
        """After several steps without a signal, notes the usual remedy, once for each reason."""
        if not self._silent(state):
            return
        helps = remedy(state.findings[0], self.settings)
        if not any(event.endswith(helps) for event in state.events):
            steps = silent_steps(state.history)
            self.note(f"no signal for {steps} steps: {main_reasons(state.findings)}. What usually helps: {helps}")

    def exam(self, exam: Exam, state: RunState) -> None:
        """Reports and delivers an exam, and the champion if it changed or its delivery is pending."""
        self._later(self._deliver_exams, list(state.exams), state.champion_step, state.champion.mean)
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
        self.tracker.metrics([self._exam_metrics(exam) for exam in exams], EXAM_MARK)
        self.tracker.champion(self.store.path / "champion", champion, reward)

    def publish(self, status: str, state: RunState) -> dict[str, Any]:
        """Writes the summary and the report; returns the summary."""
        summary = summarise(self.run_id, status, state, self.settings)
        self.store.write_json("summary.json", summary)
        write_report(self.store.path / "report.html", self._report(summary, state))
        return summary

    def finish(self, status: str) -> dict[str, Any]:
        """Ends the run: writes summary and report, delivers everything, and ends the MLflow run."""
        self.clerk.shutdown(wait=True)
        self.gauges.close()
        for errand in self.errands:
            errand.result()
        if status == "finished":
            self.tracker.reach()
        summary = self.publish(status, self.state)
        self.tracker.metrics(self.state.history)
        if self.state.exams:
            self._deliver_exams(self.state.exams, self.state.champion_step, self.state.champion.mean)
        for name in ("summary.json", "report.html", "run.json"):
            self.tracker.file(self.store.path / name)
        if status == "finished":
            if self.state.champion_step == 0:
                self.tracker.folder(self.store.path / "champion", "champion/step-000000")
            self.tracker.folder(self.store.trajectories, "trajectories")
            for sha in itertools.islice(dict.fromkeys(self._example_shots()), MAX_PAIRS):
                self.tracker.file(self.store.shots / f"{sha}.png", "screenshots")
        self.tracker.finish(status)
        if words := self._advice(self.state):
            self.display.note(words)
        return summary

    def _advice(self, state: RunState) -> str:
        """Advice: a remedy if the last steps had no signal, otherwise how to make a step faster."""
        if not self._silent(state):
            return advice(state.history, self.settings)
        helps = remedy(state.findings[0], self.settings)
        return f"{explain(state.findings, state.history[-1])}. What usually helps: {helps}"

    @staticmethod
    def _silent(state: RunState) -> bool:
        """Whether at least `SILENT_STEPS` steps at the end had no signal, and a reason is known."""
        return silent_steps(state.history) >= SILENT_STEPS and bool(state.findings)

    def _costs(self) -> Counter[str]:
        """Total cost of the critics in this run, including resumed parts."""
        return usage.total(self.store.costs.glob("*.json"))

    def _spent(self) -> dict[str, float]:
        """Critic cost since the last call, and the total tokens so far; empty if no critic is paid."""
        before, self.costs = self.costs, self._costs()
        if not self.costs:
            return {}
        spent = {f"critic_{name}": float(self.costs[name] - before[name]) for name in usage.COUNTED}
        return spent | {"critic_tokens_total": float(self.costs["tokens"])}

    def _later(self, work: Callable[..., Any], *args: Any) -> None:
        """Queues work for the background thread; raises the exception of an earlier job that failed."""
        for errand in [errand for errand in self.errands if errand.done()]:
            self.errands.remove(errand)
            errand.result()
        self.errands.append(self.clerk.submit(work, *args))

    def _report(self, summary: Mapping[str, Any], state: RunState) -> Report:
        why = explain(state.findings, state.history[-1]) if state.history else ""
        return Report(
            run_id=self.run_id,
            title=self.settings.name,
            status=str(summary["status"]),
            settings=self.settings.model_dump(mode="json"),
            summary=summary,
            history=state.history,
            exams=[self._exam_row(exam) for exam in state.exams],
            films=list(self._films(state.step)),
            pairs=list(self._pairs(state.champion_step)),
            inference=state.inference,
            events=state.events,
            advice="" if self._silent(state) else advice(state.history, self.settings),
            alarm=why,
            remedy=remedy(state.findings[0], self.settings) if why else "",
            findings=state.findings,
            picture=self.store.picture,
        )

    def _exam_metrics(self, exam: Exam) -> dict[str, float]:
        """An exam's values under their MLflow names."""
        row = self._exam_row(exam)
        return {EXAM_METRICS.get(name, name): value for name, value in row.items()}

    def _exam_row(self, exam: Exam) -> dict[str, float]:
        """An exam's values, with the paired gain over the first exam and its 95 % bootstrap interval."""
        row = {"step": float(exam.step), "mean": exam.mean, "valid": exam.valid}
        agreed = {"agreement": exam.agreement, "agreement_by_chance": exam.agreement_by_chance}
        row |= {name: value for name, value in agreed.items() if value is not None}
        if not self.state.exams or exam.step == 0:
            return row
        first = self.state.exams[0].rewards
        gain, low, high = bootstrap([exam.rewards[task] - first[task] for task in first], seed=0)
        return row | {"gain": gain, "low": low, "high": high}

    def _films(self, last: int) -> Iterator[Film]:
        """Episodes with stored screenshots, from steps spread over the run: the most revised ones of each group."""
        steps = {1 + (last - 1) * place // (MAX_FILM_STEPS - 1) for place in range(MAX_FILM_STEPS)} if last else set()
        for step in sorted(steps, reverse=True):
            for group in self.store.read_groups(step, self.settings.report.films) or []:
                best = sorted(group.trajectories, key=lambda t: (len(t.accepted), t.reward), reverse=True)
                for trajectory in best[:FILMS_A_STEP]:
                    yield Film(step=step, trajectory=trajectory, reference=self.store.reference(group.task))

    def _pairs(self, champion: int) -> Iterator[Pair]:
        """Held-out tasks with their pages before training and from the champion."""
        if champion == 0 or not self.store.exam_file(0).exists():
            return
        before = read_groups(self.store.exam_file(0))[:MAX_PAIRS]
        after = {group.task.id: group for group in read_groups(self.store.exam_file(champion))}
        for group in before:
            yield Pair(
                task=group.task,
                before=group.trajectories[0].turns[0].attempts[0],
                after=after[group.task.id].trajectories[0].turns[0].attempts[0],
                reference=self.store.reference(group.task),
            )

    def _example_shots(self) -> Iterator[str]:
        for pair in self._pairs(self.state.champion_step):
            for attempt in (pair.before, pair.after):
                if attempt.render is not None and attempt.render.shots:
                    yield attempt.render.shots[0].sha256


class Processors:
    """Measures how busy this machine's processors are, over all processes."""

    def __init__(self, stat: Path = Path("/proc/stat")) -> None:
        """`stat` is the kernel's `/proc/stat`; its first line counts ticks by kind, including idle and I/O wait."""
        self.stat = stat
        self.start()

    def start(self) -> None:
        """Starts the measurement."""
        self.used, self.total = self._ticks()

    def busy(self) -> float:
        """Share of processor time in use since the start, in [0, 1]."""
        used, total = self._ticks()
        return (used - self.used) / max(1, total - self.total)

    def _ticks(self) -> tuple[int, int]:
        user, nice, system, idle, waiting, *others = map(int, self.stat.read_text("ascii").split("\n")[0].split()[1:9])
        used = user + nice + system + sum(others)
        return used, used + idle + waiting


def where(store: Store, path: str) -> Path:
    """Path of a file of the run, relative to the working directory if inside it."""
    full = store.path / path
    try:
        return full.relative_to(Path.cwd())
    except ValueError:
        return full
