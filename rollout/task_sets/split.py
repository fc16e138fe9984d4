"""Splits tasks into training and held-out tasks by brief."""

import hashlib
from collections.abc import Sequence

from rollout.records import Task


def split_by_brief(tasks: Sequence[Task], share: float) -> tuple[list[Task], list[Task]]:
    """Training and held-out tasks, in order; `share` of the briefs, at least one if it is above 0, is held out.

    The briefs' hashes decide. Tasks with the same brief are in the same part, so that no held-out brief is trained on.
    """
    briefs = sorted({task.brief for task in tasks}, key=lambda brief: hashlib.sha256(brief.encode()).hexdigest())
    chosen = set(briefs[: max(1, round(share * len(briefs)))] if share > 0 else ())
    training = [task for task in tasks if task.brief not in chosen]
    return training, [task for task in tasks if task.brief in chosen]
