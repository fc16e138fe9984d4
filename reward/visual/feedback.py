"""Feedback of the embedded critic: up to five sentences, most expensive fault first."""

from collections import Counter
from collections.abc import Iterator
from dataclasses import replace
from math import exp

import numpy as np

from reward.visual import sentences
from reward.visual.colour import FAR, difference
from reward.visual.colour import distance as color_distance
from reward.visual.colour import distances as color_distances
from reward.visual.evidence import WEIGHTS, Evidence, Match
from reward.visual.faults import MOST_CHARS, MOVED, Difference, Flow, cut, percent, same_things, things
from reward.visual.layout import Area, area, distance, rect
from reward.visual.pictures import Color
from rollout.records import TextBlock

MOST = 5
OFF_COLOR = 3.0
"""Minimum CIEDE2000 of two colours that is reported."""
MOST_SUBSTITUTES = 20
"""Maximum missing texts, largest first, for which a substitute is searched."""
PROBES = 0.2
"""Total loss of failed interactions, relative to a score of 1."""


def sentences_for(evidence: Evidence, score: float) -> tuple[str, ...]:
    """Returns the changes to make, worst fault first; empty only for a page without faults."""
    evidence = same_things(_substituted(_undivided(_reunited(evidence))))
    said = _ranked(list(_faults(evidence, 1.0)))
    if not said and score < 1.0:
        said = _ranked(list(_faults(evidence, 1 / 16))) or _area(evidence)
    return tuple(said[:MOST])


def _ranked(faults: list[Difference]) -> list[str]:
    repeats: Counter[tuple[object, ...]] = Counter()
    weighed: list[tuple[float, str]] = []
    for fault in sorted(faults, key=lambda fault: -fault.loss):
        weighed.append((fault.loss / 2 ** repeats[fault.cause], fault.said))
        repeats[fault.cause] += 1
    return list(dict.fromkeys(said for _, said in sorted(weighed, key=lambda pair: -pair[0])))


def _faults(evidence: Evidence, least: float) -> Iterator[Difference]:
    """Every fault above its threshold; `least` scales the thresholds."""
    flow = Flow()
    yield from things(evidence, least, flow)
    yield from _colors(evidence, least)
    yield from _motion(evidence)
    yield from _height(evidence, flow, least)
    yield from _probes(evidence)


def _reunited(evidence: Evidence) -> Evidence:
    """Matches the remaining equal texts and similar boxes, so that they count as moved."""
    missing, extra, matches = list(evidence.missing), list(evidence.extra), list(evidence.matches)
    for wanted in evidence.missing:
        found = next((block for block in extra if block.text == wanted.text), None)
        if found is not None:
            _pair(found, wanted, 1.0, missing, extra, matches)
    boxes, gone, more = list(evidence.boxes), list(evidence.missing_boxes), list(evidence.extra_boxes)
    for place in evidence.missing_boxes:
        twin = next((box for box in more if _twins(box, place)), None)
        if twin is not None:
            gone.remove(place)
            more.remove(twin)
            boxes.append((twin, place))
    return replace(
        evidence,
        matches=tuple(matches),
        missing=tuple(missing),
        extra=tuple(extra),
        boxes=tuple(boxes),
        missing_boxes=tuple(gone),
        extra_boxes=tuple(more),
    )


def _undivided(evidence: Evidence) -> Evidence:
    """Ignores texts that are only divided differently than in the reference.

    A missing text is dropped if the page contains it at least as often as the reference, in pieces or within a larger
    text of both pages; extra texts likewise.
    """
    mine, theirs = evidence.found.texts, evidence.wanted.texts
    # Larger texts count only if the other page has them too: `Buy it now` does not contain the text `Buy`.
    whole_mine, whole_theirs = "".join(mine), "".join(theirs)
    own = "".join(text for text in mine if text in whole_theirs)
    other = "".join(text for text in theirs if text in whole_mine)

    def there(block: TextBlock, have: str, want: str) -> bool:
        text = "".join(block.text.split())
        return have.count(text) >= max(1, want.count(text))

    return replace(
        evidence,
        matches=tuple(
            replace(pair, likeness=1.0) if there(pair.wanted, own, other) and there(pair.found, other, own) else pair
            for pair in evidence.matches
        ),
        missing=tuple(block for block in evidence.missing if not there(block, own, other)),
        extra=tuple(block for block in evidence.extra if not there(block, other, own)),
    )


def _substituted(evidence: Evidence) -> Evidence:
    """Matches missing texts with other texts at their places, with a similarity of 0."""
    missing, extra, matches = list(evidence.missing), list(evidence.extra), list(evidence.matches)
    reach = evidence.wanted.reach
    for wanted in evidence.missing[:MOST_SUBSTITUTES]:
        found = max(extra, key=lambda block: _instead(block, wanted, reach), default=None)
        if found is not None and _instead(found, wanted, reach) >= 0.5:
            _pair(found, wanted, 0.0, missing, extra, matches)
    return replace(evidence, matches=tuple(matches), missing=tuple(missing), extra=tuple(extra))


def _pair(
    found: TextBlock,
    wanted: TextBlock,
    likeness: float,
    missing: list[TextBlock],
    extra: list[TextBlock],
    matches: list[Match],
) -> None:
    missing.remove(wanted)
    extra.remove(found)
    apart = color_distance(found.color, wanted.color)
    matches.append(Match(found=found, wanted=wanted, likeness=likeness, color_distance=apart))


