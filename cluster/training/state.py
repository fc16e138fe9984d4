"""Run state: what a checkpoint contains in addition to the learner's own state."""

from dataclasses import asdict, dataclass, field
from typing import Any

from cluster.training.diagnosis import Finding
from cluster.training.exam import Exam


@dataclass(kw_only=True)
class RunState:
    """Progress and history of a run. Plain data only, so that it can be serialised."""

    step: int = 0
    """Number of finished steps."""
    history: list[dict[str, float]] = field(default_factory=list)
    """Metrics, one dict per finished step."""
    exams: list[Exam] = field(default_factory=list)
    """Exams, oldest first; the first is of the initial policy."""
    champion_step: int = 0
    """Step of the champion's weights; 0 is the initial policy."""
    version: int = 0
    """Weights version the learner holds after `step`; lower than `step` after a return to a champion."""
    champion_version: int = 0
    """Weights version of the champion."""
    events: list[str] = field(default_factory=list)
    """Events worth reporting to the user: faults survived, resumes, promotions."""
    findings: list[Finding] = field(default_factory=list)
    """Why pages of the last step earned nothing, and why its groups carried no signal."""
    inference: dict[str, dict[str, float]] = field(default_factory=dict)
    canaries: dict[str, dict[str, float]] = field(default_factory=dict)
    """First scores of the fixed pages for the drift check, by critic, then by task."""
    seconds: dict[str, float] = field(default_factory=dict)
    """Wall seconds so far: `setup`, `warm_start`, `train`."""

    @property
    def champion(self) -> Exam:
        """The champion's exam."""
        return next(exam for exam in self.exams if exam.step == self.champion_step)

    def rewind(self, saved: "RunState") -> None:
        """Restores a checkpoint; later events, elapsed time and the judge's first scores are kept."""
        self.step, self.history, self.exams = saved.step, saved.history, saved.exams
        self.champion_step, self.inference = saved.champion_step, saved.inference
        self.version, self.champion_version = saved.version, saved.champion_version
        self.findings = saved.findings

    def to_json(self) -> dict[str, Any]:
        """The state as plain JSON values."""
        return asdict(self)

    @classmethod
    def from_json(cls, value: dict[str, Any]) -> "RunState":
        """Inverse of `to_json`. Raises KeyError or TypeError for anything else."""
        exams = [Exam(**exam) for exam in value["exams"]]
        findings = [Finding(**finding) for finding in value["findings"]]
        return cls(**{**value, "exams": exams, "findings": findings})
