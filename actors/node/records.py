"""Records of a run of specifications: the files, and the status of each test."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

Status = Literal["passed", "failed", "timed_out", "skipped"]


@dataclass(frozen=True, slots=True, kw_only=True)
class SpecRun:
    """Files of a fresh folder, and the specifications to run in it."""

    files: Mapping[str, bytes] = field(repr=False)
    """Relative path → content: the tested page, its assets, and the specifications. The folder is new for every run."""
    specs: tuple[str, ...]
    """Relative paths of the specification files, run in this order."""
    test_timeout_s: float = 30.0
    expect_timeout_s: float = 5.0
    """Playwright only."""
    action_timeout_s: float = 0.0
    """Limit of an action, such as a click, that waits for its element; 0 is that of the test. Playwright only."""
    run_timeout_s: float = 600.0
    """Limit of the whole run; a run that exceeds it has no results."""
    max_failures: int = 0
    """Failed tests after which the others are skipped; 0 for no limit. Playwright only."""
    faults_fail: bool = False
    """Whether a specification that cannot be loaded, or a run that exceeds its time or ends without a report, fails
    the specifications instead of raising BrowserFault: for specifications that import tested files."""
    viewport: tuple[int, int] = (1280, 720)
    """Playwright only."""
    served: str = ""
    """Relative path of a folder to serve over HTTP as the base URL of the tests; empty for none. Playwright only."""
    environment: Mapping[str, str] = field(default_factory=dict)
    """Further environment variables of the tests."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SpecResult:
    """The result of one test."""

    spec: str
    """Relative path of its file."""
    title: str
    describe: tuple[str, ...] = ()
    """Titles of the enclosing `describe` blocks, outermost first."""
    status: Status
    error: str = ""
    """The first error, bounded."""
    seconds: float = 0.0


@dataclass(frozen=True, slots=True, kw_only=True)
class SpecReport:
    """The results of a run, in the order of files and tests."""

    results: tuple[SpecResult, ...]
    pictures: Mapping[str, bytes] = field(default_factory=dict, repr=False)
    """PNG files that the tests wrote, by relative path."""
    refused: tuple[str, ...] = ()
    """Addresses of refused requests, bounded in number."""
    seconds: float = 0.0
    cpu_seconds: float = 0.0
