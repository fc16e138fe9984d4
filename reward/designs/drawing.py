"""Generates designs: tasks with reference pages, and variants of these pages with known faults."""

import random
import re
from collections.abc import Mapping
from dataclasses import dataclass

from reward.designs.disclosure import ACCORDION, TABS
from reward.designs.family import DesignFamily, Split, Traits, fill
from reward.designs.forms import SIGNIN, TODO
from reward.designs.look import compare, look
from reward.designs.motion import BANNER, LOADER, TIMER
from reward.designs.panels import PRICING, PROFILE, TABLE
from reward.designs.sections import CARDS, HERO, NAVBAR, QUOTE
from reward.designs.widgets import COUNTER, PROGRESS, THEME
from reward.designs.words import invent
from rollout.records import Task

STILL = (HERO, CARDS, QUOTE, NAVBAR, PRICING, TABLE, PROFILE)
MOVING = (BANNER, LOADER, TIMER)
INTERACTIVE = (COUNTER, PROGRESS, THEME, TABS, ACCORDION, SIGNIN, TODO)
ALL: dict[str, DesignFamily] = {family.name: family for family in (*STILL, *MOVING, *INTERACTIVE)}
FAMILIES: tuple[str, ...] = tuple(ALL)
"""Names of the families."""
TASKS_PER_SEED = 1_000_000
"""Number of `draw` seeds reserved for each seed of `tasks`."""
MISSPELT, MISSING = 0.3, 0.15
"""Probabilities that a wrong text is misspelt or left out; otherwise it is replaced by another text."""

Missing = dict[str, tuple[float, float]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Draw:
    """One design. Example: `draw(7).task.brief`, `draw(7).traits["accent"] == "navy"`."""

    task: Task
    family: str
    thought: str
    """A plan in a few words: `hero, navy on white, centered, large title`."""
    traits: Mapping[str, str]
    """The values that determine the page: words, numbers, colours by name, alignment."""


def draw(seed: int, *, family: str | None = None, split: Split = "train", invented: float = 0.0) -> Draw:
    """Generates the design of a seed, identical in every process. With `family=None` the seed also chooses the family.

    `invented` is the probability that a text (a name, a line, a button) has random words instead of those of the lists.
    Raises ValueError for a family that does not exist.
    """
    rng = random.Random(f"design/{split}/{family}/{seed}")
    name = rng.choice(FAMILIES) if family is None else family
    kind = _family(name)
    traits = kind.pick(rng)
    while kind.split(traits) != split:
        traits = kind.pick(rng)
    if invented:
        traits = {slot: _invent(value, rng) if rng.random() < invented else value for slot, value in traits.items()}
    task = Task(
        id=f"{split}/{name}/{seed}",
        brief=kind.brief(traits, rng),
        reference_html=kind.page(traits),
        probes=kind.probes(traits),
    )
    return Draw(task=task, family=name, thought=kind.thought.format(**fill(traits)), traits=traits)


def tasks(num: int, seed: int, split: Split = "train") -> list[Task]:
    """Generates `num` tasks, cycling through the families; ids are unique over all seeds and both splits."""
    if not 0 <= num <= TASKS_PER_SEED:
        raise ValueError(f"num is {num}, wanted 0 to {TASKS_PER_SEED}: take the rest from another seed")
    first = seed * TASKS_PER_SEED
    return [draw(first + i, family=FAMILIES[i % len(FAMILIES)], split=split).task for i in range(num)]


def split_of(family: str, traits: Traits) -> Split:
    """The split of a design, which depends only on its family and key traits."""
    return _family(family).split(traits)


def num_tasks(family: str | None = None) -> int:
    """Number of distinct designs of a family, or of all families."""
    return sum(kind.num_tasks for kind in ALL.values()) if family is None else _family(family).num_tasks


def vary(draw_: Draw, rng: random.Random, num: int = 1) -> tuple[str, tuple[str, ...]]:
    """Generates a page of the same design with `num` wrong traits, and a critic's feedback on it, worst first.

    The sentences are true, use the embedded critic's wording, and are at most five; elements displaced by another fault
    are not mentioned.
    """
    kind = _family(draw_.family)
    page = draw_.task.reference_html or ""
    wanted = look(page)
    unseen = [f'"{draw_.traits[slot]}"' for slot in kind.unseen]
    seen = [slot for slot in kind.slots if slot not in kind.unseen]
    while True:
        wrong, missing = _spoil(kind, draw_.traits, rng.sample(seen, min(num, len(seen))), rng)
        said = tuple(text for text in compare(look(wrong), wanted, missing) if not any(gone in text for gone in unseen))
        if said:
            return wrong, said


def _family(name: str) -> DesignFamily:
    if name not in ALL:
        raise ValueError(f"no family is called {name!r}; there are {', '.join(FAMILIES)}")
    return ALL[name]


def _invent(value: str, rng: random.Random) -> str:
    """A text with random words in place of its own; colours, sizes, places and numbers begin with no capital letter."""
    if not value[0].isupper():
        return value
    return re.sub(r"[A-Za-z]+", lambda word: invent(word[0], rng), value)


def _spoil(kind: DesignFamily, traits: Traits, slots: list[str], rng: random.Random) -> tuple[str, Missing]:
    """The page with these slots wrong, and the texts that it leaves out."""
    page = kind.page(traits)
    spoilt, missing = dict(traits), Missing()
    for slot in slots:
        value, chance = traits[slot], rng.random()
        if slot in kind.places and chance < MISSING:
            missing[value] = kind.place(slot, traits)
        elif f">{value}<" in page and len(value) > 3 and chance < MISSING + MISSPELT:
            spoilt[slot] = _misspell(value, rng)
        else:
            spoilt[slot] = rng.choice([other for other in kind.slots[slot] if other != value])
    lines = kind.page(spoilt).split("\n")
    return "\n".join(line for line in lines if not any(_shows(line, text) for text in missing)), missing


def _shows(line: str, text: str) -> bool:
    """Whether a line of the page is the visible element with this text."""
    return f">{text}<" in line and not line.startswith("<title>")


def _misspell(text: str, rng: random.Random) -> str:
    """The text with one letter removed or swapped with the next."""
    letters = [i for i in range(1, len(text) - 1) if text[i].isalpha() and text[i + 1].isalpha()]
    if not letters:
        return text[:-1]
    i = rng.choice(letters)
    swapped = text[:i] + text[i + 1] + text[i] + text[i + 2 :]
    lost = text[:i] + text[i + 1 :]
    return swapped if swapped != text and rng.random() < 0.5 else lost
