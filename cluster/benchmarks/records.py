"""Immutable records of a benchmark: its items, the answers to them, the results of its tests.

Dataset → Item → Answer → TestResult
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, ClassVar, Literal

from rollout.records import Message

Verdict = Literal["pass", "fail", "no_answer", "machine_fault"]
"""`no_answer`: the answer holds nothing to test. `machine_fault`: the test never ran to its end; it counts in no score.
"""


EMPTY_DOCUMENT = '<!DOCTYPE html>\n<html lang="en">\n<head><title></title></head>\n<body></body>\n</html>'


@dataclass(frozen=True, slots=True, kw_only=True)
class Sampling:
    """How a benchmark samples answers."""

    temperature: float
    max_tokens: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Item:
    """One task of a benchmark."""

    id: str
    messages: tuple[Message, ...]
    """The benchmark's own prompt."""
    tests: tuple[str, ...]
    """Names of the tests in order, unique within the item. Some benchmarks find further tests when they run."""
    reference: str | None = None
    """The benchmark's own solution, in the form of an answer; None if there is none."""
    empty: str = f"```html\n{EMPTY_DOCUMENT}\n```"
    """An empty page, in the form of an answer."""
    keys: tuple[str, ...] = ()
    """Keys of its prompts; empty if the id is the only one."""
    data: Mapping[str, Any] = field(default_factory=dict, repr=False)
    """What the benchmark's tests need."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Dataset:
    """The items of a benchmark as read from a folder."""

    items: tuple[Item, ...]
    sha256: str
    """Hash of every file that was read, in hexadecimal."""
    left_out: int = 0
    """Rows of the files that are no items of this benchmark."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """One answer to a prompt."""

    text: str | None
    """None when there is none; `detail` gives the reason."""
    detail: str = ""
    seed: int = 0
    tokens: int = 0
    cut: bool = False
    """Whether the answer ended at the maximum number of tokens."""
    seconds: float = 0.0


@dataclass(frozen=True, slots=True, kw_only=True)
class TestResult:
    """The result of one test on one answer."""

    __test__: ClassVar[bool] = False  # not a test class of pytest

    test: str
    verdict: Verdict
    score: float = 0.0
    """Score in [0, 1]; 1 for a pass without partial credit."""
    detail: str = ""
    """Reason of a verdict other than `pass`, in one line."""
    values: Mapping[str, float] = field(default_factory=dict)
    """Named measurements, such as the terms of a score."""
    seconds: float = 0.0
    retries: int = 0
    """Times that the test ran again after a machine fault."""
    picture: bytes | None = field(default=None, repr=False)
    """PNG of the tested page."""
