"""Where a run stands: what a checkpoint must hold beside the learner's own state."""

from dataclasses import asdict, dataclass, field
from typing import Any

from cluster.training.diagnosis import Finding
from cluster.training.exam import Exam


@dataclass(kw_only=True)
class RunState:
    """The run's memory. Everything in it is plain data, so that it can be written and read back."""

    step: int = 0
    """Steps finished."""
    history: list[dict[str, float]] = field(default_factory=list)
    """Metrics, one dict a finished step."""
    exams: list[Exam] = field(default_factory=list)
    """Exams taken, oldest first; the first is the policy training began with."""
    champion_step: int = 0
    """The step whose weights are the champion; 0 is the policy training began with."""
    version: int = 0
    """Weights version the learner holds after `step`; below it where the learner went back to a champion."""
    champion_version: int = 0
    """Weights version of the champion."""
    events: list[str] = field(default_factory=list)
    """What happened that a person should know: faults survived, resumes, promotions."""
    findings: list[Finding] = field(default_factory=list)
    """What kept the pages of the last step from earning anything, and its groups from carrying a signal."""
    inference: dict[str, dict[str, float]] = field(default_factory=dict)
    canaries: dict[str, dict[str, float]] = field(default_factory=dict)
    """Each critic's first scores of the fixed pages by which its drift is seen, by critic, then by task."""
    seconds: dict[str, float] = field(default_factory=dict)
    """Wall seconds so far: `setup`, `warm_start`, `train`."""

    @property
    def champion(self) -> Exam:
        """The champion's exam."""
        return next(exam for exam in self.exams if exam.step == self.champion_step)

    def rewind(self, saved: "RunState") -> None:
        """Goes back to a checkpoint; what happened since, the time it took and the judge's first scores stay."""
        self.step, self.history, self.exams = saved.step, saved.history, saved.exams
        self.champion_step, self.inference = saved.champion_step, saved.inference
        self.version, self.champion_version = saved.version, saved.champion_version
        self.findings = saved.findings

    def to_json(self) -> dict[str, Any]:
        """As plain JSON values."""
        return asdict(self)

    @classmethod
    def from_json(cls, value: dict[str, Any]) -> "RunState":
        """What `to_json` gave. Raises KeyError or TypeError for anything else."""
        # Before learners could go back, the version was the step.
        versions = {"version": value["step"], "champion_version": value["champion_step"]}
        exams = [Exam(**exam) for exam in value["exams"]]
        findings = [Finding(**finding) for finding in value.get("findings", ())]
        return cls(**{**versions, **value, "exams": exams, "findings": findings})
