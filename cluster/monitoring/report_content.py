"""Content of the HTML report and of the last advice, read from the state and the stored files of a run."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any

from cluster.report.contents import Report
from cluster.report.filmstrips import Film, Pair
from cluster.settings import RunSettings
from cluster.storage.store import Store, read_groups
from cluster.training.bottleneck import advice
from cluster.training.diagnosis import SILENT_STEPS, explain, remedy, silent_steps
from cluster.training.exam import Exam
from cluster.training.state import RunState
from learner.promotion import bootstrap

MAX_FILM_STEPS = 10
FILMS_A_STEP = 2
MAX_PAIRS = 24


class ReportContent:
    """Builds the parts of a report from a run's state and its stored files."""

    def __init__(self, settings: RunSettings, store: Store, run_id: str) -> None:
        self.settings, self.store, self.run_id = settings, store, run_id

    def report(self, summary: Mapping[str, Any], state: RunState) -> Report:
        """The report of a run with this summary."""
        return replace(
            self.figures(summary, state),
            films=list(self.films(state.step)),
            pairs=list(self.pairs(state.champion_step)),
        )

    def figures(self, summary: Mapping[str, Any], state: RunState) -> Report:
        """The report without episodes and pairs: only what `summary` and `state` hold."""
        why = explain(state.findings, state.history[-1]) if state.history else ""
        return Report(
            run_id=self.run_id,
            title=self.settings.name,
            status=str(summary["status"]),
            settings=self.settings.model_dump(mode="json"),
            summary=summary,
            history=state.history,
            exams=[exam_row(exam, state.exams) for exam in state.exams],
            inference=state.inference,
            events=state.events,
            advice="" if is_silent(state) else advice(state.history, self.settings),
            alarm=why,
            remedy=remedy(state.findings[0], self.settings) if why else "",
            findings=state.findings,
            picture=self.store.picture,
        )

    def advice(self, state: RunState) -> str:
        """Advice: a remedy if the last steps had no signal, otherwise how to make a step faster."""
        if not is_silent(state):
            return advice(state.history, self.settings)
        helps = remedy(state.findings[0], self.settings)
        return f"{explain(state.findings, state.history[-1])}. What usually helps: {helps}"

    def films(self, last: int) -> Iterator[Film]:
        """Episodes with stored screenshots, from steps spread over the run: the most revised ones of each group."""
        steps = {1 + (last - 1) * place // (MAX_FILM_STEPS - 1) for place in range(MAX_FILM_STEPS)} if last else set()
        for step in sorted(steps, reverse=True):
            for group in self.store.read_groups(step, self.settings.report.films) or []:
                best = sorted(group.trajectories, key=lambda t: (len(t.accepted), t.reward), reverse=True)
                for trajectory in best[:FILMS_A_STEP]:
                    yield Film(step=step, trajectory=trajectory, reference=self.store.reference(group.task))

    def pairs(self, champion: int) -> Iterator[Pair]:
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


def is_silent(state: RunState) -> bool:
    """Whether at least `SILENT_STEPS` steps at the end had no signal, and a reason is known."""
    return silent_steps(state.history) >= SILENT_STEPS and bool(state.findings)


def exam_row(exam: Exam, exams: Sequence[Exam]) -> dict[str, float]:
    """An exam's values, with the paired gain over the first of `exams` and its 95 % bootstrap interval."""
    row = {"step": float(exam.step), "mean": exam.mean, "valid": exam.valid}
    agreed = {"agreement": exam.agreement, "agreement_by_chance": exam.agreement_by_chance}
    row |= {name: value for name, value in agreed.items() if value is not None}
    if not exams or exam.step == 0:
        return row
    first = exams[0].rewards
    gain, low, high = bootstrap([exam.rewards[task] - first[task] for task in first], seed=0)
    return row | {"gain": gain, "low": low, "high": high}
