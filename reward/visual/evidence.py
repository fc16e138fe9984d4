"""Extracts visual features of two pages, matches their texts and boxes, and computes the embedded critic's score."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from math import exp, hypot

import numpy as np

from reward.visual.belief import InkProfile, buried, is_beyond, is_steady, mark, readable, shows
from reward.visual.blocks import Pairs, largest, match, merge
from reward.visual.colour import FAR, color_map, distances, palette
from reward.visual.layout import Area, Placed, area, distance, match_boxes, overlaps, rect, visible
from reward.visual.pictures import Array, Picture, decode, reduce, structure
from rollout.records import Render, TextBlock

WEIGHTS = {
    "blocks": 0.15,
    "text": 0.15,
    "position": 0.12,
    "text_color": 0.10,
    "font": 0.08,
    "color_map": 0.16,
    "structure": 0.12,
    "layout": 0.08,
    "size": 0.04,
}
"""Weights of the parts of a score; parts that do not apply are left out and the others scaled up."""
TINTED = 0.25
"""Largest share of a score that a wrong palette removes. A correct palette adds nothing."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class PageFeatures:
    """Visual features of one page."""

    render: Render
    blocks: tuple[TextBlock, ...]
    """Readable texts, largest first."""
    order: tuple[int, ...]
    """Position of each block in the document."""
    marks: tuple[InkProfile | None, ...]
    """Ink profile of each block on the last picture."""
    steady: tuple[float, ...]
    """Share of the pictures in which each block is readable at its place; greater than 0."""
    beyond: tuple[bool, ...]
    """Whether each block lies outside the pictures."""
    boxes: tuple[Area, ...]
    """Visible boxes, largest first."""
    pictures: tuple[Picture, ...]
    """One per timed shot."""

    @property
    def reach(self) -> float:
        """Distance in pixels at which the position score falls to 1/e: 1/8 of the screen's diagonal."""
        return max(1.0, hypot(*self.render.viewport) / 8)

    @property
    def texts(self) -> list[str]:
        """All texts in document order, without white space."""
        pairs = sorted(zip(self.order, self.blocks, strict=True), key=lambda pair: pair[0])
        return ["".join(block.text.split()) for _, block in pairs]


