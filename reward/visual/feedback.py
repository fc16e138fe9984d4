"""What the embedded critic says: up to five sentences, the fault that costs most first.

One cause, one sentence: what only moved or grew because of another fault is left unsaid.
"""

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from math import exp, sqrt

import numpy as np

from reward.visual import sentences
from reward.visual.blocks import likeness
from reward.visual.colour import FAR, difference
from reward.visual.colour import distance as color_distance
from reward.visual.evidence import WEIGHTS, Evidence, Match
from reward.visual.layout import Area, Placed, Rect, area, distance, offset, overlap, rect
from reward.visual.pictures import Color, dominant
from rollout.records import TextBlock

MOST = 5
MOST_CHARS = 80
MOVED = 8.0
"""Pixels by which a thing must be off its place to be worth a sentence."""
OFF_COLOR = 3.0
"""CIEDE2000 by which a colour must be off."""
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
PROBES = 0.2
"""What failed interactions cost together, beside a score of 1."""


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
        if abs(dx) < MOVED:
            return abs(dy) <= self.down
        beside = any(row[1] < side[3] and side[1] < row[3] for row in self.rows for side in (found, wanted))
        return beside and abs(dy) <= self.down + MOVED


def sentences_for(evidence: Evidence, score: float) -> tuple[str, ...]:
    """What to change, worst first; empty only for a page that is right."""
    evidence = _substituted(evidence)
    said = _ranked(list(_faults(evidence, 1.0)))
    if not said and score < 1.0:
        said = _ranked(list(_faults(evidence, 1 / 16))) or [_area(evidence)]
    return tuple(said[:MOST])


def _ranked(faults: list[Fault]) -> list[str]:
    repeats: Counter[tuple[object, ...]] = Counter()
    weighed: list[tuple[float, str]] = []
    for fault in sorted(faults, key=lambda fault: -fault.loss):
        weighed.append((fault.loss / 2 ** repeats[fault.cause], fault.said))
        repeats[fault.cause] += 1
    return list(dict.fromkeys(said for _, said in sorted(weighed, key=lambda pair: -pair[0])))


def _faults(evidence: Evidence, least: float) -> Iterator[Fault]:
    """Every fault past its threshold; `least` scales the thresholds."""
    flow = Flow()
    yield from _texts(evidence, flow)
    yield from _fonts(evidence, flow, least)
    yield from _boxes(evidence, flow)
    yield from _moves(evidence, flow, least)
    yield from _colors(evidence, least)
    yield from _motion(evidence)
    yield from _height(evidence, flow, least)
    yield from _probes(evidence)


def _substituted(evidence: Evidence) -> Evidence:
    """The evidence with other texts that stand for missing ones matched to them, worth nothing as they are."""
    missing, extra, matches = list(evidence.missing), list(evidence.extra), list(evidence.matches)
    reach = evidence.wanted.reach
    for wanted in evidence.missing:
        found = max(extra, key=lambda block: _instead(block, wanted, reach), default=None)
        if found is not None and _instead(found, wanted, reach) >= 0.5:
            missing.remove(wanted)
            extra.remove(found)
            apart = color_distance(found.color, wanted.color)
            matches.append(Match(found=found, wanted=wanted, likeness=0.0, color_distance=apart))
    return replace(evidence, matches=tuple(matches), missing=tuple(missing), extra=tuple(extra))


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
        said = sentences.wrong_text(_cut(pair.found.text), _cut(pair.wanted.text))
        yield Fault(loss=loss, said=said, cause=("text", said))
    for block in evidence.missing:
        flow.add(rect(block), block.height + MARGIN)
        said = sentences.missing_text(_cut(block.text), *_percent(block, evidence))
        yield Fault(loss=READ + cost * area(rect(block)), said=said, cause=("missing", said))
    for block in evidence.extra:
        flow.add(rect(block), block.height + MARGIN)
        said = sentences.extra_text(_cut(block.text))
        yield Fault(loss=READ + cost * area(rect(block)), said=said, cause=("extra", said))


