"""Faults of texts and boxes: missing, extra, wrong, of another size, out of place.

Each cause is reported once: displacements and size changes caused by another fault are omitted.
"""

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from math import exp, sqrt
from os.path import commonprefix

import numpy as np

from reward.visual import sentences
from reward.visual.evidence import WEIGHTS, Evidence
from reward.visual.layout import Area, Placed, Rect, area, distance, offset, overlap, rect
from reward.visual.pictures import Array
from rollout.records import TextBlock

MOST_CHARS = 80
MOVED = 8.0
"""Minimum displacement, in pixels, that is reported."""
OFF_FONT = 0.75
"""Minimum difference of font sizes, in pixels, that is reported."""
TOGETHER = 6.0
"""Maximum difference, in pixels, of displacements that count as one."""
MARGIN = 48.0
"""White space, in pixels, that a missing or extra element may take with it."""
READ = 0.02
"""Cost of a wrong text in addition to its area."""
TEXTS = ("blocks", "text", "position", "text_color", "font")
CELLS = ("td", "th")
"""Boxes whose width depends on the texts of a whole column."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Difference:
    """One fault and its feedback sentence."""

    loss: float
    """Approximate loss of score."""
    said: str
    cause: tuple[object, ...]
    """Cause of the fault; each repetition of the same cause halves its loss."""


@dataclass(slots=True, kw_only=True)
class Flow:
    """Elements that displace others: their places, and how far in total they may push others down."""

    rows: list[Rect] = field(default_factory=list)
    down: float = 0.0

    def add(self, sides: Rect, down: float) -> None:
        """Adds an element that has a wrong size, is missing or is extra."""
        self.rows.append(sides)
        self.down += down

    def explains(self, found: Rect, wanted: Rect) -> bool:
        """Whether a displacement may be caused by a recorded element above the thing, or by one in its row."""
        dx, dy = offset(found, wanted)
        if self.rows and abs(dx) < MOVED:
            return abs(dy) <= self.down
        beside = any(row[1] < side[3] and side[1] < row[3] for row in self.rows for side in (found, wanted))
        return beside and abs(dy) <= self.down + MOVED


@dataclass(slots=True, kw_only=True)
class Group:
    """Things that moved by the same offset."""

    by: tuple[float, float]
    """Offset in pixels to the right and down, of the first of them."""
    pairs: list[tuple[TextBlock | Area, TextBlock | Area]]
    """Found and wanted; texts first, each from top to bottom."""
    loss: float


def things(evidence: Evidence, least: float, flow: Flow) -> Iterator[Difference]:
    """Yields all faults; `least` scales the thresholds, and causes of displacement are added to `flow`."""
    yield from _texts(evidence, flow)
    yield from _fonts(evidence, flow, least)
    yield from _boxes(evidence, flow, least)
    yield from _moves(evidence, flow, least)


def percent(thing: Placed, evidence: Evidence) -> tuple[float, float]:
    """Centre of a thing, in percent of the reference's document."""
    width, height = (max(1, side) for side in evidence.wanted.render.document)
    return 100 * (thing.x + thing.width / 2) / width, 100 * (thing.y + thing.height / 2) / height


def cut(text: str) -> str:
    """Shortens a text for a sentence."""
    return text if len(text) <= MOST_CHARS else f"{text[: MOST_CHARS - 1]}…"


def cut_apart(found: str, wanted: str) -> tuple[str, str]:
    """Shortens two different texts for a sentence so that their difference stays visible."""
    same = len(commonprefix([found, wanted]))
    start = same - MOST_CHARS // 4
    if same < MOST_CHARS // 2 or max(len(found), len(wanted)) <= MOST_CHARS:
        return cut(found), cut(wanted)
    return cut(f"…{found[start:]}"), cut(f"…{wanted[start:]}")


def same_things(evidence: Evidence) -> Evidence:
    """Removes matched boxes that only share a place and contain different texts."""
    mine = _held([found for found, _ in evidence.boxes], _middles([pair.found for pair in evidence.matches]))
    theirs = _held([wanted for _, wanted in evidence.boxes], _middles([pair.wanted for pair in evidence.matches]))
    same = np.all(mine == theirs, axis=1) | np.any(mine & theirs, axis=1)
    return replace(evidence, boxes=tuple(pair for pair, kept in zip(evidence.boxes, same, strict=True) if kept))


def _middles(things: Sequence[Placed]) -> Array:
    """float [N, 2] centres."""
    return np.array([(thing.x + thing.width / 2, thing.y + thing.height / 2) for thing in things]).reshape(-1, 2)