def _twins(one: Area, other: Area) -> bool:
    """Whether two boxes may be the same box after a move."""
    return one.tag == other.tag and max(abs(one.width - other.width), abs(one.height - other.height)) <= MOVED


def _colors(evidence: Evidence, least: float) -> Iterator[Difference]:
    """Colours of the canvas, the texts, their backgrounds and the boxes."""
    said: set[tuple[Color, Color]] = set()
    canvas = evidence.found.render.background, evidence.wanted.render.background
    off = color_distance(*canvas)
    if off >= OFF_COLOR * least:
        said.add(canvas)
        loss = WEIGHTS["color_map"] * min(1.0, off / FAR) / 2
        yield Difference(loss=loss, said=sentences.wrong_canvas(*canvas), cause=("canvas",))
    for pair in evidence.matches:
        colors = pair.found.color, pair.wanted.color
        if pair.color_distance >= OFF_COLOR * least:
            loss = WEIGHTS["text_color"] * min(1.0, pair.color_distance / FAR) / len(evidence.matches)
            yield Difference(
                loss=2 * loss, said=sentences.wrong_color(cut(pair.wanted.text), *colors), cause=("color", colors)
            )
    screen = max(1, evidence.wanted.render.viewport[0] * evidence.wanted.render.viewport[1])
    grounds = [*_grounds(evidence.matches, canvas), *_fills(evidence)]
    apart = color_distances([colors[0] for colors, _, _ in grounds], [colors[1] for colors, _, _ in grounds])
    for (colors, size, words), far in zip(grounds, map(float, apart), strict=True):
        off = 0.0 if colors in said else far
        if off >= OFF_COLOR * least:
            said.add(colors)
            loss = WEIGHTS["color_map"] * min(1.0, off / FAR) * min(1.0, 0.1 + size / screen)
            yield Difference(loss=loss, said=words, cause=("fill", colors))


def _grounds(
    matches: tuple[Match, ...], canvas: tuple[Color, Color]
) -> Iterator[tuple[tuple[Color, Color], float, str]]:
    """Background colours of texts, largest text first; the bare canvas is reported separately."""
    for pair in sorted(matches, key=lambda pair: -area(rect(pair.wanted))):
        colors = pair.found.background, pair.wanted.background
        if colors[0] != colors[1] and colors != canvas:
            yield colors, area(rect(pair.wanted)), sentences.wrong_background(cut(pair.wanted.text), *colors)


def _fills(evidence: Evidence) -> Iterator[tuple[tuple[Color, Color], float, str]]:
    for found, wanted in evidence.boxes:
        if found.color and wanted.color and found.color != wanted.color:
            words = sentences.wrong_fill(wanted.tag, *percent(wanted, evidence), found.color, wanted.color)
            yield (found.color, wanted.color), area(rect(wanted)), words


def _motion(evidence: Evidence) -> Iterator[Difference]:
    """Pictures that are right at first and wrong later."""
    decide = WEIGHTS["color_map"], WEIGHTS["structure"]
    shots = zip(evidence.colors, evidence.structures, strict=True)
    lost = [decide[0] * (1.0 - color) + decide[1] * (1.0 - shape) for color, shape in shots]
    worst = max(range(len(lost)), key=lambda i: lost[i])
    if lost[worst] > 3 * lost[0] + 0.005:
        at_ms = evidence.wanted.render.shots[worst].at_ms
        yield Difference(loss=sum(lost) / len(lost), said=sentences.wrong_motion(at_ms), cause=("motion",))


def _height(evidence: Evidence, flow: Flow, least: float) -> Iterator[Difference]:
    found, wanted = evidence.found.render.document[1], evidence.wanted.render.document[1]
    if abs(found - wanted) > max(MOVED * least, flow.down):
        loss = WEIGHTS["size"] * (1.0 - min(found, wanted) / max(found, wanted))
        yield Difference(loss=loss, said=sentences.wrong_height(found, wanted), cause=("height",))


def _probes(evidence: Evidence) -> Iterator[Difference]:
    probes = evidence.found.render.probes
    for probe in probes:
        if not probe.held:
            detail = " ".join(probe.detail.split())[: 2 * MOST_CHARS].rstrip(".")
            sentence = sentences.unchecked_probe if probe.inconclusive else sentences.failed_probe
            said = sentence(probe.name, detail or "it does not do what was asked")
            yield Difference(loss=PROBES / len(probes), said=said, cause=("probe", probe.name))


def _area(evidence: Evidence) -> list[str]:
    """A sentence for the place with the largest colour difference; empty if the pictures are equal."""
    worst = min(range(len(evidence.colors)), key=lambda i: evidence.colors[i] + evidence.structures[i])
    found, wanted = evidence.found.pictures[worst], evidence.wanted.pictures[worst]
    apart = difference(found, wanted)
    row, column = (int(i) for i in np.unravel_index(apart.argmax(), apart.shape))
    if apart[row, column] == 0:
        return []
    colors = [(int(red), int(green), int(blue)) for red, green, blue in (x.rgb[row, column] for x in (found, wanted))]
    height, width = apart.shape
    return [sentences.wrong_fill("area", 100 * (column + 0.5) / width, 100 * (row + 0.5) / height, *colors)]


def _instead(found: TextBlock, wanted: TextBlock, reach: float) -> float:
    """The likelihood that one text replaces another, by place and font size, or else by element."""
    near = exp(-2 * distance(rect(found), rect(wanted)) / reach)
    font = min(found.font_px, wanted.font_px) / max(1.0, found.font_px, wanted.font_px)
    return near * font + 0.5 * (found.tag == wanted.tag and font == 1)