def _fonts(evidence: Evidence, flow: Flow, least: float) -> Iterator[Fault]:
    for pair in evidence.matches:
        a, b = pair.found.font_px, pair.wanted.font_px
        if abs(a - b) >= OFF_FONT * least:
            _resized(flow, pair.found, pair.wanted)
            loss = WEIGHTS["font"] * (1.0 - min(a, b) / max(a, b)) / len(evidence.matches)
            said = sentences.wrong_font_size(_cut(pair.wanted.text), a, b)
            yield Fault(loss=2 * loss, said=said, cause=("font", a, b))


def _boxes(evidence: Evidence, flow: Flow) -> Iterator[Fault]:
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
        said = words(box.tag, *_percent(box, evidence))
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
        said = sentences.wrong_box_size(wanted.tag, *_percent(wanted, evidence), size, right)
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
            groups.append((by, wanted.tag if isinstance(wanted, Area) else _cut(wanted.text), loss))
    for by, name, loss in groups:
        yield Fault(loss=loss, said=sentences.moved(name, *by), cause=("moved", by))


def _colors(evidence: Evidence, least: float) -> Iterator[Fault]:
    """The canvas, the texts, what is behind them, and the boxes."""
    said: set[tuple[Color, Color]] = set()
    canvas = evidence.found.render.background, evidence.wanted.render.background
    off = color_distance(*canvas)
    if off >= OFF_COLOR * least:
        said.add(canvas)
        loss = WEIGHTS["color_map"] * min(1.0, off / FAR) / 2
        yield Fault(loss=loss, said=sentences.wrong_canvas(*canvas), cause=("canvas",))
    for pair in evidence.matches:
        colors = pair.found.color, pair.wanted.color
        if pair.color_distance >= OFF_COLOR * least:
            loss = WEIGHTS["text_color"] * min(1.0, pair.color_distance / FAR) / len(evidence.matches)
            yield Fault(
                loss=2 * loss, said=sentences.wrong_color(_cut(pair.wanted.text), *colors), cause=("color", colors)
            )
    screen = max(1, evidence.wanted.render.viewport[0] * evidence.wanted.render.viewport[1])
    for colors, size, words in [*_grounds(evidence.matches, canvas), *_fills(evidence)]:
        off = 0.0 if colors in said else color_distance(*colors)
        if off >= OFF_COLOR * least:
            said.add(colors)
            loss = WEIGHTS["color_map"] * min(1.0, off / FAR) * min(1.0, 0.1 + size / screen)
            yield Fault(loss=loss, said=words, cause=("fill", colors))


def _grounds(
    matches: tuple[Match, ...], canvas: tuple[Color, Color]
) -> Iterator[tuple[tuple[Color, Color], float, str]]:
    """The colours behind each text, largest first; the bare canvas is spoken of by itself."""
    for pair in sorted(matches, key=lambda pair: -area(rect(pair.wanted))):
        colors = pair.found.background, pair.wanted.background
        if colors[0] != colors[1] and colors != canvas:
            yield colors, area(rect(pair.wanted)), sentences.wrong_background(_cut(pair.wanted.text), *colors)


def _fills(evidence: Evidence) -> Iterator[tuple[tuple[Color, Color], float, str]]:
    for found, wanted in evidence.boxes:
        if found.color and wanted.color and found.color != wanted.color:
            words = sentences.wrong_fill(wanted.tag, *_percent(wanted, evidence), found.color, wanted.color)
            yield (found.color, wanted.color), area(rect(wanted)), words


