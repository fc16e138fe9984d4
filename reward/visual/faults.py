"""What is wrong with the texts and boxes of a page: missing, extra, wrong, of another size, out of place.

One cause, one fault: what only moved or grew because of another fault is left unsaid.
"""

from collections.abc import Iterator
from dataclasses import dataclass, field
from math import exp, sqrt

from reward.visual import sentences
from reward.visual.evidence import WEIGHTS, Evidence
from reward.visual.layout import Area, Placed, Rect, area, distance, offset, overlap, rect
from rollout.records import TextBlock

MOST_CHARS = 80
MOVED = 8.0
"""Pixels by which a thing must be off its place to be worth a sentence."""
OFF_FONT = 0.75
"""Pixels by which a font size must be off."""
TOGETHER = 6.0
"""Pixels within which things have moved together."""
MARGIN = 48.0
"""Pixels of white space that a missing or extra thing may take along."""
READ = 0.02
"""What a wrong text costs a reader, however small it is."""
TEXTS = ("blocks", "text", "position", "text_color", "font")
CELLS = ("td", "th")
"""Boxes as wide as the texts of a whole column."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Fault:
    """One thing to say."""

    loss: float
    """About how much of the score it costs."""
    said: str
    cause: tuple[object, ...]
    """Faults of one cause are worth half as much each time they are repeated."""


@dataclass(slots=True, kw_only=True)
class Flow:
    """What pushes other things from their places: where it is, and by how much it may push them down."""

    rows: list[Rect] = field(default_factory=list)
    down: float = 0.0

    def add(self, sides: Rect, down: float) -> None:
        """Something that has another size than it should, is missing or is extra."""
        self.rows.append(sides)
        self.down += down

    def explains(self, found: Rect, wanted: Rect) -> bool:
        """Whether a thing may have moved because of what is above it, or beside it in its row."""
        dx, dy = offset(found, wanted)
        if self.rows and abs(dx) < MOVED:
            return abs(dy) <= self.down
        beside = any(row[1] < side[3] and side[1] < row[3] for row in self.rows for side in (found, wanted))
        return beside and abs(dy) <= self.down + MOVED


def things(evidence: Evidence, least: float, flow: Flow) -> Iterator[Fault]:
    """All of them; `least` scales the thresholds, and `flow` learns what may have pushed other things."""
    yield from _texts(evidence, flow)
    yield from _fonts(evidence, flow, least)
    yield from _boxes(evidence, flow, least)
    yield from _moves(evidence, flow, least)


def percent(thing: Placed, evidence: Evidence) -> tuple[float, float]:
    """Where a thing's middle is, in percent of the reference's document."""
    width, height = (max(1, side) for side in evidence.wanted.render.document)
    return 100 * (thing.x + thing.width / 2) / width, 100 * (thing.y + thing.height / 2) / height


def cut(text: str) -> str:
    """A text short enough to be said."""
    return text if len(text) <= MOST_CHARS else f"{text[: MOST_CHARS - 1]}…"


def _texts(evidence: Evidence, flow: Flow) -> Iterator[Fault]:
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
        said = sentences.wrong_text(cut(pair.found.text), cut(pair.wanted.text))
        yield Fault(loss=loss, said=said, cause=("text", said))
    for block in evidence.missing:
        flow.add(rect(block), block.height + MARGIN)
        said = sentences.missing_text(cut(block.text), *percent(block, evidence))
        yield Fault(loss=READ + cost * area(rect(block)), said=said, cause=("missing", said))
    for block in evidence.extra:
        flow.add(rect(block), block.height + MARGIN)
        said = sentences.extra_text(cut(block.text))
        yield Fault(loss=READ + cost * area(rect(block)), said=said, cause=("extra", said))


def _fonts(evidence: Evidence, flow: Flow, least: float) -> Iterator[Fault]:
    for pair in evidence.matches:
        a, b = pair.found.font_px, pair.wanted.font_px
        if abs(a - b) >= OFF_FONT * least:
            _resized(flow, pair.found, pair.wanted)
            loss = WEIGHTS["font"] * (1.0 - min(a, b) / max(a, b)) / len(evidence.matches)
            said = sentences.wrong_font_size(cut(pair.wanted.text), a, b)
            yield Fault(loss=2 * loss, said=said, cause=("font", a, b))


def _boxes(evidence: Evidence, flow: Flow, least: float) -> Iterator[Fault]:
    """Missing and extra boxes, and those of another size; a box that holds a faulty text goes with it."""
    a, b = evidence.found, evidence.wanted
    things: list[Placed] = [*a.blocks, *a.boxes, *b.blocks, *b.boxes]
    cost = WEIGHTS["layout"] / max(1.0, sum(sqrt(area(rect(thing))) for thing in things))
    texts = list(flow.rows)
    for box, gone in [(box, True) for box in evidence.missing_boxes] + [(box, False) for box in evidence.extra_boxes]:
        if any(_holds(rect(box), row) for row in texts):
            continue
        flow.add(rect(box), box.height + MARGIN)
        words = sentences.missing_box if gone else sentences.extra_box
        said = words(box.tag, *percent(box, evidence))
        yield Fault(loss=cost * sqrt(area(rect(box))), said=said, cause=("box", gone, box.tag))
    for found, wanted in evidence.boxes:
        wide, tall = abs(found.width - wanted.width), abs(found.height - wanted.height)
        follows = texts and wanted.tag in CELLS
        if (
            max(wide, tall) <= MOVED
            or follows
            or any(_holds(rect(box), row) for row in texts for box in (found, wanted))
        ):
            continue
        flow.add(rect(wanted), tall)
        lost = 1.0 - overlap(rect(found), rect(wanted))
        size, right = (found.width, found.height), (wanted.width, wanted.height)
        said = sentences.wrong_box_size(wanted.tag, *percent(wanted, evidence), size, right)
        yield Fault(loss=2 * cost * lost * sqrt(area(rect(wanted))), said=said, cause=("size", size, right))


def _moves(evidence: Evidence, flow: Flow, least: float) -> Iterator[Fault]:
    """One sentence for all that moved together, named after the topmost text among it, or else the topmost box."""
    moved: list[tuple[TextBlock | Area, TextBlock | Area]] = [(pair.found, pair.wanted) for pair in evidence.matches]
    moved += [(a, b) for a, b in evidence.boxes if max(abs(a.width - b.width), abs(a.height - b.height)) <= MOVED]
    moved = [pair for pair in moved if distance(rect(pair[0]), rect(pair[1])) > MOVED * least]
    moved = [pair for pair in moved if not flow.explains(rect(pair[0]), rect(pair[1]))]
    moved = [pair for pair in moved if not (flow.rows and pair[1].tag in CELLS)]
    moved.sort(key=lambda pair: (isinstance(pair[1], Area), pair[1].y, pair[1].x))
    groups: list[tuple[tuple[float, float], str, float]] = []
    for found, wanted in moved:
        by = offset(rect(found), rect(wanted))
        lost = 1.0 - exp(-distance(rect(found), rect(wanted)) / evidence.wanted.reach)
        loss = WEIGHTS["position"] * lost / max(1, len(evidence.matches))
        for i, (other, name, sum_) in enumerate(groups):
            if max(abs(by[0] - other[0]), abs(by[1] - other[1])) <= TOGETHER * max(least, 0.2):
                groups[i] = other, name, sum_ + loss
                break
        else:
            groups.append((by, wanted.tag if isinstance(wanted, Area) else cut(wanted.text), loss))
    for by, name, loss in groups:
        yield Fault(loss=loss, said=sentences.moved(name, *by), cause=("moved", by))


def _resized(flow: Flow, found: TextBlock, wanted: TextBlock) -> None:
    wide, tall = abs(found.width - wanted.width), abs(found.height - wanted.height)
    if max(wide, tall) >= 1:
        flow.add(rect(wanted), 2 * tall + MOVED if tall >= 1 else 0.0)


def _holds(outer: Rect, inner: Rect) -> bool:
    x, y = (inner[0] + inner[2]) / 2, (inner[1] + inner[3]) / 2
    return outer[0] <= x <= outer[2] and outer[1] <= y <= outer[3]
