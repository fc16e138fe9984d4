"""Reads the report of Playwright Test's JSON reporter."""

import json
import re
from collections.abc import Iterator, Sequence
from typing import Any

from actors.playwright.records import SpecResult, Status
from rollout.errors import BrowserFault

MAX_ERROR_CHARS = 600
COLOURS = re.compile("\x1b\\[[0-9;]*m")


def read_report(text: str, specs: Sequence[str], *, faults_fail: bool = False) -> tuple[SpecResult, ...]:
    """The results in the order of `specs` and of the tests in them.

    Raises BrowserFault for a report that is not one, or that lacks a specification file; with `faults_fail`, a lacking
    file has one failed test.
    """
    try:
        report = json.loads(text)
        placed = [row for suite in report["suites"] for row in _results(suite, suite["file"], ())]
        found = [result for _, result in sorted(placed, key=lambda row: row[0])]
        errors = [_message(error) for error in report.get("errors", ())]
    except (ValueError, KeyError, TypeError, IndexError) as error:
        raise BrowserFault(f"Playwright Test wrote an unreadable report: {error!r}") from error
    missing = sorted(set(specs) - {result.spec for result in found})
    if missing:
        reason = errors[0] if errors else "no error was reported"
        if not faults_fail:
            raise BrowserFault(f"Playwright Test ran no test of {missing[0]}: {reason}")
        found += failed(missing, reason)
    order = {spec: number for number, spec in enumerate(specs)}
    return tuple(sorted(found, key=lambda result: order[result.spec]))


def failed(specs: Sequence[str], error: str) -> tuple[SpecResult, ...]:
    """One failed test for each specification file."""
    return tuple(SpecResult(spec=spec, title="the specification", status="failed", error=error) for spec in specs)


def _results(suite: Any, file: str, describe: tuple[str, ...]) -> Iterator[tuple[int, SpecResult]]:
    """Yields each test and its line; the reporter lists those outside of a `describe` first."""
    for spec in suite.get("specs", ()):
        for test in spec["tests"]:
            runs = test["results"]
            last = runs[-1] if runs else {}
            result = SpecResult(
                spec=file,
                title=str(spec["title"]),
                describe=describe,
                status=_status(test["status"], last.get("status")),
                error=_message(next(iter(last.get("errors", ())), {})),
                seconds=float(last.get("duration", 0)) / 1000,
            )
            yield int(spec["line"]), result
    for inner in suite.get("suites", ()):
        yield from _results(inner, file, (*describe, str(inner["title"])))


def _status(outcome: str, status: str | None) -> Status:
    """Playwright's outcome (`expected`, `unexpected`, `skipped`), with the status of the last run of a failed test."""
    if outcome == "expected":
        return "passed"
    if outcome == "skipped" or status is None:
        return "skipped"
    return "timed_out" if status == "timedOut" else "failed"


def _message(error: Any) -> str:
    text = COLOURS.sub("", str(error.get("message", "")))
    return " ".join(text.split())[:MAX_ERROR_CHARS]
