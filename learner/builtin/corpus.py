"""Pre-training corpus of the built-in policy: first pages, revisions and reviews of the training designs."""

import random
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

from learner.builtin.flaws import Broken, break_page
from reward.designs import Draw, draw, vary
from reward.validity import complaint
from reward.visual import sentences
from rollout.edits import make
from rollout.parsing import parse_page
from rollout.prompts import answer, edit_answer, feedback_text, first, review, revise
from rollout.records import Message, Page, ProbeStep, Render

Kind = Literal["first", "revise", "review"]

KINDS: tuple[Kind, ...] = ("first", "revise", "review")
SHARES = (0.42, 0.4, 0.18)
"""Share of each kind."""
INVENTED = 0.5
"""Share of texts with random words: a policy that knows all texts by heart learns to guess them instead of copying."""
EDITS_SHARE = 0.6
"""Share of revisions of a parsed page that are written as edits; the others write the whole page."""
BROKEN_SHARE = 0.6
"""Share of first pages that are broken on purpose, for reinforcement learning to remove."""
HASTY = 0.95
"""Share of broken first pages without a thought; sound ones always begin with one."""
WRONG = 0.15
"""Share of sound first pages with a wrong colour, number or text."""
BROKEN_SHOWN = 0.3
"""Share of revisions of a broken page; the others revise a page with wrong traits."""
BROKEN_AGAIN = 0.1
"""Rate of broken revisions relative to broken first pages."""
OVERHEARD = 0.3
"""Share of reviews and revisions with one more critic sentence, about a fault other than a wrong trait. Words missing
from the corpus would cost so much in feedback distillation that the policy learnt nothing else."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Conversation:
    """Messages and the answer to train on."""

    kind: Kind
    messages: tuple[Message, ...]
    target: str


def conversations(seed: int, broken_share: float) -> Iterator[Conversation]:
    """Endless conversations, identical for the same arguments; no design is drawn twice."""
    index = 0
    while True:
        rng = random.Random(f"{seed}/{index}")
        design = draw(seed * 1_000_003 + index, invented=INVENTED)
        (kind,) = rng.choices(KINDS, SHARES)
        yield {"first": _first, "revise": _revise, "review": _review}[kind](design, rng, broken_share)
        index += 1


def _first(design: Draw, rng: random.Random, broken_share: float) -> Conversation:
    html = design.task.reference_html or ""
    if rng.random() < broken_share:
        thought = "" if rng.random() < HASTY else design.thought
        target = break_page(html, thought, rng).text
    elif rng.random() < WRONG:
        target = answer(vary(design, rng, rng.randint(1, 2))[0], design.thought)
    else:
        target = answer(html, design.thought)
    return Conversation(kind="first", messages=first(design.task), target=target)


def _revise(design: Draw, rng: random.Random, broken_share: float) -> Conversation:
    html = design.task.reference_html or ""
    if rng.random() < BROKEN_SHOWN:
        broken = break_page(html, "", rng)
        page = parse_page(broken.text)
        seen = None if page.html is None else _render(page, broken)
        feedback: tuple[str, ...] = (complaint(page, seen),)
    else:
        wrong, feedback = _criticised(design, rng)
        page = Page(html=wrong)
    again = rng.random() < broken_share * BROKEN_AGAIN
    target = break_page(html, "", rng).text if again else answer(html)
    as_edits = page.html is not None and rng.random() < EDITS_SHARE
    if as_edits:
        target = _edits(page.html or "", html, target)
    messages = revise(design.task, page, feedback, as_edits=as_edits)
    return Conversation(kind="revise", messages=messages, target=target)


def _edits(shown: str, html: str, target: str) -> str:
    """The answer with the edits that turn the shown page into the page of the answer `target`.

    If that has no page, the edits lead to the sound page `html`, and the last marker is missing.
    """
    wanted = parse_page(target).html
    edits = make(shown, html if wanted is None or wanted == shown else wanted)
    text = edit_answer(edits)
    if wanted is not None:
        return text
    return "".join(text.rpartition(">>>>>>> REPLACE\n")[::2])


def _review(design: Draw, rng: random.Random, broken_share: float) -> Conversation:
    wrong, feedback = _criticised(design, rng)
    messages = review(design.task, Page(html=wrong))
    return Conversation(kind="review", messages=messages, target=feedback_text(feedback))


def _criticised(design: Draw, rng: random.Random) -> tuple[str, tuple[str, ...]]:
    wrong, feedback = vary(design, rng, rng.randint(1, 4))
    if rng.random() < OVERHEARD:
        feedback = (*feedback[:4], _overheard(design, rng))
    return wrong, feedback


def _overheard(design: Draw, rng: random.Random) -> str:
    """A sentence about a failing interaction or about a box."""
    expected = [
        (probe.name, number, step)
        for probe in design.task.probes
        for number, step in enumerate(probe.steps, start=1)
        if step.kind in ("expect_text", "expect_style")
    ]
    if expected and rng.random() < 0.6:
        name, number, step = rng.choice(expected)
        return sentences.failed_probe(name, f"step {number}, {step.kind}: {_unmet(step, design, rng)}")
    tag = rng.choice(("div", "input", "button"))
    x = rng.randrange(100)
    y = rng.randrange(100)
    found, wanted = ((rng.randrange(20, 760), rng.randrange(2, 500)) for _ in range(2))
    return rng.choice(
        (
            sentences.missing_box(tag, x, y),
            sentences.extra_box(tag, x, y),
            sentences.wrong_box_size(tag, x, y, found, wanted),
            sentences.wrong_fill(tag, x, y, _color(rng), _color(rng)),
        )
    )


def _unmet(step: ProbeStep, design: Draw, rng: random.Random) -> str:
    if step.kind == "expect_style":
        found = f"rgb{_color(rng)}" if step.value.startswith("rgb") else f"{rng.randrange(400)}px"
        return f"{step.name!r} of {step.selector!r} is {found!r}, wanted {step.value!r}"
    found = str(rng.randrange(100)) if step.value.isdigit() else rng.choice(sorted(design.traits.values()))
    return f"{step.selector!r} shows {found!r}, wanted {step.value!r}"


def _color(rng: random.Random) -> tuple[int, int, int]:
    return rng.randrange(256), rng.randrange(256), rng.randrange(256)


def _render(page: Page, broken: Broken) -> Render:
    return Render(page_sha256=page.sha256, outcome=broken.outcome, detail=broken.detail)
