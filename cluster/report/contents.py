"""Contents of a run's report, from which its sections are drawn."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from cluster.report.filmstrips import Film, Pair
from cluster.training.diagnosis import Finding


@dataclass(frozen=True, slots=True, kw_only=True)
class Report:
    """Contents of the report. Any field may be empty, as in the report of a run that has just begun."""

    run_id: str
    title: str
    status: str
    """`running`, `finished`, `stopped` or `failed`."""
    settings: Mapping[str, Any]
    summary: Mapping[str, Any]
    """Contents of `summary.json`."""
    history: Sequence[Mapping[str, float]]
    """Metrics, one mapping a step; keys may be missing."""
    exams: Sequence[Mapping[str, float]] = ()
    """`step`, `mean`, `valid`; if measured, `agreement` and `agreement_by_chance`; and relative to the first exam
    `gain`, `low`, `high`."""
    films: Sequence[Film] = ()
    pairs: Sequence[Pair] = ()
    """In the exam's order, without selection."""
    inference: Mapping[str, Mapping[str, float]] = field(default_factory=dict)
    """`base`, `self_edit`, `with_critic`: each `reward`, `valid`, `tokens`, `seconds`."""
    events: Sequence[str] = ()
    advice: str = ""
    """How to make a step faster, in one line; see `cluster.training.bottleneck`."""
    alarm: str = ""
    """Reason that the last step's pages earned no reward or equal rewards; see `cluster.training.diagnosis.explain`."""
    remedy: str = ""
    """The usual remedy for the alarm's reason."""
    findings: Sequence[Finding] = ()
    """The reasons in the last step, each with an example."""
    picture: Callable[[str], bytes | None] = lambda sha256: None
    """Returns the PNG of a screenshot by its content hash, or None when it was not stored."""
