"""Design families: the slots that vary, the page template, and the phrasings of the brief."""

import hashlib
import random
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from math import prod
from typing import Literal

from reward.designs.palette import COLORS, SIZES
from rollout.records import Probe

Traits = Mapping[str, str]
Split = Literal["train", "held_out"]

HELD_OUT_SHARE = 8
"""One in this many combinations of a family's key traits is held out."""


def no_probes(traits: Traits) -> tuple[Probe, ...]:
    """No probes, for pages without interactions."""
    del traits
    return ()


@dataclass(frozen=True, slots=True, kw_only=True)
class DesignFamily:
    """One kind of page. Templates are filled with the traits by name: `{title}`; `{title_px}` for a size."""

    name: str
    slots: Mapping[str, tuple[str, ...]]
    """Slots and their possible values, all equally likely and independent."""
    key: tuple[str, ...]
    """The slots whose combination determines the split (training or held out)."""
    openings: tuple[str, ...]
    """Phrases that begin a brief."""
    clauses: tuple[tuple[str, ...], ...]
    """One entry per statement of the brief, each with alternative phrasings. Briefs shuffle the statements."""
    thought: str
    page: Callable[[Traits], str]
    probes: Callable[[Traits], tuple[Probe, ...]] = no_probes
    places: Mapping[str, tuple[float, float]]
    """Text slots on a line of their own, which a faulty page may leave out: the approximate place of their middle, in
    percent of the page, for a centred design."""
    unseen: tuple[str, ...] = ()
    """Slots that no picture shows, or that soon change."""

    @property
    def num_tasks(self) -> int:
        """Number of distinct designs."""
        return prod(len(values) for values in self.slots.values())

    def pick(self, rng: random.Random) -> Traits:
        """Draws one value for each slot."""
        return {slot: rng.choice(values) for slot, values in self.slots.items()}

    def split(self, traits: Traits) -> Split:
        """The split of a design, from a hash of its key traits that is equal in all runs and on all machines."""
        text = "/".join((self.name, *(traits[slot] for slot in self.key)))
        held_out = int.from_bytes(hashlib.sha256(text.encode()).digest()[:4], "big") % HELD_OUT_SHARE == 0
        return "held_out" if held_out else "train"

    def place(self, slot: str, traits: Traits) -> tuple[float, float]:
        """Place of a text's middle, in percent of the page."""
        x, y = self.places[slot]
        return x + {"left": -33, "center": 0, "right": 33}[traits.get("align", "center")], y

    def brief(self, traits: Traits, rng: random.Random) -> str:
        """Writes a brief with random phrasings and order."""
        words = fill(traits)
        said = [rng.choice(ways).format(**words) for ways in self.clauses]
        rng.shuffle(said)
        opening = rng.choice(self.openings).format(**words)
        if rng.random() < 0.5:
            return f"{opening}: {'; '.join(said)}."
        return " ".join(f"{text[0].upper()}{text[1:]}." for text in (opening, *said))


def fill(traits: Traits) -> dict[str, str]:
    """Template variables: the traits, and the pixels of each size as `<slot>_px`."""
    return {**traits, **{f"{slot}_px": str(SIZES[value]) for slot, value in traits.items() if value in SIZES}}


RESET = "*{margin:0;padding:0;border:0;box-sizing:border-box;font:inherit;color:inherit}"


def document(title: str, css: str, body: str, script: str = "") -> str:
    """A complete HTML page. `css` has one rule per line, `body` one element per line; both begin with a newline."""
    code = f"\n<script>{script}\n</script>" if script else ""
    return (
        f'<!doctype html>\n<html>\n<head>\n<meta charset="utf-8">\n<title>{title}</title>\n<style>\n{RESET}{css}\n'
        f"</style>\n</head>\n<body>{body}{code}\n</body>\n</html>"
    )


def color(traits: Traits, slot: str) -> str:
    """A colour trait as `#rrggbb`."""
    return COLORS[traits[slot]]


def rgb(name: str) -> str:
    """A colour in the browser's format: `navy` → `rgb(0, 0, 128)`."""
    value = COLORS[name]
    return f"rgb({int(value[1:3], 16)}, {int(value[3:5], 16)}, {int(value[5:7], 16)})"
