"""Replays a run: trains again on its stored trajectories, or judges its pages again; no page is generated.

`python -m cluster.replay RUN --set learner.credit=siblings`: `--set` gives the settings to change; with `--judge`,
settings of `critic`, `judge` and `browser`. Results go into a new folder next to the run: `replay.json`, and
`metrics.jsonl` and `weights/`, or `judgments.jsonl`.
"""

import argparse
import asyncio
import json
import logging
import secrets
import socket
import sys
import time
from collections.abc import AsyncIterator, Sequence
from functools import partial
from pathlib import Path
from typing import Any, Protocol

from cluster.commands import program
from cluster.paths import resolve_path
from cluster.preflight.local_engines import launched_critic
from cluster.preflight.warm_start import warm_start_blocking
from cluster.settings import RunSettings, apply_override, check_settings
from cluster.storage.store import Store
from cluster.training.compare_judges import compare, judge_again, judged_pages, show
from cluster.training.metrics import mean, update_metrics
from learner.batch import build
from rollout.errors import BadInput, CheckpointError, RelookError, SettingsError
from rollout.files import atomic_write
from rollout.records import Batch, Update
from rollout.seeds import seed_of

FOREIGN_GAP = 0.1
"""Mean log-prob gap of the first update, in nats, above which another policy than the learner's wrote the pages."""
FOREIGN = "another policy than the learner's wrote these pages; set --model to the model that the run began with"


class TrainableModel(Protocol):
    """Protocol of the learner that a replay needs; see `rollout.ports.Learner`."""

    async def update(self, batch: Batch) -> Update: ...

    async def export(self, path: Path) -> None: ...


class OneRank:
    """A one-rank learner in this process; updates do not depend on the number of ranks."""

    def __init__(self, model: Path, settings: RunSettings, *, packed: bool = True) -> None:
        from transformers.utils.logging import disable_progress_bar

        from actors.learner.rank import LearnerRank

        disable_progress_bar()
        with socket.socket() as door:
            door.bind(("127.0.0.1", 0))
            place = f"tcp://127.0.0.1:{door.getsockname()[1]}"
        self.rank = LearnerRank(
            str(model),
            settings.learner.model_copy(update={"ranks": 1}),
            rank=0,
            world_size=1,
            init_method=place,
            temperature=settings.episode.temperature,
            packed=packed,
            template_arguments=settings.policy.template_arguments,
        )

    async def update(self, batch: Batch) -> Update:
        """See `rollout.ports.Learner`."""
        return self.rank.update(batch)

    async def export(self, path: Path) -> None:
        """See `rollout.ports.Learner`."""
        self.rank.export(path)


async def retrain(store: Store, settings: RunSettings, learner: TrainableModel) -> AsyncIterator[dict[str, float]]:
    """Updates a learner with the stored groups of every step in order; yields each update's metrics.

    With the run's settings the batches are those of the run. A learner that diverges from the run's trains off-policy,
    and `ratio_tail` measures by how much. Returns of the run to a champion are not replayed. Raises CheckpointError for
    a run without trajectories.
    """
    for step in range(1, settings.steps + 1):
        groups = store.read_groups(step)
        if groups is None:
            if step == 1:
                raise CheckpointError(
                    f"{store.trajectories}: no trajectories of step 1 to train on; give a run that stored them"
                )
            return
        seed = seed_of(settings.seed, "batch", step)
        batch = build(groups, settings.learner, seed=seed, forced=settings.episode.forced)
        update = await learner.update(batch)
        best = mean([trajectory.reward for group in groups for trajectory in group.trajectories])
        counted = {"reward_best": best, "samples": len(batch.samples), "flat_groups": batch.flat_groups}
        yield {"step": step, **counted, **update_metrics(update)}


async def learn(store: Store, settings: RunSettings, learner: TrainableModel, folder: Path) -> dict[str, Any]:
    """Trains again and writes the results to `folder`; returns the summary for `replay.json`."""
    history: list[dict[str, float]] = []
    async for row in retrain(store, settings, learner):
        history.append(row)
        atomic_write(folder / "metrics.jsonl", "".join(json.dumps(one) + "\n" for one in history).encode())
        print(" ".join(f"{name} {row[name]:.4g}" for name in PRINTED if name in row), flush=True)
        if len(history) == 1 and row.get("logprob_gap_mean", 0.0) > FOREIGN_GAP:
            print(f"relook: {FOREIGN}", file=sys.stderr)
    await learner.export(folder / "weights")
    return {"steps": len(history)}