def _motion(evidence: Evidence) -> Iterator[Fault]:
    """Pictures that are right at first and wrong later."""
    weigh = WEIGHTS["color_map"], WEIGHTS["structure"]
    shots = zip(evidence.colors, evidence.structures, strict=True)
    lost = [weigh[0] * (1.0 - color) + weigh[1] * (1.0 - shape) for color, shape in shots]
    worst = max(range(len(lost)), key=lambda i: lost[i])
    if lost[worst] > 3 * lost[0] + 0.005:
        at_ms = evidence.wanted.render.shots[worst].at_ms
        yield Fault(loss=sum(lost) / len(lost), said=sentences.wrong_motion(at_ms), cause=("motion",))


def _height(evidence: Evidence, flow: Flow, least: float) -> Iterator[Fault]:
    found, wanted = evidence.found.render.document[1], evidence.wanted.render.document[1]
    if abs(found - wanted) > max(MOVED * least, flow.down):
        loss = WEIGHTS["size"] * (1.0 - min(found, wanted) / max(found, wanted))
        yield Fault(loss=loss, said=sentences.wrong_height(found, wanted), cause=("height",))


def _probes(evidence: Evidence) -> Iterator[Fault]:
    probes = evidence.found.render.probes
    for probe in probes:
        if not probe.held:
            detail = " ".join(probe.detail.split())[: 2 * MOST_CHARS].rstrip(".")
            said = sentences.failed_probe(probe.name, detail or "it does not do what was asked")
            yield Fault(loss=PROBES / len(probes), said=said, cause=("probe", probe.name))


def _area(evidence: Evidence) -> str:
    """The part of the pictures, a sixteenth of their width and height, that differs most."""
    worst = min(range(len(evidence.colors)), key=lambda i: evidence.colors[i] + evidence.structures[i])
    found, wanted = evidence.found.pictures[worst], evidence.wanted.pictures[worst]
    cells = difference(found, wanted).reshape(16, 8, 16, 8).sum(axis=(1, 3))
    row, column = (int(i) for i in np.unravel_index(cells.argmax(), cells.shape))
    crops = [scene.rgb[row * 8 : row * 8 + 8, column * 8 : column * 8 + 8] for scene in (found, wanted)]
    colors = [dominant(crop) for crop in crops]
    if colors[0] == colors[1]:
        means = [crop.reshape(-1, 3).mean(axis=0).round().astype(int) for crop in crops]
        colors = [(int(mean[0]), int(mean[1]), int(mean[2])) for mean in means]
    return sentences.wrong_fill("area", 100 * (column + 0.5) / 16, 100 * (row + 0.5) / 16, *colors)


def _instead(found: TextBlock, wanted: TextBlock, reach: float) -> float:
    """How much one text looks as if it stood for another: by its place, or else by its element."""
    near = exp(-2 * distance(rect(found), rect(wanted)) / reach)
    font = min(found.font_px, wanted.font_px) / max(1.0, found.font_px, wanted.font_px)
    return near * font + 0.5 * (found.tag == wanted.tag and font == 1) + 0.1 * likeness(found.text, wanted.text)


def _resized(flow: Flow, found: TextBlock, wanted: TextBlock) -> None:
    wide, tall = abs(found.width - wanted.width), abs(found.height - wanted.height)
    if max(wide, tall) >= 1:
        flow.add(rect(wanted), 2 * tall + MOVED if tall >= 1 else 0.0)


def _holds(outer: Rect, inner: Rect) -> bool:
    x, y = (inner[0] + inner[2]) / 2, (inner[1] + inner[3]) / 2
    return outer[0] <= x <= outer[2] and outer[1] <= y <= outer[3]


def _percent(thing: Placed, evidence: Evidence) -> tuple[float, float]:
    """Where a thing's middle is, in percent of the reference's document."""
    width, height = (max(1, side) for side in evidence.wanted.render.document)
    return 100 * (thing.x + thing.width / 2) / width, 100 * (thing.y + thing.height / 2) / height


def _cut(text: str) -> str:
    return text if len(text) <= MOST_CHARS else f"{text[: MOST_CHARS - 1]}…"
