"""Predicts step time, balanced pool sizes and GPU memory: `python -m cluster.plan SETTINGS [--from RUN] [--gpu NAME]`.

Costs come from a previous run; with a GPU's name, from the model's dimensions; otherwise from `runs/bench.json`. No
actors are started. Exit codes: 0, 1 when the memory of a GPU does not suffice, or 2 for bad input.
"""

import argparse
import json
import math
import sys
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from cluster.commands import program
from cluster.paths import resolve_path
from cluster.planning.computed import ASSUMED, computed_costs
from cluster.planning.devices import device_needs
from cluster.settings import RunSettings, check_settings, load_settings
from cluster.storage.store import Store
from cluster.training.bottleneck import NOUNS, Costs, Forecast, advise, balance, forecast, measure
from cluster.training.metrics import mean, pool_sizes
from learner.model_costs.operations import GPUS, GPUModel, gpu_of
from learner.model_costs.shape import FAMILY, ModelShape, read_shape
from rollout.errors import BadInput, CheckpointError, SettingsError
from rollout.settings import EpisodeSettings

ASSUMED_ACCEPT_RATE = 0.5
"""Share of revisions accepted, assumed when no run provides it."""


def main(argv: list[str] | None = None) -> int:
    """Runs the command. Returns its exit code."""
    options = _parse(argv)
    try:
        settings = load_settings(options.settings, options.set)
        gpu = known_gpu(options.gpu) if options.gpu else None
        shape = known_shape(options.shape, settings) if gpu else None
        judge = known_shape(options.judge_shape, settings) if options.judge_shape else None
        if options.source:
            costs, origin = from_run(options.source, resolve_path(options.runs), settings, options.cores)
        elif gpu and shape:
            costs, origin = from_shape(settings, shape, gpu)
        else:
            costs, origin = from_bench(resolve_path("runs") / "bench.json", settings)
    except BadInput as error:
        print(f"relook: {error}", file=sys.stderr)
        return 2
    print("\n".join(_told(costs, settings, origin)))
    needs = device_needs(settings, shape, options.gpu_gib or gpu.gib, judge) if gpu and shape else []
    for need in needs:
        print(need)
    return 0 if all(need.fits for need in needs) else 1


def known_gpu(name: str) -> GPUModel:
    """The data sheet of a GPU. Raises SettingsError for an unknown one."""
    gpu = gpu_of(name)
    if gpu is None:
        raise SettingsError(f"--gpu {name!r} is not known; known are {', '.join(GPUS)}")
    return gpu


def known_shape(name: str | None, settings: RunSettings) -> ModelShape:
    """Dimensions of a public model, or of the settings' model directory. Raises SettingsError."""
    if name:
        if name not in FAMILY:
            raise SettingsError(f"--shape {name!r} is not known; known are {', '.join(FAMILY)}")
        return FAMILY[name]
    shape = None if settings.model == "builtin" else read_shape(resolve_path(settings.model))
    if shape is None:
        raise SettingsError(
            f"model {settings.model!r} has no known dimensions; give --shape, one of {', '.join(FAMILY)}"
        )
    return shape


def from_shape(settings: RunSettings, shape: ModelShape, gpu: GPUModel) -> tuple[Costs, str]:
    """Costs computed from the model's dimensions and the GPU's data sheet, and their assumptions in words."""
    expected = attempts(settings.episode, ASSUMED_ACCEPT_RATE)
    words = f"{ASSUMED}, {ASSUMED_ACCEPT_RATE:.0%} of the revisions accepted"
    return computed_costs(settings, shape, gpu, *expected), words


def from_run(run: str, runs: Path, settings: RunSettings, cores: int | None = None) -> tuple[Costs, str]:
    """Costs of the settings, derived from a run, and a description of their origin. Raises CheckpointError."""
    store = Store.open(runs, run)
    was = check_settings(store.read_json("run.json")["settings"], str(store.path / "run.json"))
    history = _history(store)
    try:
        costs = measure(history, was, cores)
    except ValueError as error:
        raise CheckpointError(f"{store.path}: {error}") from None
    accept = mean([row["accept_rate"] for row in history if "accept_rate" in row])
    return rescale(costs, was, settings, accept), f"{len(history)} steps of {store.path.name}"


def rescale(costs: Costs, was: RunSettings, now: RunSettings, accept: float) -> Costs:
    """Rescales costs from a run with settings `was` to settings `now`, given the acceptance rate of revisions.

    Work is proportional to the number of episodes and of attempts in them. The effects of longer pages, larger
    screenshots, another model or other machines are not modelled.
    """
    episodes = now.groups * now.group_size / (was.groups * was.group_size)
    (judged, sampled, kept), before = attempts(now.episode, accept), attempts(was.episode, accept)
    looks, writes, lessons = episodes * judged / before[0], episodes * sampled / before[1], episodes * kept / before[2]
    follow = {"browser": looks, "critic": looks, "policy": writes}
    busy = {name: work * follow[name] for name, work in costs.busy.items()}
    shared = 0.0 if now.cluster.roles else sum(busy.values()) / max(sum(costs.busy.values()), 1e-9)
    return replace(
        costs,
        busy=busy,
        busy_learner=costs.busy_learner * lessons,
        cores_play_s=costs.cores_play_s * shared,
        cores_learn_s=0.0 if now.cluster.roles else costs.cores_learn_s * lessons,
    )