PRINTED = ("step", "samples", "flat_groups", "loss", "entropy", "grad_norm", "ratio_tail", "distill_loss")
"""Metrics printed for each update."""


async def judge(store: Store, settings: RunSettings, num: int, folder: Path) -> dict[str, Any]:
    """Renders and judges stored pages again; returns the comparison of both judges for `replay.json`."""
    from actors.browser.renderer import ChromiumRenderer

    pages = judged_pages(store, num, seed=settings.seed)
    renderer = ChromiumRenderer(settings.renderer)
    async with launched_critic(settings) as critic:
        try:
            await renderer.start()
            judgments, lost = await judge_again(pages, renderer, critic)
        finally:
            await renderer.stop()
    lines = (json.dumps(judgment.row) + "\n" for judgment in judgments)
    atomic_write(folder / "judgments.jsonl", "".join(lines).encode())
    figures = compare(judgments) | {"lost": lost}
    print(show(figures))
    return {"judges": figures}


def changed_settings(store: Store, overrides: Sequence[str], rooms: Sequence[str]) -> RunSettings:
    """A run's settings with overrides of the given sections only. Raises SettingsError."""
    values = store.read_json("run.json")["settings"]
    for override in overrides:
        if override.partition("=")[0].partition(".")[0] not in rooms:
            raise SettingsError(f"--set {override}: a replay can change only {', '.join(rooms)}")
        apply_override(values, override)
    return check_settings(values, str(store.path / "run.json"))


def first_policy(settings: RunSettings) -> Path:
    """Model directory that the run began with: its own, or the built-in policy (pre-trained unless cached)."""
    if settings.model != "builtin":
        return resolve_path(settings.model)
    return warm_start_blocking(settings)


def main(argv: list[str] | None = None) -> int:
    """Runs the command. Returns its exit code."""
    options = _parse(argv)
    logging.basicConfig(level=logging.WARNING, format="%(levelname)s %(name)s: %(message)s")
    try:
        store = Store.open(resolve_path(options.runs), options.run)
        rooms = ("critic", "judge", "browser") if options.judge else ("learner", "steps")
        settings = changed_settings(store, options.set, rooms)
        folder = (
            store.path.parent / f"{store.path.name}-{'judged' if options.judge else 'learnt'}-{secrets.token_hex(2)}"
        )
        work = partial(judge, num=options.num) if options.judge else partial(_learn, model=options.model)
        started = time.monotonic()
        about = {"replay_of": store.path.name, "settings": settings.model_dump(mode="json")}
        found = asyncio.run(work(store, settings, folder=folder))
        about |= found | {"seconds": round(time.monotonic() - started, 1)}
        atomic_write(folder / "replay.json", json.dumps(about, indent=1).encode())
    except RelookError as error:
        print(f"relook: {error}", file=sys.stderr)
        return 2 if isinstance(error, BadInput) else 1
    print(f"{folder}")
    if not options.judge:
        print(f"evaluate it: python -m cluster.evaluate --run {store.path} --model {folder / 'weights'}")
    return 0


async def _learn(store: Store, settings: RunSettings, model: Path | None, folder: Path) -> dict[str, Any]:
    from cluster.preflight.model_proof import prove_model

    first = model or first_policy(settings)
    proof = await prove_model(settings, first)
    return await learn(store, settings, OneRank(first, settings, packed=proof.packed), folder)


def _parse(argv: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog=program("replay"), description="Trains on a run's trajectories or judges its pages again."
    )
    parser.add_argument("run", help="id or path of the run")
    parser.add_argument("--runs", type=Path, default=Path("runs"), help="folder of runs")
    parser.add_argument("--set", action="append", default=[], metavar="a.b=c", help="override one setting")
    parser.add_argument("--model", type=Path, help="model to begin with (default: that of the run)")
    parser.add_argument("--judge", action="store_true", help="judge the stored pages again, without training")
    parser.add_argument("--num", type=int, default=256, help="number of pages to judge, sampled by the run's seed")
    return parser.parse_args(argv)


if __name__ == "__main__":
    sys.exit(main())
