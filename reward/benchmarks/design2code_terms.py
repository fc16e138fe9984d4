"""The four terms of Design2Code that need no neural model (arXiv 2403.03163, section 4; its code at commit 7a575e4).

Text blocks of a page are compared with those of its reference: neighbours are joined while that makes the texts match
better, blocks are matched by their texts, and the matched ones are compared. The fifth term, CLIP, is left out, so the
mean of four is not a "Design2Code score".
"""

import math
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from difflib import SequenceMatcher
from functools import partial

import numpy as np
import numpy.typing as npt
from scipy.optimize import linear_sum_assignment
from skimage.color import deltaE_ciede2000, rgb2lab

from rollout.records import Render

Matrix = npt.NDArray[np.float64]
CONTEXT_BONUS = 0.1
"""Weight of the two most similar neighbouring pairs in the last matching."""
LEAST_GAIN = 0.05
"""Decrease of the mean cost above which two neighbours are joined."""
LEAST_SIMILARITY = 0.5
"""Similarity of texts below which a matched pair is dropped."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Block:
    """A text with its colour, and its box in shares of the page's width and height."""

    text: str
    x: float
    y: float
    width: float
    height: float
    color: tuple[float, float, float]

    @property
    def area(self) -> float:
        """Share of the page's area."""
        return self.width * self.height

    def joined(self, other: "Block") -> "Block":
        """Both texts in the smallest box around both, with the mean colour."""
        x, y = min(self.x, other.x), min(self.y, other.y)
        right, bottom = (
            max(self.x + self.width, other.x + other.width),
            max(self.y + self.height, other.y + other.height),
        )
        red, green, blue = ((a + b) // 2 for a, b in zip(self.color, other.color, strict=True))
        text = f"{self.text} {other.text}"
        return Block(text=text, x=x, y=y, width=right - x, height=bottom - y, color=(red, green, blue))


@dataclass(frozen=True, slots=True, kw_only=True)
class Terms:
    """The terms in [0, 1]. Text, position and colour are means over matched blocks only."""

    block: float = 0.0
    text: float = 0.0
    position: float = 0.0
    color: float = 0.0

    @property
    def mean(self) -> float:
        """Mean of the four terms; Waffle (arXiv 2410.18362) calls it low-level element matching."""
        return (self.block + self.text + self.position + self.color) / 4


def blocks_of(render: Render) -> list[Block]:
    """Text blocks of a rendered page in document order; blocks with equal boxes are one."""
    width, height = (max(1.0, float(side)) for side in render.document)
    found: dict[tuple[float, float, float, float], Block] = {}
    for run in render.blocks:
        box = run.x / width, run.y / height, run.width / width, run.height / height
        block = Block(text=run.text.lower(), x=box[0], y=box[1], width=box[2], height=box[3], color=run.color)
        if box in found:
            before = found[box]
            red, green, blue = ((a + b) / 2 for a, b in zip(before.color, block.color, strict=True))
            block = replace(before, text=f"{before.text} {block.text}", color=(red, green, blue))
        found[box] = block
    return list(found.values())


def compare(page: Sequence[Block], reference: Sequence[Block]) -> Terms:
    """The terms of a page; all 0 when either has no text or no pair matches."""
    if not page or not reference:
        return Terms()
    likeness = _Likeness()
    ours, theirs = _join_neighbours(list(page), list(reference), likeness)
    costs = likeness.costs(ours, theirs)
    rows, columns = linear_sum_assignment(_with_context(costs))
    pairs = [(int(i), int(j)) for i, j in zip(rows, columns, strict=True) if -costs[i, j] >= LEAST_SIMILARITY]
    if not pairs:
        return Terms()
    matched = math.fsum(one.area for i, j in pairs for one in (ours[i], theirs[j]))
    whole = math.fsum(one.area for one in (*ours, *theirs))
    return Terms(
        block=matched / whole if matched else 0.0,
        text=_mean([-costs[i, j] for i, j in pairs]),
        position=_mean([1 - _distance(ours[i], theirs[j]) for i, j in pairs]),
        color=_mean([_color_likeness(ours[i], theirs[j]) for i, j in pairs]),
    )


class _Likeness:
    """Similarities of texts; each pair is computed once."""

    def __init__(self) -> None:
        self.known: dict[tuple[str, str], float] = {}

    def costs(self, ours: Sequence[Block], theirs: Sequence[Block]) -> Matrix:
        """Negative similarities, shape (len(ours), len(theirs))."""
        return np.array([self.row(one, theirs) for one in ours])

    def row(self, one: Block, theirs: Sequence[Block]) -> list[float]:
        """Negative similarities of one block."""
        return [-self._of(one.text, other.text) for other in theirs]

    def column(self, ours: Sequence[Block], other: Block) -> list[float]:
        """Negative similarities to one block of the reference."""
        return [-self._of(one.text, other.text) for one in ours]

    def _of(self, text: str, other: str) -> float:
        pair = text, other
        if pair not in self.known:
            self.known[pair] = SequenceMatcher(None, text, other).ratio()
        return self.known[pair]


def _join_neighbours(ours: list[Block], theirs: list[Block], likeness: _Likeness) -> tuple[list[Block], list[Block]]:
    """Joins neighbours on both sides, in turn, until no joint lowers the mean cost by more than LEAST_GAIN."""
    while True:
        costs = likeness.costs(ours, theirs)
        joints = _joints(ours, costs, partial(likeness.row, theirs=theirs))
        if joints:
            ours = _joined(ours, joints)
            costs = likeness.costs(ours, theirs)
        others = _joints(theirs, costs.T, partial(likeness.column, ours))
        if others:
            theirs = _joined(theirs, others)
        if not joints and not others:
            return ours, theirs


def _joints(blocks: Sequence[Block], costs: Matrix, row_of: Callable[[Block], list[float]]) -> list[int]:
    """First indices of neighbours to join, the largest gain first, none sharing a block."""
    now, gains = _assigned(costs), list[tuple[float, int]]()
    for i in range(len(blocks) - 1):
        tried = np.delete(costs, i + 1, axis=0)
        tried[i] = row_of(blocks[i].joined(blocks[i + 1]))
        gain = _gain(now, _assigned(tried))
        if gain > LEAST_GAIN:
            gains.append((gain, i))
    chosen: list[int] = []
    for _, i in sorted(gains, key=lambda gained: -gained[0]):
        if all(abs(i - other) > 1 for other in chosen):
            chosen.append(i)
    return chosen


def _joined(blocks: Sequence[Block], joints: Sequence[int]) -> list[Block]:
    joined = [one.joined(blocks[i + 1]) if i in joints else one for i, one in enumerate(blocks)]
    return [one for i, one in enumerate(joined) if i - 1 not in joints]


def _assigned(costs: Matrix) -> list[float]:
    assigned: list[float] = costs[linear_sum_assignment(costs)].tolist()
    return assigned


def _gain(before: Sequence[float], after: Sequence[float]) -> float:
    """Decrease of the mean cost over the costs that differ; 0 when the lowest of them did not fall."""
    old, new = Counter(before), Counter(after)
    gone, come = list((old - new).elements()), list((new - old).elements())
    gain = _mean(gone) - _mean(come)
    return 0.0 if gain > 0 and min(gone, default=0.0) <= min(come, default=0.0) else gain


def _with_context(costs: Matrix) -> Matrix:
    """Costs below -0.5, each lowered by its two lowest neighbouring costs times CONTEXT_BONUS."""
    rows, columns = costs.shape
    lowered = costs.copy()
    for i, j in np.argwhere(costs < -LEAST_SIMILARITY):
        near = costs[max(0, i - 1) : min(rows, i + 2), max(0, j - 1) : min(columns, j + 2)].flatten().tolist()
        near.remove(costs[i, j])
        lowered[i, j] += CONTEXT_BONUS * sum(sorted(near)[:2])
    return lowered


def _distance(one: Block, other: Block) -> float:
    """The larger of the distances of the centres along x and y."""
    across = one.x + one.width / 2 - other.x - other.width / 2
    down = one.y + one.height / 2 - other.y - other.height / 2
    return max(abs(across), abs(down))


def _color_likeness(one: Block, other: Block) -> float:
    first, second = (rgb2lab(np.array([[color]]) / 255.0) for color in (one.color, other.color))
    return max(0.0, 1.0 - float(deltaE_ciede2000(first, second)[0, 0]) / 100.0)


def _mean(values: Sequence[float]) -> float:
    return math.fsum(values) / len(values) if values else 0.0
