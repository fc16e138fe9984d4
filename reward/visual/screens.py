"""Judges a page on several screen sizes: each size is scored like a separate page, and the mean is the score."""

from collections.abc import Iterator, Sequence
from dataclasses import replace
from itertools import zip_longest
from statistics import fmean

from reward.visual.feedback import MOST
from rollout.records import Critique, Render


def screens(render: Render) -> Iterator[Render]:
    """Yields the render of the first screen, then one render per further view."""
    yield replace(render, views=())
    for view in render.views:
        size = view.viewport.width, view.viewport.height
        shots = (shot for shot in render.shots if shot.label and (shot.width, shot.height) == size)
        yield replace(
            render,
            shots=tuple(replace(shot, label="") for shot in shots),
            viewport=size,
            blocks=view.blocks,
            boxes=view.boxes,
            document=view.document,
            background=view.background,
            probes=(),
            explored=(),
            views=(),
        )


def same_screens(render: Render, reference: Render) -> list[tuple[Render, Render]]:
    """Pairs the renders of a page and its reference by screen. Raises ValueError when their views differ."""
    found, wanted = ([str(view.viewport) for view in shown.views] for shown in (render, reference))
    if found != wanted:
        raise ValueError(f"page {render.page_sha256[:12]} has views {found}, its reference {wanted}")
    return list(zip(screens(render), screens(reference), strict=True))


def together(critiques: Sequence[tuple[tuple[int, int], Critique]]) -> Critique:
    """Combines critiques of screens, given with their sizes. Sentences alternate between screens, the worst screen
    first."""
    (_, first), *further = critiques
    if not further:
        return first
    scores = {f"screen {width}x{height}": critique.score for (width, height), critique in critiques}
    said = [
        [f"On a screen of {width} x {height} pixels: {sentence}" for sentence in critique.feedback]
        for (width, height), critique in sorted(critiques, key=lambda pair: pair[1].score)
    ]
    in_turn = [sentence for row in zip_longest(*said) for sentence in row if sentence]
    return replace(
        first,
        score=fmean(scores.values()),
        feedback=tuple(in_turn[:MOST]),
        parts={**first.parts, **scores},
    )
