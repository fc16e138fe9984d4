"""The result of one measurement: a figure, the expectation, the verdict and one line of advice."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any, Literal

from cluster.report.charts import number

Verdict = Literal["ok", "slow", "wrong"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Measurement:
    """One measured figure with its verdict.

    Example: `Measurement(what="weight sync", figure=0.8, unit="s", expected="at most 2.1 s", verdict="ok")`.
    """

    what: str
    figure: float | None
    """None when nothing was measured, because of a fault or because there is nothing to measure."""
    unit: str
    expected: str
    """The bound in words, with its origin."""
    verdict: Verdict
    """`wrong`: a run would fail or learn from wrong data; `slow`: it would work, slower than the machine allows."""
    advice: str = ""
    """The remedy, or an explanation of the figure; at most one line."""

    @property
    def value(self) -> str:
        """The figure with its unit, for reading."""
        return "–" if self.figure is None else f"{number(self.figure)} {self.unit}".strip()

    def __str__(self) -> str:
        advice = f"; {self.advice}" if self.advice else ""
        return f"{self.verdict:6}{self.what:34}{self.value:>18}   {self.expected}{advice}"


def failed(what: str, error: BaseException) -> Measurement:
    """The measurement of a part that a fault interrupted."""
    line = " ".join(str(error).split())[:300] or type(error).__name__
    return Measurement(what=what, figure=None, unit="", expected="an answer", verdict="wrong", advice=line)


@dataclass(frozen=True, slots=True, kw_only=True)
class Prediction:
    """The time of a training step with these settings, predicted from the measured figures."""

    step_s: float
    play_s: float
    learn_s: float
    sync_s: float
    steps: int
    bottleneck: str
    """The part that limits a step. Example: `"policy engine"`."""
    advice: str
    """The change that would save most."""
    origin: str
    """The figures that it rests on."""

    @property
    def run_s(self) -> float:
        """Seconds of all steps, without exams."""
        return self.steps * self.step_s


@dataclass(frozen=True, slots=True, kw_only=True)
class Acceptance:
    """All results of one acceptance."""

    name: str
    """Name of the settings."""
    measurements: tuple[Measurement, ...]
    prediction: Prediction | None
    """None when no step could be measured."""
    seconds: float
    """Duration of the acceptance."""

    @property
    def verdict(self) -> Verdict:
        """The worst verdict of all measurements."""
        return worst([one.verdict for one in self.measurements])

    def of(self, verdict: Verdict) -> list[Measurement]:
        """The measurements with this verdict."""
        return [one for one in self.measurements if one.verdict == verdict]

    def to_json(self) -> dict[str, Any]:
        """Contents of `acceptance.json`; figures that are not finite are None."""
        return {
            "name": self.name,
            "verdict": self.verdict,
            "seconds": self.seconds,
            "measurements": [_finite(asdict(one)) for one in self.measurements],
            "prediction": _finite(asdict(self.prediction)) if self.prediction else None,
        }


def worst(verdicts: Sequence[Verdict]) -> Verdict:
    """The worst of some verdicts; `ok` for none."""
    order: tuple[Verdict, ...] = ("wrong", "slow", "ok")
    return next((one for one in order if one in verdicts), "ok")


def _finite(values: Mapping[str, Any]) -> dict[str, Any]:
    return {
        name: None if isinstance(value, float) and not math.isfinite(value) else value for name, value in values.items()
    }
