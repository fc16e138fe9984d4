"""Calibrates a judge: `python -m cluster.calibrate [SETTINGS.toml] [--tasks 8] [--repeats 3]`.

Measures test-retest noise, agreement with a ladder of graded degradations of the built-in designs and position bias
when two pages are compared, and proposes an `episode.margin`. Runs one browser and one critic in this process.
"""

import argparse
import asyncio
import json
import logging
import random
import sys
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any

from cluster.commands import program
from cluster.preflight.local_engines import launched_critic
from cluster.settings import RunSettings, load_settings
from reward import calibration
from reward.calibration import Better
from reward.designs import Draw, draw, vary
from reward.designs.drawing import FAMILIES
from rollout.errors import BadInput, RelookError
from rollout.ports import Critic, RenderedPage, Renderer
from rollout.records import Critique, Page, Preference, Render
from rollout.reference import render_reference

WRONG = (0, 1, 2, 4, 6)
"""Wrong traits per page of a ladder, best page first."""
IF_FIRST: dict[Preference, Better] = {"new": "first", "old": "second", "tie": "tie"}
"""Meaning of a preference when the better page is shown first, as the attempt that is compared with a worse one."""
IF_SECOND: dict[Preference, Better] = {"new": "second", "old": "first", "tie": "tie"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Ladder:
    """Pages of one design, best first, and the render of its reference."""

    design: Draw
    reference: Render
    pages: tuple[RenderedPage, ...]


def main(argv: list[str] | None = None) -> int:
    """Runs the command. Returns its exit code."""
    options = _parse(argv)
    logging.basicConfig(level=logging.WARNING, format="%(levelname)s %(name)s: %(message)s")
    try:
        settings = load_settings(options.settings, options.set) if options.settings else RunSettings()
        figures = asyncio.run(calibrate(settings, tasks=options.tasks, repeats=options.repeats))
    except RelookError as error:
        print(f"relook: {error}", file=sys.stderr)
        return 2 if isinstance(error, BadInput) else 1
    print(json.dumps(figures, indent=1) if options.json else show(figures))
    return 0


async def calibrate(settings: RunSettings, *, tasks: int, repeats: int) -> dict[str, Any]:
    """Measures the judge of the settings. Raises MachineError when it gives no judgment."""
    async with browser_and_critic(settings) as (renderer, critic):
        ladders = [await climb(renderer, seed) for seed in range(tasks)]
        return await measure([ladder for ladder in ladders if len(ladder.pages) > 1], critic, settings, repeats)


@asynccontextmanager
async def browser_and_critic(settings: RunSettings) -> AsyncIterator[tuple[Renderer, Any]]:
    """A browser and the critic of the settings, without a judgment cache, so that every judgment is new."""
    from actors.browser.renderer import ChromiumRenderer

    renderer = ChromiumRenderer(settings.renderer)
    async with launched_critic(settings) as critic:
        try:
            await critic.ping()
            await renderer.start()
            yield renderer, critic
        finally:
            await renderer.stop()


async def climb(renderer: Renderer, seed: int) -> Ladder:
    """Renders a ladder of a held-out design, cycling through the families; skips pages that do not render validly."""
    design = draw(seed, family=FAMILIES[seed % len(FAMILIES)], split="held_out")
    right = design.task.reference_html or ""
    reference = await render_reference(design.task, renderer)
    assert reference is not None, "every design has a reference page"
    pages = [Page(html=vary(design, random.Random(seed), num)[0] if num else right) for num in WRONG]
    shown = [(page, await renderer.render(page, design.task.probes)) for page in pages]
    return Ladder(design=design, reference=reference, pages=tuple(pair for pair in shown if pair[1].valid))


async def measure(ladders: Sequence[Ladder], critic: Critic, settings: RunSettings, repeats: int) -> dict[str, Any]:
    """Judges every page of every ladder `repeats` times, sequentially, and compares neighbouring pages."""
    judged = [[await _judged(ladder, page, critic, repeats) for page in ladder.pages] for ladder in ladders]
    first = judged[0][0][0]
    trust = _trust([[[one.score for one in page] for page in pages] for pages in judged])
    return {
        "judge": first.judge,
        "pages": sum(map(len, judged)),
        **trust,
        "members": {
            name: _trust([[[one.members[name].score for one in page] for page in pages] for pages in judged])
            for name in first.members
        },
        "margin": calibration.propose_margin(trust["retest_sd"], settings.score),
        "pairs": calibration.position_bias(
            [answer for ladder in ladders for answer in await _compared(ladder, critic)]
        ),
    }


def _trust(scores: Sequence[Sequence[Sequence[float]]]) -> dict[str, float]:
    """Reliability of scores [ladders][pages][judgments]."""
    first = [[judged[0] for judged in pages] for pages in scores]
    return {
        "retest_sd": calibration.retest_sd([judged for pages in scores for judged in pages]),
        "rank_agreement": calibration.rank_agreement(first),
        "pair_accuracy": calibration.pair_accuracy(first),
    }


def show(figures: dict[str, Any]) -> str:
    """Formats the figures for a terminal, with the proposed margin."""
    lines = [
        f"judge            {figures['judge']}, {figures['pages']} pages",
        f"test-retest SD   {figures['retest_sd']:.4f} of a score in [0, 1]",
        f"rank agreement   {figures['rank_agreement']:.3f} (Spearman with the graded ladder, mean)",
        f"pair accuracy    {figures['pair_accuracy']:.1%} of pairs of pages in the right order",
    ]
    pairs = figures["pairs"]
    lines.append(f"comparisons      {pairs['accuracy']:.1%} right both ways, {pairs['consistency']:.1%} consistent")
    lines.append(f"position bias    {pairs['bias']:+.3f} towards the page that is shown first")
    for name, trust in figures["members"].items():
        lines.append(f"{name:<16} SD {trust['retest_sd']:.4f}, rank agreement {trust['rank_agreement']:.3f}")
    lines.append(f"set              episode.margin = {figures['margin']:g}")
    return "\n".join(lines)


async def _judged(ladder: Ladder, shown: RenderedPage, critic: Critic, repeats: int) -> list[Critique]:
    """Judges one page repeatedly and sequentially: concurrent requests could share an answer."""
    task, (page, render) = ladder.design.task, shown
    return [await critic.judge(task, page, render, ladder.reference) for _ in range(repeats)]


async def _compared(ladder: Ladder, critic: Critic) -> list[tuple[Better, Better]]:
    """Compares each page with the next worse one: answers with the better page shown first, then second."""
    found: list[tuple[Better, Better]] = []
    for better, worse in pairwise(ladder.pages):
        worse_first, better_first = (await critic.compare(ladder.design.task, worse, better, ladder.reference)).answers
        found.append((IF_FIRST[better_first], IF_SECOND[worse_first]))
    return found


def _parse(argv: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog=program("calibrate"), description="Measures a critic's noise and ranking.")
    parser.add_argument("settings", nargs="?", type=Path, help="TOML settings file of the critic")
    parser.add_argument("--set", action="append", default=[], metavar="a.b=c", help="override one setting")
    parser.add_argument("--tasks", type=int, default=8, help="number of ladders of five pages")
    parser.add_argument("--repeats", type=int, default=3, help="number of judgments per page, at least 2")
    parser.add_argument("--json", action="store_true", help="print JSON")
    options = parser.parse_args(argv)
    if options.tasks < 1 or options.repeats < 2:
        parser.error(f"got --tasks {options.tasks} and --repeats {options.repeats}, wanted at least 1 and 2")
    return options


if __name__ == "__main__":
    sys.exit(main())