@dataclass(frozen=True, slots=True, kw_only=True)
class Match:
    """A text of the page and the reference's text that it matches."""

    found: TextBlock
    wanted: TextBlock
    likeness: float
    color_distance: float
    """CIEDE2000 of the two texts' colours."""
    steady: float = 1.0
    """Weight in [0, 1]: the share of pictures that show the text, relative to the reference's share, cubed."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Evidence:
    """Differences between two pages."""

    found: PageFeatures
    wanted: PageFeatures
    matches: tuple[Match, ...]
    missing: tuple[TextBlock, ...]
    extra: tuple[TextBlock, ...]
    boxes: tuple[tuple[Area, Area], ...]
    """Matched boxes: found, wanted."""
    missing_boxes: tuple[Area, ...]
    extra_boxes: tuple[Area, ...]
    colors: tuple[float, ...]
    """`color_map` of each timed shot."""
    structures: tuple[float, ...]
    """`structure` of each timed shot."""
    palettes: tuple[float, ...]
    """`palette` of each timed shot."""


def extract_features(render: Render, pictures: Sequence[bytes], size: tuple[int, int]) -> PageFeatures:
    """Extracts features from a render and the PNGs of its timed shots, padded to `size`.

    Visibility is checked on the last picture, with which texts and boxes were measured. Raises ValueError for an
    invalid render, or when pictures and timed shots differ in number.
    """
    timed = [shot for shot in render.shots if not shot.label]
    if not render.valid or not timed or len(timed) != len(pictures):
        raise ValueError(
            f"page {render.page_sha256[:12]} cannot be judged: outcome {render.outcome!r}, {len(timed)} timed shots "
            f"and {len(pictures)} pictures, wanted 'ok' and one picture a shot"
        )
    pixels = {png: decode(png) for png in dict.fromkeys(pictures)}
    small = {png: reduce(decoded, size) for png, decoded in pixels.items()}
    last = pixels[pictures[-1]]
    merged = merge(readable(render.blocks, last))
    order = largest(merged)
    blocks = [merged[i] for i in order]
    return PageFeatures(
        render=render,
        blocks=tuple(blocks),
        order=tuple(order),
        marks=tuple(mark(block, last) for block in blocks),
        steady=tuple(_steady(block, pictures, pixels) for block in blocks),
        beyond=tuple(is_beyond(block, last) for block in blocks),
        boxes=tuple(visible(render.boxes, last)),
        pictures=tuple(small[png] for png in pictures),
    )


def compare(found: PageFeatures, wanted: PageFeatures, *, rasters: bool = False) -> Evidence:
    """Matches two pages. Raises ValueError when their numbers of timed shots differ.

    `rasters`: the page's source contains images that its reference's does not.
    """
    if len(found.pictures) != len(wanted.pictures):
        raise ValueError(f"the page has {len(found.pictures)} timed shots, its reference {len(wanted.pictures)}")
    boxes = match_boxes(found.boxes, wanted.boxes, wanted.reach)
    have_box, want_box = {i for i, _ in boxes}, {j for _, j in boxes}
    found = _without(found, buried(found.blocks, found.render.boxes, wanted.render.boxes, rasters=rasters))
    found, pairs = _believed(found, wanted)
    colors = [(found.blocks[i].color, wanted.blocks[j].color) for i, j, _ in pairs]
    apart = distances([a for a, _ in colors], [b for _, b in colors])
    have, want = {i for i, _, _ in pairs}, {j for _, j, _ in pairs}
    looks = {(id(a), id(b)): (a, b) for a, b in zip(found.pictures, wanted.pictures, strict=True)}
    seen = {key: (color_map(a, b), structure(a, b), palette(a, b)) for key, (a, b) in looks.items()}
    shots = [seen[id(a), id(b)] for a, b in zip(found.pictures, wanted.pictures, strict=True)]
    if rasters:
        shots = [(0.0, 0.0, 1.0) for _ in shots]  # pixels of embedded images are no evidence of the page's own drawing
    return Evidence(
        found=found,
        wanted=wanted,
        matches=tuple(
            Match(
                found=found.blocks[i],
                wanted=wanted.blocks[j],
                likeness=alike,
                color_distance=float(far),
                steady=min(1.0, found.steady[i] / wanted.steady[j]) ** 3,
            )
            for (i, j, alike), far in zip(pairs, apart, strict=True)
        ),
        missing=tuple(block for j, block in enumerate(wanted.blocks) if j not in want),
        extra=tuple(block for i, block in enumerate(found.blocks) if i not in have),
        boxes=tuple((found.boxes[i], wanted.boxes[j]) for i, j in boxes),
        missing_boxes=tuple(box for j, box in enumerate(wanted.boxes) if j not in want_box),
        extra_boxes=tuple(box for i, box in enumerate(found.boxes) if i not in have_box),
        colors=tuple(color for color, _, _ in shots),
        structures=tuple(shape for _, shape, _ in shots),
        palettes=tuple(tints for _, _, tints in shots),
    )


def _believed(found: PageFeatures, wanted: PageFeatures) -> tuple[PageFeatures, Pairs]:
    """Removes texts whose area does not show what the reference's area of the same text shows; returns page and pairs.

    Texts outside the pictures match only texts that lie outside them in the reference too.
    """
    while True:
        never = np.logical_xor.outer(np.array(found.beyond, dtype=bool), np.array(wanted.beyond, dtype=bool))
        pairs = match(found.blocks, wanted.blocks, wanted.reach, never)
        unseen = {i for i, j, alike in pairs if alike == 1.0 and not shows(found.marks[i], wanted.marks[j])}
        if not unseen:
            return found, pairs
        found = _without(found, unseen)


def _without(scene: PageFeatures, gone: set[int]) -> PageFeatures:
    """The features without some of the texts."""
    kept = [i for i in range(len(scene.blocks)) if i not in gone]
    return replace(
        scene,
        blocks=tuple(scene.blocks[i] for i in kept),
        order=tuple(scene.order[i] for i in kept),
        marks=tuple(scene.marks[i] for i in kept),
        steady=tuple(scene.steady[i] for i in kept),
        beyond=tuple(scene.beyond[i] for i in kept),
    )


def _steady(block: TextBlock, pictures: Sequence[bytes], pixels: Mapping[bytes, Array]) -> float:
    """Share of the pictures that show a text of the last picture."""
    last = pixels[pictures[-1]]
    shown = {png: png == pictures[-1] or is_steady(block, decoded, last) for png, decoded in pixels.items()}
    return _mean([float(shown[png]) for png in pictures])


def parts(evidence: Evidence) -> dict[str, float]:
    """The sub-scores, each in [0, 1] and exactly 1 for a page compared with itself.

    Text sub-scores are means over matched texts times the matched share of text area: one right word among many wrong
    ones scores little.
    """
    matches = evidence.matches
    # The worst picture counts, so a page must be right in all of them.
    pictures = {
        "color_map": min(evidence.colors),
        "structure": min(evidence.structures),
        "palette": min(evidence.palettes),
    }
    rest: list[Placed] = [*evidence.missing, *evidence.extra, *evidence.missing_boxes, *evidence.extra_boxes]
    pairs = [(rect(pair.found), rect(pair.wanted)) for pair in matches]
    pairs += [(rect(a), rect(b)) for a, b in evidence.boxes]
    worth = [pair.steady for pair in matches] + [1.0] * len(evidence.boxes)
    layout = {"layout": overlaps(pairs, [rect(thing) for thing in rest], worth)} if pairs or rest else {}
    low, high = sorted(max(1, scene.render.document[1]) for scene in (evidence.found, evidence.wanted))
    if not evidence.found.blocks and not evidence.wanted.blocks:
        return {**pictures, **layout, "size": low / high * pictures["color_map"]}
    sizes = [area(a) + area(b) for a, b in pairs[: len(matches)]]
    matched = sum(size * pair.steady for size, pair in zip(sizes, matches, strict=True))
    lost = sum(size * (1.0 - pair.steady) for size, pair in zip(sizes, matches, strict=True))
    lost += sum(area(rect(block)) for block in (*evidence.missing, *evidence.extra))
    share = matched / (matched + lost)
    reach = evidence.wanted.reach
    return {
        "blocks": share,
        "text": share * _mean([pair.likeness for pair in matches]),
        "position": share * _mean([exp(-distance(rect(pair.found), rect(pair.wanted)) / reach) for pair in matches]),
        "text_color": share * _mean([1.0 - min(1.0, pair.color_distance / FAR) for pair in matches]),
        "font": share * _mean([_ratio(pair.found.font_px, pair.wanted.font_px) for pair in matches]),
        **pictures,
        **layout,
        "size": share * low / high,
    }


def total(named: dict[str, float]) -> float:
    """The score in [0, 1]: the weighted mean of the parts that apply, reduced for a wrong palette.

    Exactly 1 if all parts are 1.
    """
    weights = {name: WEIGHTS[name] for name in named if name in WEIGHTS}
    lost = sum(weight * (1.0 - named[name]) for name, weight in weights.items()) / sum(weights.values())
    return min(1.0, max(0.0, 1.0 - lost)) * (1.0 - TINTED * (1.0 - named["palette"]))


def _mean(values: Sequence[float]) -> float:
    return sum(values) / len(values) if values else 0.0


def _ratio(a: float, b: float) -> float:
    return min(a, b) / max(a, b) if max(a, b) > 0 else 1.0