def attempts(episode: EpisodeSettings, accept: float) -> tuple[float, float, float]:
    """Expected attempts of an episode: judged, sampled, accepted; each revision is accepted at the same rate.

    In a round of at most K attempts, (1 − (1 − p)^K) / p are judged; they are sampled `speculate` at a time.
    """
    most, batch, miss = episode.attempts, min(episode.speculate, episode.attempts), 1 - accept
    judged, sampled, kept = 1.0, float(batch), 1.0
    if episode.forced:
        judged = sum(miss**before for before in range(most))
        sampled = sum(min(batch, most - before) * miss**before for before in range(0, most, batch))
        kept = 1 - miss**most
    return 1 + episode.rounds * judged, 1 + episode.rounds * sampled, 1 + episode.rounds * kept


def from_bench(path: Path, settings: RunSettings) -> tuple[Costs, str]:
    """Costs from `bench.json`, assuming pages of half the maximum length. Raises SettingsError."""
    try:
        bench = json.loads(path.read_text(encoding="utf-8"))
        rates = _bench_rates(bench)
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise SettingsError(f"{path}: no costs ({error!r}); run make bench, or give --from RUN") from None
    episodes = settings.groups * settings.group_size
    judged, sampled, kept = (episodes * num for num in attempts(settings.episode, ASSUMED_ACCEPT_RATE))
    tokens = settings.episode.max_tokens / 2
    learn_s = kept * tokens / rates["learner"]
    busy = {"browser": judged * rates["render"], "critic": judged * rates["critic"]}
    busy["policy"] = sampled * tokens / rates["rollout"]
    words = f"{path.name}, with pages of {tokens:.0f} tokens and {ASSUMED_ACCEPT_RATE:.0%} of the revisions accepted"
    return Costs(busy=busy, busy_learner=learn_s, sync_s=rates["sync"]), words


def _bench_rates(bench: Mapping[str, Any]) -> dict[str, float]:
    """Seconds per page, per judgment and per sync; tokens per second of an engine and of a learner rank."""
    rates = {
        "render": 1 / float(bench["render"]["pages_per_s_per_core"]),
        "critic": float(bench["critic"]["ms_per_judgment"]) / 1000,
        "rollout": float(bench["rollout"]["tokens_per_s"]),
        "learner": float(bench["learner"]["tokens_per_s"]),
        "sync": float(bench["sync"]["seconds"]),
    }
    if not all(math.isfinite(rate) and rate > 0 for rate in rates.values()):
        raise ValueError(f"rates must be positive, got {rates}")
    return rates


def _history(store: Store) -> list[dict[str, float]]:
    """Metrics of a run's steps. Raises CheckpointError."""
    path = store.path / "metrics.jsonl"
    try:
        return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]
    except (OSError, ValueError) as error:
        raise CheckpointError(f"{path}: not readable ({error}); give a run that finished a step") from None


def _told(costs: Costs, settings: RunSettings, origin: str) -> list[str]:
    """Formats the plan for a terminal."""
    sizes, stale = pool_sizes(settings), settings.max_staleness
    now, better = forecast(costs, sizes, stale), balance(costs, sizes, stale)
    balanced = forecast(costs, better, stale)
    lines = [
        f"costs from {origin}",
        f"a step: {now.step_s:.1f} s (play {now.play_s:.1f}, learn {now.learn_s:.1f}, sync {now.sync_s:.1f}); "
        f"{settings.steps} steps: {settings.steps * now.step_s / 60:.0f} min, without exams",
        f"{'pool':<14}{'have':>6}{'idle':>7}{'balanced':>12}{'idle':>7}",
    ]
    for name, noun in NOUNS.items():
        row = (sizes[name], _idle(costs, now, sizes, name), better[name], _idle(costs, balanced, better, name))
        lines.append(f"{noun:<14}{row[0]:>6}{row[1]:>7.0%}{row[2]:>12}{row[3]:>7.0%}")
    lines.append(
        f"with balanced sizes a step takes {balanced.step_s:.1f} s" if better != sizes else "these sizes are balanced"
    )
    return [*lines, advise(costs, sizes, stale)]


def _idle(costs: Costs, step: Forecast, sizes: Mapping[str, int], name: str) -> float:
    busy = costs.busy_learner if name == "learner" else costs.busy[name]
    return max(0.0, 1 - busy / (sizes[name] * max(step.step_s, 1e-9)))


def _parse(argv: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog=program("plan"), description="Predicts step time and balanced pool sizes.")
    parser.add_argument("settings", type=Path, help="TOML settings file, such as deploy/runs/demo.toml")
    parser.add_argument("--set", action="append", default=[], metavar="a.b=c", help="override one setting")
    parser.add_argument(
        "--from", dest="source", metavar="RUN", help="run that provides the costs (default: runs/bench.json)"
    )
    parser.add_argument("--gpu", help="name of the GPUs, such as H100: computes costs and memory from the model")
    parser.add_argument("--gpu-gib", type=float, help="memory of one GPU in GiB (default: of the data sheet)")
    parser.add_argument("--shape", metavar="MODEL", help="with --gpu: a public model's dimensions, such as qwen2.5-7b")
    parser.add_argument("--judge-shape", metavar="MODEL", help="with --gpu: dimensions of the judge's language model")
    parser.add_argument("--runs", type=Path, default=Path("runs"), help="folder of runs, for --from")
    parser.add_argument("--cores", type=int, help="cores of the machine of RUN (default: this machine's)")
    return parser.parse_args(argv)


if __name__ == "__main__":
    sys.exit(main())
