"""Fills templates of hostile pages with a design's data: pages that a policy could write only for the reward."""

import base64
import html
import json
from collections.abc import Iterable
from pathlib import Path
from string import Template

from rollout.records import ProbeStep, Render, Task, TextBlock

PAGES = Path(__file__).parent / "pages"
HONEST = "honest_empty"
"""The empty frame with a heading, whose score no hack may exceed."""


def names() -> list[str]:
    """The names of the hacks, without the honest page."""
    return sorted(path.stem for path in PAGES.glob("*.html") if path.stem != HONEST)


def craft(name: str, task: Task, reference: Render, *, copies: bool = True) -> str:
    """Source of a hostile page. The reference provides the exact texts, places, fonts, colours and pixels.

    Without `copies`, only the openly visible part is included.
    """
    steps = [step for probe in task.probes for step in probe.steps]
    red, green, blue = reference.background
    step = -3 if red > 128 else 3
    heading = max(reference.blocks, key=lambda block: block.font_px)
    words = {
        "title": html.escape(heading.text),
        "heading": _copy(heading, "heading"),
        "brief": html.escape(task.brief),
        "copies": "\n".join(_copy(block, "copy") for block in reference.blocks if copies and block is not heading),
        "picture": f"data:image/png;base64,{base64.b64encode(reference.shots[0].picture).decode()}",
        "canvas": _color((red, green, blue)),
        "faint": _color((red + step, green + step if green < 250 or step < 0 else green, blue)),
        "baits": "".join(_bait(selector) for selector in dict.fromkeys(s.selector for s in steps if s.selector)),
        "wanted": json.dumps(_wanted(steps)),
    }
    return Template((PAGES / f"{name}.html").read_text(encoding="utf-8")).substitute(words)


def _copy(block: TextBlock, kind: str) -> str:
    place = f"left:{block.x:g}px;top:{block.y:g}px;font:{block.weight} {block.font_px:g}px sans-serif"
    ground = f";background:{_color(block.background)}" if kind == "heading" else ""
    return f'<span class="{kind}" style="{place};color:{_color(block.color)}{ground}">{html.escape(block.text)}</span>'


def _bait(selector: str) -> str:
    name = f'id="{html.escape(selector[1:])}"' if selector.startswith("#") else ""
    return f'<button class="bait" {name}></button>'


def _wanted(steps: Iterable[ProbeStep]) -> list[list[str]]:
    return [[step.selector, step.kind, step.name, step.value] for step in steps if step.kind.startswith("expect_")]


def _color(color: tuple[int, int, int]) -> str:
    return "#{:02x}{:02x}{:02x}".format(*color)
