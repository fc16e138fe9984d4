"""The state of a run as its files tell it, for a process that only reads them.

Every file is parsed again only after it changed. Missing files mean that the run has not come so far.
"""

import json
from collections.abc import Callable, Hashable
from functools import partial
from pathlib import Path
from typing import Any, TypeVar

from cluster.monitoring.status_file import STATUS
from cluster.monitoring.summary import summarise
from cluster.settings import RunSettings
from cluster.storage.finished_groups import read_untokenized, stamp_of
from cluster.storage.store import EVENTS, Store
from cluster.training.diagnosis import Finding, diagnose
from cluster.training.exam import Exam, exam_of
from cluster.training.state import RunState
from learner.promotion import promote

T = TypeVar("T")
LAST_EVENTS = 400
"""Number of events that are shown."""


class Memo:
    """Remembers one value for each name, until its stamp changes."""

    def __init__(self) -> None:
        self._values: dict[str, tuple[Hashable, Any]] = {}

    def get(self, name: str, stamp: Hashable, make: Callable[[], T]) -> T:
        """The remembered value of this name and stamp, or a new one from `make`."""
        if name not in self._values or self._values[name][0] != stamp:
            self._values[name] = (stamp, make())
        value: T = self._values[name][1]
        return value


class StoredState:
    """Reader of one run's state, summary and status."""

    def __init__(self, store: Store, settings: RunSettings, run_id: str) -> None:
        self.store, self.settings, self.run_id = store, settings, run_id
        self.memo = Memo()

    def status(self) -> dict[str, Any]:
        """Contents of `status.json`, with the Unix time `time` of its writing; for older runs that of the summary."""
        for name in (STATUS, "summary.json"):
            if values := self._json(name):
                return values
        return {"status": "running"}

    def stamp(self) -> Hashable:
        """Differs when any file of `state` and `summary` changed."""
        files = [self.store.path / name for name in ("metrics.jsonl", EVENTS, "summary.json")]
        files += sorted((self.store.path / "exams").iterdir()) if (self.store.path / "exams").exists() else []
        return tuple((path.name, stamp_of(path)) for path in files)

    def state(self) -> RunState:
        """The run's state so far, without that of its judges. Raises CheckpointError for a damaged file."""
        history = self._history()
        step = int(history[-1]["step"]) if history else 0
        exams = self._exams()
        summary = self._json("summary.json")
        seconds = {name: float(value) for name, value in summary.get("seconds", {}).items() if name != "total"}
        played = sum(row.get("seconds_step", 0.0) for row in history)
        return RunState(
            step=step,
            history=history,
            exams=exams,
            champion_step=_champion(exams, self.settings.exam.margin),
            events=self._events(),
            findings=self._findings(step),
            inference={name: row for name, row in summary.get("inference", {}).items() if row},
            seconds={**seconds, "train": max(seconds.get("train", 0.0), played)},
        )

    def summary(self, status: str, state: RunState) -> dict[str, Any]:
        """The summary of the run so far."""
        return summarise(self.run_id, status, state, self.settings)

    def _json(self, name: str) -> dict[str, Any]:
        def read() -> dict[str, Any]:
            return self.store.read_json(name) if (self.store.path / name).exists() else {}

        return self.memo.get(name, stamp_of(self.store.path / name), read)

    def _history(self) -> list[dict[str, float]]:
        path = self.store.path / "metrics.jsonl"

        def read() -> list[dict[str, float]]:
            return [json.loads(line) for line in path.read_text("utf-8").splitlines()] if path.exists() else []

        return self.memo.get("history", stamp_of(path), read)

    def _events(self) -> list[str]:
        stamp = stamp_of(self.store.path / EVENTS)
        return self.memo.get("events", stamp, lambda: self.store.events()[-LAST_EVENTS:])

    def _exams(self) -> list[Exam]:
        """Finished exams, oldest first: those whose pages and reviews are both stored."""
        found = []
        for path in sorted((self.store.path / "exams").glob("exam-*.parquet")):
            step = int(path.stem.removeprefix("exam-"))
            stamp = stamp_of(path), stamp_of(path.with_name(f"reviews-{step:06d}.json"))
            found.append(self.memo.get(path.name, stamp, partial(self._exam, path, step)))
        return [exam for exam in found if exam is not None]

    def _exam(self, path: Path, step: int) -> Exam | None:
        pairs = self.store.read_reviews(step)
        played = [group.trajectories[0] for group in read_untokenized(path)]
        return exam_of(step, played, pairs) if pairs is not None and played else None

    def _findings(self, step: int) -> list[Finding]:
        """Reasons in a finished step why pages earned nothing; empty before the first step."""
        path = self.store.step_file(step)

        def read() -> list[Finding]:
            return diagnose(read_untokenized(path), self.settings.learner) if path.exists() else []

        return self.memo.get("findings", (path, stamp_of(path)), read)


def _champion(exams: list[Exam], margin: float) -> int:
    """Step of the champion: the run's own rule, applied to its exams in order."""
    champion: Exam | None = None
    for exam in exams:
        if champion is None or promote(exam.rewards, champion.rewards, margin):
            champion = exam
    return champion.step if champion is not None else 0
