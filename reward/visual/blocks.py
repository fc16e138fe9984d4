"""Text blocks of a page against those of its reference: who matches whom, and how well.

After Design2Code (arXiv 2403.03163): blocks are assigned by text similarity, and what stays unmatched counts by
its area. Text, position and colour are means over the matched blocks times the block match, so that a page with
one right block does not pass for a right page.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from difflib import SequenceMatcher
from functools import lru_cache

import numpy as np
from scipy.optimize import linear_sum_assignment

from reward.visual.color import distance
from rollout.records import TextBlock

MIN_SIMILARITY = 0.5
"""Texts less alike than this are two texts, not one with a mistake."""
PLACE_WEIGHT = 0.05
"""How much nearness counts in the assignment: it decides between equal texts only."""
POSITION_REACH = 1 / 3
"""Offset, as a share of the viewport, at which a block's position is worth nothing."""
COLOR_REACH = 50.0
"""CIEDE2000 difference at which a colour is worth nothing."""


@dataclass(frozen=True, slots=True)
class Pair:
    """A block of the page and the block of the reference it stands for."""

    found: TextBlock
    wanted: TextBlock
    similarity: float
    """Of the texts, in (0, 1]."""


@dataclass(frozen=True, slots=True)
class Matching:
    """All blocks of a page and its reference, matched or not."""

    pairs: tuple[Pair, ...]
    extra: tuple[TextBlock, ...]
    missing: tuple[TextBlock, ...]


def match(found: Sequence[TextBlock], wanted: Sequence[TextBlock], viewport: tuple[int, int]) -> Matching:
    """Assigns blocks to each other so that the texts are as alike as possible."""
    if not found or not wanted:
        return Matching((), tuple(found), tuple(wanted))
    alike = np.array([[similarity(f.text, w.text) for w in wanted] for f in found])
    apart = np.array([[max(offset(f, w, viewport)) for w in wanted] for f in found])
    rows, columns = linear_sum_assignment(PLACE_WEIGHT * np.minimum(apart, 1.0) - alike)
    chosen = [(int(r), int(c)) for r, c in zip(rows, columns, strict=True) if alike[r, c] >= MIN_SIMILARITY]
    pairs = tuple(Pair(found[r], wanted[c], float(alike[r, c])) for r, c in chosen)
    left, right = {r for r, _ in chosen}, {c for _, c in chosen}
    return Matching(
        pairs,
        tuple(block for index, block in enumerate(found) if index not in left),
        tuple(block for index, block in enumerate(wanted) if index not in right),
    )


def scores(matching: Matching, viewport: tuple[int, int]) -> dict[str, float]:
    """`blocks`, `text`, `position` and `text_color`, each in [0, 1]; 1 where neither page has a text."""
    pairs = matching.pairs
    matched = sum(area(pair.found) + area(pair.wanted) for pair in pairs)
    total = matched + sum(map(area, matching.extra)) + sum(map(area, matching.missing))
    if total == 0:
        return dict.fromkeys(("blocks", "text", "position", "text_color"), 1.0)
    if not pairs:
        return dict.fromkeys(("blocks", "text", "position", "text_color"), 0.0)
    blocks = matched / total
    places = [max(0.0, 1 - max(offset(p.found, p.wanted, viewport)) / POSITION_REACH) for p in pairs]
    colors = [max(0.0, 1 - distance(p.found.color, p.wanted.color) / COLOR_REACH) for p in pairs]
    return {
        "blocks": blocks,
        "text": blocks * float(np.mean([pair.similarity for pair in pairs])),
        "position": blocks * float(np.mean(places)),
        "text_color": blocks * float(np.mean(colors)),
    }


@lru_cache(maxsize=65536)
def similarity(found: str, wanted: str) -> float:
    """How alike two texts are, case apart: 2M/T of their longest matching runs, in [0, 1]."""
    found, wanted = found.casefold(), wanted.casefold()
    if found == wanted:
        return 1.0
    matcher = SequenceMatcher(None, found, wanted, autojunk=False)
    if matcher.real_quick_ratio() < MIN_SIMILARITY or matcher.quick_ratio() < MIN_SIMILARITY:
        return 0.0
    # Two different texts are never equal, however long: that is what `wrong_text` is for.
    return min(matcher.ratio(), 0.99)


def offset(found: TextBlock, wanted: TextBlock, viewport: tuple[int, int]) -> tuple[float, float]:
    """Distance of two blocks' middles, across and down, as shares of the viewport."""
    dx, dy = shift(found, wanted)
    return abs(dx) / max(1, viewport[0]), abs(dy) / max(1, viewport[1])


def shift(found: TextBlock, wanted: TextBlock) -> tuple[float, float]:
    """How far right and down of its place a block is, in pixels, from the nearest of left edge, middle, right edge.

    A text that is longer or larger than it should be has moved only if none of its anchors is in place.
    """
    anchors = [
        found.x - wanted.x,
        found.x + found.width / 2 - wanted.x - wanted.width / 2,
        found.x + found.width - wanted.x - wanted.width,
    ]
    down = [found.y - wanted.y, found.y + found.height / 2 - wanted.y - wanted.height / 2]
    return min(anchors, key=abs), min(down, key=abs)


def area(block: TextBlock) -> float:
    """Square pixels."""
    return block.width * block.height
