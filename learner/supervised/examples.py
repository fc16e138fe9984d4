"""Training examples of supervised fine-tuning, in the three forms of an episode, with the prompts of episodes.

first     brief → page
revise    brief, page, feedback → revision, as a whole page or as edits
review    brief, page → feedback
"""

import random
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from rollout.edits import make
from rollout.parsing import parse_answer, parse_page
from rollout.prompts import answer, edit_answer, feedback_text, first, review, revise
from rollout.records import Message, Page, Task
from rollout.seeds import seed_of
from rollout.settings import RevisionForm

Form = Literal["first", "revise", "review"]
FORMS: tuple[Form, ...] = ("first", "revise", "review")


@dataclass(frozen=True, slots=True, kw_only=True)
class Example:
    """A conversation and the answer to train on."""

    form: Form
    task: str
    """Id of the task."""
    damage: str = ""
    """Damage of the page that is revised or reviewed; empty for a first page."""
    messages: tuple[Message, ...]
    target: str


def readable_reference(task: Task) -> str | None:
    """The task's reference page as it is read from an answer; None without one, or if an answer cannot contain it."""
    return None if task.reference_html is None else parse_page(answer(task.reference_html)).html


def first_example(task: Task, reference: str) -> Example:
    """The reference page as the first answer to the brief."""
    return Example(form="first", task=task.id, messages=first(task), target=answer(reference))


def revision_example(
    task: Task, reference: str, shown: Page, feedback: tuple[str, ...], revision: RevisionForm, damage: str
) -> Example | None:
    """The reference page as the revision of a damaged page; None if it cannot be read back from the answer.

    With `edits`, the revision of a page that could be read from the answer is written as edits of it, as in episodes.
    """
    base = shown.html if revision == "edits" else None
    target = answer(reference) if base is None else edit_answer(make(base, reference))
    if parse_answer(target, base).html != reference:
        return None
    messages = revise(task, shown, feedback, as_edits=base is not None)
    return Example(form="revise", task=task.id, damage=damage, messages=messages, target=target)


def review_example(task: Task, shown: Page, feedback: tuple[str, ...], damage: str) -> Example:
    """The feedback on a damaged page as the policy's own review of it."""
    return Example(
        form="review", task=task.id, damage=damage, messages=review(task, shown), target=feedback_text(feedback)
    )


def batches(num: int, size: int, steps: int, seed: int) -> list[list[int]]:
    """Indices of the examples of each update: a new order in each epoch, whose last batch may be smaller.

    A pure function of its arguments, so that a resumed run continues with the same batches.
    """
    found: list[list[int]] = []
    epoch = 0
    while len(found) < steps:
        order = list(range(num))
        random.Random(seed_of(seed, "epoch", epoch)).shuffle(order)
        found += [order[start : start + size] for start in range(0, num, size)]
        epoch += 1
    return found[:steps]


def mean_losses(forms: Sequence[str], losses: Sequence[float], tokens: Sequence[int]) -> dict[str, float]:
    """Mean loss by form, in nats per answer token, for the forms that occur."""
    found: dict[str, float] = {}
    for form in FORMS:
        mine = [i for i, one in enumerate(forms) if one == form]
        if mine:
            found[form] = sum(losses[i] for i in mine) / sum(tokens[i] for i in mine)
    return found
