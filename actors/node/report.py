"""Reads the report that harness/report.js writes: the results of the tests."""

import json
import re
from collections.abc import Sequence
from typing import Any, get_args

from actors.node.fenced_node import Ended
from actors.node.records import SpecReport, SpecResult, SpecRun, Status
from rollout.errors import BrowserFault

REPORT, LOST = "report.json", "browser_lost"
"""Files of a run's report; the second one means that Chromium ended before it was closed."""
MAX_ERROR_CHARS = 600
COLOURS = re.compile("\x1b\\[[0-9;]*m")


def spec_report(ended: Ended, run: SpecRun) -> SpecReport:
    """The report of a run that ended.

    Raises BrowserFault for a lost browser, and for a report without verdicts unless the run has `faults_fail`.
    """
    if LOST in ended.report:
        raise BrowserFault("Chromium did not start, or ended during the tests")
    if REPORT in ended.report:
        text = ended.report[REPORT].decode("utf-8", "replace")
        results = read_report(text, run.specs, faults_fail=run.faults_fail)
    elif run.faults_fail:
        results = failed(run.specs, f"the tests ended with status {ended.status} and no report")
    else:
        raise BrowserFault(f"the tests ended with status {ended.status} and no report: {ended.log}")
    return SpecReport(
        results=results,
        pictures=ended.pictures,
        refused=ended.refused,
        seconds=ended.seconds,
        cpu_seconds=ended.cpu_seconds,
    )


def read_report(text: str, specs: Sequence[str], *, faults_fail: bool = False) -> tuple[SpecResult, ...]:
    """The results in the order of `specs` and of the tests in them.

    Raises BrowserFault for a report that is not one, or that lacks a specification file; with `faults_fail`, a lacking
    file has one failed test.
    """
    try:
        report = json.loads(text)
        found = [_result(row) for row in report["results"]]
        errors = [_plain(error) for error in report["errors"]]
    except (ValueError, KeyError, TypeError) as error:
        raise BrowserFault(f"the tests wrote an unreadable report: {error!r}") from error
    missing = sorted(set(specs) - {result.spec for result in found})
    if missing:
        reason = errors[0] if errors else "no error was reported"
        if not faults_fail:
            raise BrowserFault(f"no test ran of {missing[0]}: {reason}")
        found += failed(missing, reason)
    order = {spec: number for number, spec in enumerate(specs)}
    return tuple(sorted(found, key=lambda result: order[result.spec]))


def failed(specs: Sequence[str], error: str) -> tuple[SpecResult, ...]:
    """One failed test for each specification file."""
    return tuple(SpecResult(spec=spec, title="the specification", status="failed", error=error) for spec in specs)


def _result(row: Any) -> SpecResult:
    if row["status"] not in get_args(Status):
        raise ValueError(f"a test has the status {row['status']!r}")
    return SpecResult(
        spec=str(row["spec"]),
        title=str(row["title"]),
        describe=tuple(map(str, row["describe"])),
        status=row["status"],
        error=_plain(row["error"]),
        seconds=float(row["ms"]) / 1000,
    )


def _plain(text: Any) -> str:
    return " ".join(COLOURS.sub("", str(text)).split())[:MAX_ERROR_CHARS]