def _held(boxes: Sequence[Placed], places: Array) -> Array:
    """bool [boxes, N]: which places, [N, 2], lie in each box."""
    left, top, right, bottom = np.array([rect(box) for box in boxes]).reshape(-1, 4).T[..., None]
    x, y = places.T
    held: Array = (left <= x) & (x <= right) & (top <= y) & (y <= bottom)
    return held


def _texts(evidence: Evidence, flow: Flow) -> Iterator[Difference]:
    """Missing, extra and wrong texts."""
    whole = sum(area(rect(block)) for scene in (evidence.found, evidence.wanted) for block in scene.blocks)
    cost = sum(WEIGHTS[name] for name in TEXTS) / max(1.0, whole)
    for pair in evidence.matches:
        if pair.likeness == 1.0:
            continue
        _resized(flow, pair.found, pair.wanted)
        loss = READ + WEIGHTS["text"] * (1.0 - pair.likeness) / len(evidence.matches)
        if pair.likeness == 0.0:
            loss += cost * (area(rect(pair.found)) + area(rect(pair.wanted)))
        said = sentences.wrong_text(*cut_apart(pair.found.text, pair.wanted.text))
        yield Difference(loss=loss, said=said, cause=("text", said))
    for block in evidence.missing:
        flow.add(rect(block), block.height + MARGIN)
        said = sentences.missing_text(cut(block.text), *percent(block, evidence))
        yield Difference(loss=READ + cost * area(rect(block)), said=said, cause=("missing", said))
    for block in evidence.extra:
        flow.add(rect(block), block.height + MARGIN)
        said = sentences.extra_text(cut(block.text))
        yield Difference(loss=READ + cost * area(rect(block)), said=said, cause=("extra", said))


def _fonts(evidence: Evidence, flow: Flow, least: float) -> Iterator[Difference]:
    for pair in evidence.matches:
        a, b = pair.found.font_px, pair.wanted.font_px
        if abs(a - b) >= OFF_FONT * least:
            _resized(flow, pair.found, pair.wanted)
            loss = WEIGHTS["font"] * (1.0 - min(a, b) / max(a, b)) / len(evidence.matches)
            said = sentences.wrong_font_size(cut(pair.wanted.text), a, b)
            yield Difference(loss=2 * loss, said=said, cause=("font", a, b))


def _boxes(evidence: Evidence, flow: Flow, least: float) -> Iterator[Difference]:
    """Missing and extra boxes, and boxes of another size; boxes that contain a faulty text are omitted."""
    a, b = evidence.found, evidence.wanted
    things: list[Placed] = [*a.blocks, *a.boxes, *b.blocks, *b.boxes]
    cost = WEIGHTS["layout"] / max(1.0, sum(sqrt(area(rect(thing))) for thing in things))
    texts = np.array([((left + right) / 2, (top + bottom) / 2) for left, top, right, bottom in flow.rows])
    texts = texts.reshape(-1, 2)
    single = [(box, True) for box in evidence.missing_boxes] + [(box, False) for box in evidence.extra_boxes]
    around = np.any(_held([box for box, _ in single], texts), axis=1)
    for box, gone in (pair for pair, full in zip(single, around, strict=True) if not full):
        flow.add(rect(box), box.height + MARGIN)
        words = sentences.missing_box if gone else sentences.extra_box
        said = words(box.tag, *percent(box, evidence))
        yield Difference(loss=cost * sqrt(area(rect(box))), said=said, cause=("box", gone, box.tag))
    within = [_held([pair[side] for pair in evidence.boxes], texts) for side in (0, 1)]
    for (found, wanted), held in zip(evidence.boxes, np.any(within[0] | within[1], axis=1), strict=True):
        wide, tall = abs(found.width - wanted.width), abs(found.height - wanted.height)
        follows = len(texts) and wanted.tag in CELLS
        if max(wide, tall) <= MOVED or follows or held:
            continue
        flow.add(rect(wanted), tall)
        lost = 1.0 - overlap(rect(found), rect(wanted))
        size, right = (found.width, found.height), (wanted.width, wanted.height)
        said = sentences.wrong_box_size(wanted.tag, *percent(wanted, evidence), size, right)
        yield Difference(loss=2 * cost * lost * sqrt(area(rect(wanted))), said=said, cause=("size", size, right))


