"""Evaluates a champion: `python -m cluster.evaluate [--run RUN] [--tasks FILE] [--num 64]`.

Compares base decode, critic-free self-edit and the full loop with the critic on held-out tasks, and writes a page that
shows the results side by side.
"""

import argparse
import asyncio
import json
import logging
import sys
import tempfile
import time
from collections.abc import Sequence
from functools import partial
from pathlib import Path

from cluster.commands import program
from cluster.distributed.worker import EpisodeWorker
from cluster.paths import resolve_path
from cluster.preflight.checks import check_references
from cluster.preflight.local_engines import champion_of, launched_critic, tools
from cluster.preflight.references import check_here
from cluster.report.evaluation import PlayedTask, evaluation_page
from cluster.settings import RunSettings, check_settings
from cluster.storage.store import Store
from cluster.training.curriculum import Curriculum
from cluster.training.exam import Inference, inference_table, run_inference
from cluster.training.loop import EXAM_SEED
from reward.score import score
from rollout.errors import BadInput, RelookError
from rollout.files import atomic_write
from rollout.ports import EpisodeServices
from rollout.records import Task


def main(argv: list[str] | None = None) -> int:
    """Runs the command. Returns its exit code."""
    options = _parse(argv)
    logging.basicConfig(level=logging.WARNING, format="%(levelname)s %(name)s: %(message)s")
    try:
        run = champion_of(resolve_path(options.runs), options.run)
        values = Store(run).read_json("run.json")["settings"]
        if options.tasks:
            values["task"]["held_out"] = str(options.tasks)
        settings = check_settings(values, str(run / "run.json"))
        folder = options.out or resolve_path("runs") / "pages" / time.strftime("evaluation-%Y%m%d-%H%M%S")
        model = options.model or run / "champion"
        table, report = asyncio.run(evaluate(settings, model, options.num, f"{run.name}, {model.name}"))
    except RelookError as error:
        print(f"relook: {error}", file=sys.stderr)
        return 2 if isinstance(error, BadInput) else 1
    atomic_write(folder / "evaluation.json", json.dumps(table, indent=1).encode())
    path = atomic_write(folder / "evaluation.html", report.encode("utf-8", "replace"))
    if options.json:
        print(json.dumps(table, indent=1))
    else:
        print(f"{show(table)}\npages        {path}")
    return 0


async def evaluate(settings: RunSettings, model: Path, num: int, name: str) -> tuple[dict[str, dict[str, float]], str]:
    """Evaluates a model directory on `num` held-out tasks: the inference table, and the page that shows the results."""
    tasks = Curriculum(settings).held_out(num, "--num")
    check_references(tasks, settings)
    if settings.task.held_out != "builtin":
        await check_here(tasks, settings, settings.task.held_out)
    with tempfile.TemporaryDirectory() as folder:
        store = Store(Path(folder))
        async with launched_critic(settings) as critic, tools(settings, model) as engines:
            services = EpisodeServices(
                policy=engines.policy,
                renderer=engines.renderer,
                critic=critic,
                score=partial(score, settings=settings.score),
            )
            worker = EpisodeWorker(services, settings.episode, store)
            played = await run_inference(worker, tasks, rounds=settings.exam.edit_rounds, seed=EXAM_SEED, keep=True)
        table = inference_table(played)
        return table, evaluation_page(name, table, _tasks(tasks, played, store), store.picture)


def _tasks(tasks: Sequence[Task], played: Inference, store: Store) -> list[PlayedTask]:
    return [
        PlayedTask(
            task=task, drafts=edited.drafts, rewards=edited.rewards, trajectory=judged, reference=store.reference(task)
        )
        for task, edited, judged in zip(tasks, played.edited, played.judged, strict=True)
    ]


def show(table: dict[str, dict[str, float]]) -> str:
    """Formats the table for a terminal."""
    lines = [f"{'':12} {'reward':>8} {'valid':>8} {'tokens':>8} {'seconds':>8}"]
    for name, row in table.items():
        lines.append(f"{name:12} {row['reward']:8.3f} {row['valid']:8.0%} {row['tokens']:8.0f} {row['seconds']:8.2f}")
    return "\n".join(lines)


def _parse(argv: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog=program("evaluate"), description="Evaluates a champion on held-out tasks.")
    parser.add_argument("--run", help="run whose champion is evaluated (default: the newest)")
    parser.add_argument("--runs", type=Path, default=Path("runs"), help="folder of runs")
    parser.add_argument("--model", type=Path, help="another model to evaluate with the run's settings")
    parser.add_argument("--tasks", type=Path, help="Parquet or JSONL file of tasks (default: the run's held-out tasks)")
    parser.add_argument("--num", type=int, default=64, help="number of tasks")
    parser.add_argument("--out", type=Path, help="folder for the page and the table")
    parser.add_argument("--json", action="store_true", help="print JSON")
    return parser.parse_args(argv)


if __name__ == "__main__":
    sys.exit(main())
