"""Feedback from the same evidence as the score: what a writer should change, worst first."""

from collections.abc import Iterator, Sequence
from itertools import islice

from reward.visual import sentences
from reward.visual.blocks import Matching, area, shift
from reward.visual.color import distance
from rollout.records import Box, Render

MOST = 5
NOTICE_COLOR = 4.0
"""CIEDE2000 difference from which a colour is worth a sentence."""
NOTICE_PX = 8.0
NOTICE_FONT_PX = 1.5
QUOTE_CHARS = 60
ONE_KIND = 2
"""Sentences of one kind: five that say the same of five blocks help less than five different ones."""
SAME_BOX = 0.3
"""Intersection over union from which two boxes are the same box."""

Fault = tuple[float, str, str]
"""Weight, kind, sentence."""


def feedback(matching: Matching, found: Render, wanted: Render) -> tuple[str, ...]:
    """Up to five sentences, worst fault first; none when nothing that can be named is wrong."""
    faults = [*_texts(matching, wanted), *_colors(matching, found, wanted), *_probes(found)]
    faults += _boxes(found, wanted)
    if not any(kind in {"missing", "extra"} for _, kind, _ in faults):
        # What stands below a missing or added text has moved because of it, and will move back.
        faults += _sizes(matching)
        if not any(kind == "font" for _, kind, _ in faults):
            faults += _places(matching)
    return tuple(islice(_worst_first(faults), MOST))


def _worst_first(faults: Sequence[Fault]) -> Iterator[str]:
    told: dict[str, int] = {}
    for _, kind, sentence in sorted(faults, key=lambda fault: -fault[0]):
        told[kind] = told.get(kind, 0) + 1
        if told[kind] <= ONE_KIND:
            yield sentence


def _texts(matching: Matching, wanted: Render) -> Iterator[Fault]:
    width, height = wanted.viewport
    total = sum(map(area, [pair.wanted for pair in matching.pairs])) + sum(map(area, matching.missing)) or 1.0
    for block in matching.missing:
        x = 100 * (block.x + block.width / 2) / max(1, width)
        y = 100 * (block.y + block.height / 2) / max(1, height)
        yield 0.5 + area(block) / total, "missing", sentences.missing_text(quote(block.text), x, y)
    for block in matching.extra:
        yield 0.4 + area(block) / total, "extra", sentences.extra_text(quote(block.text))
    for pair in matching.pairs:
        if pair.similarity < 1:
            weight = 0.4 + area(pair.wanted) / total
            yield weight, "text", sentences.wrong_text(quote(pair.found.text), quote(pair.wanted.text))


def _colors(matching: Matching, found: Render, wanted: Render) -> Iterator[Fault]:
    apart = distance(found.background, wanted.background)
    if apart > NOTICE_COLOR:
        yield 0.6 + apart / 100, "canvas", sentences.wrong_canvas(found.background, wanted.background)
    for pair in matching.pairs:
        text, f, w = quote(pair.wanted.text), pair.found, pair.wanted
        apart = distance(f.color, w.color)
        if apart > NOTICE_COLOR:
            yield 0.3 + apart / 100, "color", sentences.wrong_color(text, f.color, w.color)
        apart = distance(f.background, w.background)
        on_canvas = f.background == found.background and w.background == wanted.background
        if apart > NOTICE_COLOR and not on_canvas:
            yield 0.3 + apart / 100, "background", sentences.wrong_background(text, f.background, w.background)


def _sizes(matching: Matching) -> Iterator[Fault]:
    for pair in matching.pairs:
        found, wanted = pair.found.font_px, pair.wanted.font_px
        if abs(found - wanted) > NOTICE_FONT_PX:
            weight = 0.2 + min(0.5, abs(found - wanted) / max(wanted, 1))
            yield weight, "font", sentences.wrong_font_size(quote(pair.wanted.text), found, wanted)


def _places(matching: Matching) -> Iterator[Fault]:
    for pair in matching.pairs:
        dx, dy = shift(pair.found, pair.wanted)
        if max(abs(dx), abs(dy)) > NOTICE_PX:
            weight = 0.1 + min(0.5, max(abs(dx), abs(dy)) / 500)
            yield weight, "place", sentences.moved(quote(pair.wanted.text), dx, dy)


def _boxes(found: Render, wanted: Render) -> Iterator[Fault]:
    missing = [box for box in wanted.boxes if not any(_same(box, other) for other in found.boxes)]
    extra = [box for box in found.boxes if not any(_same(box, other) for other in wanted.boxes)]
    width, height = max(1, wanted.viewport[0]), max(1, wanted.viewport[1])
    for kind, weight, boxes, say in (
        ("missing box", 0.15, missing, sentences.missing_box),
        ("extra box", 0.1, extra, sentences.extra_box),
    ):
        for box in boxes:
            x, y = 100 * (box.x + box.width / 2) / width, 100 * (box.y + box.height / 2) / height
            yield weight + min(0.3, box.width * box.height / (width * height)), kind, say(box.tag, x, y)


def _probes(found: Render) -> Iterator[Fault]:
    for result in found.probes:
        if not result.held:
            yield 0.7, "probe", sentences.failed_probe(result.name, quote(result.detail.rstrip(".")))


def _same(one: Box, other: Box) -> bool:
    across = min(one.x + one.width, other.x + other.width) - max(one.x, other.x)
    down = min(one.y + one.height, other.y + other.height) - max(one.y, other.y)
    both = max(0.0, across) * max(0.0, down)
    union = one.width * one.height + other.width * other.height - both
    return one.tag == other.tag and union > 0 and both / union >= SAME_BOX


def quote(text: str) -> str:
    """A text short enough to be said in a sentence."""
    return text if len(text) <= QUOTE_CHARS else text[: QUOTE_CHARS - 1].rstrip() + "…"
