"""Viewports of a page: fully rendered in the first, loaded again for one screenshot in each other."""

from dataclasses import replace

from actors.settings import BrowserSettings
from rollout.records import Render, View, Viewport


def screens(settings: BrowserSettings, viewports: tuple[Viewport, ...]) -> tuple[BrowserSettings, ...]:
    """Settings of each visit, unchanged without viewports. Further visits take only the last screenshot."""
    sizes = [{"viewport_width": screen.width, "viewport_height": screen.height} for screen in viewports]
    first, *further = sizes or [{}]
    last = {"shots_ms": settings.shots_ms[-1:], "explore": 0}
    return settings.model_copy(update=first), *(settings.model_copy(update=size | last) for size in further)


def with_view(render: Render, seen: Render) -> Render:
    """Adds a further viewport's render to a render; both must be valid, as the task asks for both."""
    viewport = Viewport(width=seen.viewport[0], height=seen.viewport[1])
    view = View(
        viewport=viewport,
        blocks=seen.blocks,
        boxes=seen.boxes,
        document=seen.document,
        background=seen.background,
    )
    return replace(
        render,
        outcome=seen.outcome,
        detail=seen.detail and f"{seen.detail} (on a screen of {viewport} pixels)",
        shots=render.shots + tuple(replace(shot, label=f"{viewport} {shot.label}".rstrip()) for shot in seen.shots),
        views=(*render.views, view),
        exceptions=render.exceptions + tuple(line for line in seen.exceptions if line not in render.exceptions),
        blocked=render.blocked + tuple(line for line in seen.blocked if line not in render.blocked),
        flags=tuple(sorted({*render.flags, *seen.flags})),
        seconds=render.seconds + seen.seconds,
        cpu_seconds=render.cpu_seconds + seen.cpu_seconds,
    )
