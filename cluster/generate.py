"""Generates a page for a brief, without a critic: `python -m cluster.generate "a pricing page with three plans"`.

The champion writes, critiques and revises the page; a revision that does not render is rejected.
"""

import argparse
import asyncio
import logging
import re
import sys
import time
from pathlib import Path

from cluster.commands import program
from cluster.paths import resolve_path
from cluster.preflight.local_engines import champion_of, settings_of, tools
from cluster.report.drafts import drafts_page
from cluster.settings import RunSettings
from cluster.training.curriculum import libraries_of
from reward.validity import complaint
from rollout.errors import BadInput, RelookError
from rollout.files import atomic_write
from rollout.records import Task
from rollout.selfedit import Draft, self_edit


def main(argv: list[str] | None = None) -> int:
    """Runs the command. Returns its exit code."""
    options = _parse(argv)
    logging.basicConfig(level=logging.WARNING, format="%(levelname)s %(name)s: %(message)s")
    try:
        run = champion_of(resolve_path(options.runs), options.run)
        settings = settings_of(run, None, ())
        return asyncio.run(generate(options, settings, run))
    except RelookError as error:
        print(f"relook: {error}", file=sys.stderr)
        return 2 if isinstance(error, BadInput) else 1


async def generate(options: argparse.Namespace, settings: RunSettings, run: Path) -> int:
    """Generates the drafts of one brief, saves the last one and a page of all. Returns 1 when it does not render."""
    folder = options.out or resolve_path("runs") / "pages" / time.strftime("%Y%m%d-%H%M%S")
    print(f"starting the champion of {run.name} and a browser …", flush=True)
    task = Task(id="brief", brief=options.brief, libraries=libraries_of(settings.browser))
    async with tools(settings, run / "champion") as engines:
        drafts = await self_edit(
            task, engines.policy, engines.renderer, settings.episode, rounds=options.rounds, seed=options.seed
        )
    for draft in drafts:
        print(f"round {draft.round}: {say(draft)}")
        for sentence in draft.feedback:
            print(f"    self-critique: {sentence}")
    last = drafts[-1]
    report = drafts_page(options.brief, drafts, run.name).encode("utf-8", "replace")
    print(f"drafts       {atomic_write(folder / 'drafts.html', report)}")
    if last.page.html is None:
        why = complaint(last.page, last.render)
        print(f"no page was written; try another --seed. {why}", file=sys.stderr)
        return 1
    print(f"page         {atomic_write(folder / 'page.html', last.page.html.encode())}")
    for shot in last.render.shots if last.render is not None else ():
        label = re.sub(r"\W+", "-", shot.label)[:40]  # labels come from the page: keep path separators out
        print(f"screenshot   {atomic_write(folder / f'shot-{shot.at_ms}ms{label}.png', shot.picture)}")
    return 0 if last.valid else 1


def say(draft: Draft) -> str:
    """Describes a draft in one line."""
    outcome = "ok" if draft.valid else complaint(draft.page, draft.render).rstrip(".")
    kept = "" if draft.kept else ", revision rejected: it does not render"
    return f"{outcome}, {draft.tokens} tokens so far, {draft.seconds:.1f} s{kept}"


def _parse(argv: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog=program("generate"), description="Generates a page for a brief.")
    parser.add_argument("brief", help="description of the page, in plain English")
    parser.add_argument("--run", help="run whose champion generates (default: the newest)")
    parser.add_argument("--runs", type=Path, default=Path("runs"), help="folder of runs")
    parser.add_argument("--rounds", type=int, default=3, choices=range(4), help="rounds of self-edit")
    parser.add_argument("--seed", type=int, default=0, help="seed of the samples")
    parser.add_argument("--out", type=Path, help="folder for the page and its screenshots")
    return parser.parse_args(argv)


if __name__ == "__main__":
    sys.exit(main())
