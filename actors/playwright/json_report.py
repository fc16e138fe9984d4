"""Reads the report of harness/reporter.js."""

import json
import re
from collections.abc import Sequence
from typing import Any

from actors.playwright.records import SpecResult, Status
from rollout.errors import BrowserFault

MAX_ERROR_CHARS = 600
COLOURS = re.compile("\x1b\\[[0-9;]*m")
NOT_STARTED = "browserType.launch: "
"""Beginning of Playwright's error for a browser that does not start."""


def read_report(text: str, specs: Sequence[str]) -> tuple[SpecResult, ...]:
    """The results in the order of `specs` and of the tests in them.

    Raises BrowserFault for a report that is not one, that lacks a specification file, or of a browser that did not
    start.
    """
    try:
        report = json.loads(text)
        found = [_result(row) for row in sorted(report["results"], key=lambda row: int(row["line"]))]
        errors = [_plain(error) for error in report["errors"]]
    except (ValueError, KeyError, TypeError) as error:
        raise BrowserFault(f"Playwright Test wrote an unreadable report: {error!r}") from error
    unstarted = next((result.error for result in found if NOT_STARTED in result.error), None)
    if unstarted is not None:
        raise BrowserFault(f"Chromium did not start: {unstarted}")
    missing = sorted(set(specs) - {result.spec for result in found})
    if missing:
        reason = errors[0] if errors else "no error was reported"
        raise BrowserFault(f"Playwright Test ran no test of {missing[0]}: {reason}")
    order = {spec: number for number, spec in enumerate(specs)}
    return tuple(sorted(found, key=lambda result: order[result.spec]))


def _result(row: Any) -> SpecResult:
    return SpecResult(
        spec=str(row["file"]),
        title=str(row["title"]),
        describe=tuple(map(str, row["describe"])),
        status=_status(row["outcome"], row["status"]),
        error=_plain(row["error"]),
        seconds=float(row["ms"]) / 1000,
    )


def _status(outcome: str, status: str | None) -> Status:
    """Playwright's outcome (`expected`, `unexpected`, `skipped`), with the status of the last run of a failed test."""
    if outcome == "expected":
        return "passed"
    if outcome == "skipped" or status is None:
        return "skipped"
    return "timed_out" if status == "timedOut" else "failed"


def _plain(text: Any) -> str:
    return " ".join(COLOURS.sub("", str(text)).split())[:MAX_ERROR_CHARS]
