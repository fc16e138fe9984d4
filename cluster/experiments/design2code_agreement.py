"""Compares the terms of Design2Code with the embedded critic's score:
`python -m cluster.experiments.design2code_agreement FOLDER --out RESULTS`.

Every page of FOLDER gets some of the damages that language models do to pages (`learner/supervised/damage.py`), one to
`--most` on top of each other. Page and damaged page are rendered; the terms and the score are computed of the same two
renders. RESULTS grows, and pages in it are not played again. The correlations are Pearson's and Spearman's.
"""

import argparse
import asyncio
import random
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from actors.browser.renderer import ChromiumRenderer
from actors.settings import BrowserSettings
from cluster.benchmarks.design2code import gated, timed_pictures
from cluster.benchmarks.json_lines import append_line, read_lines
from cluster.commands import program
from learner.supervised.damage import DAMAGES, damage_page
from reward.benchmarks.design2code_terms import blocks_of, compare
from reward.visual.critic import VisualCritic
from rollout.errors import RelookError
from rollout.records import Page, Task
from rollout.seeds import seed_of
from rollout.task_sets.public import read_task_set

OURS = "critic"
TERMS = ("block", "text", "position", "color", "mean", "gated")
"""`mean` is that of the four terms; `gated` counts text, position and colour in the share of matched blocks."""


def main(argv: list[str] | None = None) -> int:
    """Runs the command. Returns its exit code."""
    options = _parse(argv)
    try:
        asyncio.run(_play_all(options))
    except RelookError as error:
        print(f"relook: {error}", file=sys.stderr)
        return 1
    print(table(read_lines(options.out)))
    return 0


def damaged(html: str, num: int, seed: int) -> tuple[str, list[str]]:
    """The page with up to `num` damages on top of each other, and their names."""
    rng = random.Random(seed)
    names: list[str] = []
    for name in rng.sample(sorted(DAMAGES), len(DAMAGES)):
        page = damage_page(html, name, rng.randrange(2**32)) if len(names) < num else None
        if page is not None:
            html = page.html
            names.append(name)
    return html, names


def table(rows: Sequence[Mapping[str, Any]]) -> str:
    """Correlation of each term with the critic's score over the pages on which both were computed."""
    from scipy.stats import pearsonr, spearmanr

    compared = [row for row in rows if row["outcome"] == "ok"]
    lines = [f"{len(compared)} of {len(rows)} damaged pages render validly, as does the page; only these are compared"]
    if len(compared) < 3:
        return lines[0]
    ours = [row[OURS] for row in compared]
    lines.append("| term | mean | Pearson | Spearman |\n|---|---|---|---|")
    for term in TERMS:
        values = [row[term] for row in compared]
        mean = sum(values) / len(values)
        straight, ranks = pearsonr(values, ours).statistic, spearmanr(values, ours).statistic
        lines.append(f"| {term} | {mean:.3f} | {straight:.2f} | {ranks:.2f} |")
    lines.append(f"| the critic's score | {sum(ours) / len(ours):.3f} | | |")
    return "\n".join(lines)


async def _play_all(options: argparse.Namespace) -> None:
    played = {row["id"] for row in read_lines(options.out)}
    tasks = [task for task in read_task_set("design2code", options.folder) if task.id not in played]
    renderer, critic = ChromiumRenderer(BrowserSettings()), VisualCritic()
    started = time.monotonic()
    try:
        for done, task in enumerate(tasks, start=1):
            append_line(options.out, await _play(task, renderer, critic, options))
            if done % 10 == 0 or done == len(tasks):
                print(f"{done} of {len(tasks)} pages, {time.monotonic() - started:.0f} s", file=sys.stderr, flush=True)
    finally:
        await renderer.stop()


async def _play(
    task: Task, renderer: ChromiumRenderer, critic: VisualCritic, options: argparse.Namespace
) -> dict[str, Any]:
    seed = seed_of(options.seed, task.id)
    html, names = damaged(task.reference_html or "", random.Random(seed).randint(1, options.most), seed)
    page = Page(html=html)
    reference, render = [await renderer.render(Page(html=shown)) for shown in (task.reference_html, html)]
    row = {"id": task.id, "damages": names, "outcome": render.outcome if reference.valid else "reference"}
    if row["outcome"] != "ok":
        return row
    terms = compare(blocks_of(render), blocks_of(reference))
    shots = [timed_pictures(one, bytes) for one in (render, reference)]
    score = critic.judge(task, page, render, reference, *shots).score
    return {**row, **asdict(terms), "mean": terms.mean, "gated": gated(terms), OURS: score}


def _parse(argv: list[str] | None) -> argparse.Namespace:
    name = program("experiments.design2code_agreement")
    parser = argparse.ArgumentParser(
        prog=name, description="Compares the terms of Design2Code with the critic's score."
    )
    parser.add_argument("folder", type=Path, help="folder of <id>.html pages")
    parser.add_argument("--out", type=Path, required=True, help="file of results, one JSON object a line")
    parser.add_argument("--most", type=int, default=6, help="damages of a page at most")
    parser.add_argument("--seed", type=int, default=0, help="seed of the damages")
    return parser.parse_args(argv)


if __name__ == "__main__":
    sys.exit(main())