def _moves(evidence: Evidence, flow: Flow, least: float) -> Iterator[Difference]:
    """Yields one sentence per group of things with the same offset, named after its topmost text, or else topmost box.

    Swapped texts are reported as out of order; things that only made room for them are omitted.
    """
    moved: list[tuple[TextBlock | Area, TextBlock | Area]] = [(pair.found, pair.wanted) for pair in evidence.matches]
    moved += [(a, b) for a, b in evidence.boxes if max(abs(a.width - b.width), abs(a.height - b.height)) <= MOVED]
    moved = [pair for pair in moved if distance(rect(pair[0]), rect(pair[1])) > MOVED * least]
    moved = [pair for pair in moved if not flow.explains(rect(pair[0]), rect(pair[1]))]
    moved = [pair for pair in moved if not (flow.rows and pair[1].tag in CELLS)]
    moved.sort(key=lambda pair: (isinstance(pair[1], Area), pair[1].y, pair[1].x))
    groups: list[Group] = []
    for found, wanted in moved:
        by = offset(rect(found), rect(wanted))
        lost = 1.0 - exp(-distance(rect(found), rect(wanted)) / evidence.wanted.reach)
        loss = WEIGHTS["position"] * lost / max(1, len(evidence.matches))
        for group in groups:
            if max(abs(by[0] - group.by[0]), abs(by[1] - group.by[1])) <= TOGETHER * max(least, 0.2):
                group.pairs.append((found, wanted))
                group.loss += loss
                break
        else:
            groups.append(Group(by=by, pairs=[(found, wanted)], loss=loss))
    known = Counter(block.text for block in evidence.found.blocks)
    said: list[Group] = []
    for group in sorted(groups, key=lambda group: -max(map(abs, group.by))):
        if any(_swapped(*group.pairs[0], *other.pairs[0]) for other in said):
            continue
        others = [other for other in groups if other is not group]
        words = _order(group, others, known)
        if words:
            said.append(group)
        else:
            found, wanted = group.pairs[0]
            words = sentences.moved(found.tag if isinstance(found, Area) else cut(found.text), *group.by)
        yield Difference(loss=group.loss, said=words, cause=("moved", group.by))


def _order(group: Group, others: Sequence[Group], known: Counter[str]) -> str:
    """Sentence on the order of a group's first text and a text it must pass; empty without one, or if texts repeat."""
    found, wanted = group.pairs[0]
    passed = [pair for other in others for pair in other.pairs if _swapped(found, wanted, *pair)]
    passed.sort(key=lambda pair: distance(rect(pair[1]), rect(wanted)))
    for mine, theirs in passed:
        if isinstance(found, Area) or isinstance(mine, Area) or not any(map(str.isalnum, mine.text)):
            continue
        if known[found.text] != 1 or known[mine.text] != 1:
            continue
        if _before(rect(wanted), rect(theirs), 1) and _before(rect(mine), rect(found), 1):
            return sentences.out_of_order(cut(found.text), "above", cut(mine.text))
        if _before(rect(theirs), rect(wanted), 1) and _before(rect(found), rect(mine), 1):
            return sentences.out_of_order(cut(found.text), "below", cut(mine.text))
        left = _before(rect(wanted), rect(theirs), 0)
        return sentences.out_of_order(cut(found.text), "to the left of" if left else "to the right of", cut(mine.text))
    return ""


def _swapped(found: Placed, wanted: Placed, mine: Placed, theirs: Placed) -> bool:
    """Whether two things are in reverse order, in a column or in a row."""
    a, b = rect(found), rect(wanted)
    c, d = rect(mine), rect(theirs)
    for axis in (0, 1):
        # Things of one column, or of one row, overlap on the other axis.
        beside = all(min(x[3 - axis], y[3 - axis]) > max(x[1 - axis], y[1 - axis]) for x, y in ((a, c), (b, d)))
        forth = _before(b, d, axis) and _before(c, a, axis)
        back = _before(d, b, axis) and _before(a, c, axis)
        if beside and (forth or back):
            return True
    return False


def _before(one: Rect, other: Rect, axis: int) -> bool:
    """Whether a thing ends before another begins, from left to right (axis 0) or downwards (axis 1)."""
    return one[axis + 2] <= other[axis]


def _resized(flow: Flow, found: TextBlock, wanted: TextBlock) -> None:
    wide, tall = abs(found.width - wanted.width), abs(found.height - wanted.height)
    if max(wide, tall) >= 1:
        flow.add(rect(wanted), 2 * tall + MOVED if tall >= 1 else 0.0)
