"""What can go wrong, by who has to act on it.

    RelookError
    ├── BadInput             what a person gave is unusable: one line, exit code 2 (1 once a run has begun)
    │   ├── SettingsError    a setting, or a combination of settings
    │   ├── TaskFileError    a task file, or a row in it
    │   ├── ModelError       a model that cannot be trained: its files, its chat template, or what it computes
    │   └── CheckpointError  a checkpoint that is missing, damaged or of another shape
    ├── MachineError         the machinery failed: retried, then dropped and counted, never a reward
    │   ├── EngineFault      a policy engine died, hung or answered nonsense
    │   ├── BrowserFault     a browser was lost or cannot be launched
    │   │   └── PictureLost  a screenshot went with the browser that took it: render the page again
    │   ├── CriticFault      a critic timed out, refused or answered with something unreadable
    │   │   └── AnswerFault  the last of these: asked once more, it may answer well
    │   ├── LearnerFault     a learner rank died
    │   └── StorageFault     the disk is full or cannot be written
    ├── CapacityError        what was asked for does not fit on this machine or cluster
    ├── BudgetSpent          what critics may cost is spent: the run stops in order, and can be resumed
    └── SyncError            the engines do not hold the learner's weights: the run must stop

The policy's own mistakes are not in this tree: they are data, and earn a reward of zero.
Any other exception is a bug and stops the run with its traceback.
"""

from collections import Counter
from collections.abc import Sequence

MAX_FAULT_CHARS = 300
"""Length of a fault's line in the records of a run."""


class RelookError(Exception):
    """Base of everything this system raises on purpose; its message is one line for a person."""


class BadInput(RelookError):
    """What a person gave is unusable. The message says what, what it got, what it wanted, what to do."""


class SettingsError(BadInput):
    """A setting is unknown, out of range or at odds with another one."""


class PromptTooLong(SettingsError):
    """A prompt leaves no room for an answer in the model's context. A revision's ends its episode and no more."""


class TaskFileError(BadInput):
    """A task file is missing, truncated, or has a row that is not a task."""


class ModelError(BadInput):
    """A model directory is unusable, or learner and engine cannot compute exactly what the model does."""


class CheckpointError(BadInput):
    """A checkpoint is missing, damaged, or was written by a run of another shape."""


class MachineError(RelookError):
    """The machinery failed. Retried, then the episode is dropped and counted; never scored."""


class EngineFault(MachineError):
    """A policy engine died, hung or answered with something that is not a completion."""


class BrowserFault(MachineError):
    """A browser was lost for its own reasons, or cannot be launched."""


class PictureLost(BrowserFault):
    """A screenshot is gone with the browser that took it; rendering the page again brings it back."""


class CriticFault(MachineError):
    """A critic timed out, refused, or answered with something unreadable."""


class AnswerFault(CriticFault):
    """A critic's answer is no judgment: unreadable, truncated, a refusal, or out of range."""

    hint = "Answer with one JSON object in the form asked for, and nothing else."
    """What the critic is told when it is asked again: no words of its answer, which may be words of a page."""


class LearnerFault(MachineError):
    """A learner rank died or cannot be reached."""


class StorageFault(MachineError):
    """The disk is full, or a path cannot be written."""


class CapacityError(RelookError):
    """What was asked for does not fit: names the bundle, and what the machine or cluster has."""


class BudgetSpent(RelookError):
    """The critics have cost what they may: no fault of a machine, so nothing is asked again."""


class SyncError(RelookError):
    """An engine's log-probs differ from the learner's after a weight sync."""


def fault_line(fault: MachineError) -> str:
    """A fault in one bounded line, for the records of a run: `BrowserFault: two browsers stood still`."""
    return f"{type(fault).__name__}: {' '.join(str(fault).split())}"[:MAX_FAULT_CHARS]


def fault_kinds(lines: Sequence[str]) -> dict[str, int]:
    """How many of these lines are of each kind of fault, most frequent first."""
    return dict(Counter(line.partition(":")[0] for line in lines).most_common())


def fault_summary(lines: Sequence[str]) -> str:
    """Each kind of fault with its count and its last message; empty for no lines.

    Example: `2 x BrowserFault, the last: two browsers stood still`.
    """
    last = dict(line.partition(": ")[::2] for line in lines)
    return "; ".join(f"{count} x {kind}, the last: {last[kind]}" for kind, count in fault_kinds(lines).items())
