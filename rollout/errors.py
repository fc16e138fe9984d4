"""Exception hierarchy of the system, grouped by how each error is handled.

    RelookError
    ├── BadInput             unusable user input: one line, exit code 2 (1 once a run has begun)
    │   ├── SettingsError    a setting, or a combination of settings
    │   ├── TaskFileError    a task file, or a row in it
    │   ├── ModelError       a model that cannot be trained: its files, its chat template, or its computation
    │   └── CheckpointError  a checkpoint that is missing, damaged or of another shape
    ├── MachineError         infrastructure failure: retried, then dropped and counted, never a reward
    │   ├── EngineFault      a policy engine died, hung or returned an invalid answer
    │   ├── BrowserFault     a browser was lost or cannot be launched
    │   │   └── PictureLost  a screenshot was lost with its browser: render the page again
    │   ├── CriticFault      a critic timed out, refused or returned an unreadable answer
    │   │   └── AnswerFault  an unreadable answer: the request may succeed when repeated
    │   ├── LearnerFault     a learner rank died
    │   └── StorageFault     the disk is full or cannot be written
    ├── CapacityError        the requested resources do not fit on this machine or cluster
    ├── BudgetSpent          the critics' budget is used up: the run stops cleanly and can be resumed
    └── SyncError            the engines do not hold the learner's weights: the run must stop

Errors of the policy are not in this tree: they are data with a reward of zero. Any other exception is a bug and stops
the run with its traceback.
"""

from collections import Counter
from collections.abc import Sequence

MAX_FAULT_CHARS = 300
"""Maximum length of a fault's line in a run's records."""


class RelookError(Exception):
    """Base class of all intentional exceptions; the message is one line for the user."""


class BadInput(RelookError):
    """User input is unusable. The message names the input, the value received, the value wanted, and the fix."""


class SettingsError(BadInput):
    """A setting is unknown, out of range or in conflict with another setting."""


class PromptTooLong(SettingsError):
    """A prompt leaves no room for an answer in the model's context. For a revision prompt, only the episode ends."""


class TaskFileError(BadInput):
    """A task file is missing, truncated, or has an invalid row."""


class ModelError(BadInput):
    """A model directory is unusable, or learner and engine cannot reproduce the model's computation exactly."""


class CheckpointError(BadInput):
    """A checkpoint is missing, damaged, or was written by a run of another shape."""


class MachineError(RelookError):
    """Infrastructure failure. Retried, then the episode is dropped and counted; never scored."""


class EngineFault(MachineError):
    """A policy engine died, hung or returned something that is not a completion."""


class BrowserFault(MachineError):
    """A browser was lost for reasons unrelated to the page, or cannot be launched."""


class PictureLost(BrowserFault):
    """A screenshot was lost with the browser that took it; rendering the page again restores it."""


class CriticFault(MachineError):
    """A critic timed out, refused, or returned an unreadable answer."""


class AnswerFault(CriticFault):
    """A critic's answer is not a valid judgment: unreadable, truncated, a refusal, or out of range."""

    hint = "Answer with one JSON object in the form asked for, and nothing else."
    """Added when the request is repeated. It quotes none of the answer, which may contain text of the page."""


class LearnerFault(MachineError):
    """A learner rank died or cannot be reached."""


class StorageFault(MachineError):
    """The disk is full, or a path cannot be written."""


class CapacityError(RelookError):
    """The requested resources do not fit: the message names the bundle and the available resources."""


class BudgetSpent(RelookError):
    """The critics' budget is used up. Not a machine fault, so nothing is retried."""


class SyncError(RelookError):
    """An engine's log-probs differ from the learner's after a weight sync."""


def fault_line(fault: MachineError) -> str:
    """Formats a fault as one bounded line for the records of a run: `BrowserFault: the page stalled two browsers`."""
    return f"{type(fault).__name__}: {' '.join(str(fault).split())}"[:MAX_FAULT_CHARS]


def fault_kinds(lines: Sequence[str]) -> dict[str, int]:
    """Number of lines of each fault class, most frequent first."""
    return dict(Counter(line.partition(":")[0] for line in lines).most_common())


def fault_summary(lines: Sequence[str]) -> str:
    """Each fault class with its count and last message; empty for no lines.

    Example: `2 x BrowserFault, the last: the page stalled two browsers`.
    """
    last = dict(line.partition(": ")[::2] for line in lines)
    return "; ".join(f"{count} x {kind}, the last: {last[kind]}" for kind, count in fault_kinds(lines).items())
