"""Runs the benchmarks: `python -m cluster.bench [--only render]` writes `runs/bench.json`.

Each part runs in its own process, isolated from the threads and memory of other parts, and records the sizes and raw
values behind its medians. If a part cannot run on this machine, it reports the reason and the others continue. The part
`pages` needs a folder of pages: `make bench ONLY=pages PAGES=DIR`.
"""

import argparse
import json
import os
import platform
import subprocess
import sys
from collections.abc import Callable
from typing import Any

from cluster.commands import program
from cluster.experiments.bench.critic import bench_critic
from cluster.experiments.bench.driver import bench_driver
from cluster.experiments.bench.endurance import bench_endurance
from cluster.experiments.bench.identity import bench_identity
from cluster.experiments.bench.learner import bench_learner
from cluster.experiments.bench.pages import bench_pages
from cluster.experiments.bench.part import Figures
from cluster.experiments.bench.render import bench_render
from cluster.experiments.bench.rollout import bench_rollout
from cluster.experiments.bench.serve import bench_serve
from cluster.experiments.bench.sync import bench_sync
from cluster.experiments.bench.tracking.part import bench_tracking
from cluster.experiments.bench.training_loop.part import bench_loop
from cluster.paths import resolve_path
from rollout.errors import BadInput, RelookError
from rollout.files import atomic_write

PARTS: dict[str, Callable[[], Figures | dict[str, Figures]]] = {
    "critic": bench_critic,
    "driver": bench_driver,
    "endurance": bench_endurance,
    "identity": bench_identity,
    "learner": bench_learner,
    "loop": bench_loop,
    "pages": bench_pages,
    "render": bench_render,
    "rollout": bench_rollout,
    "serve": bench_serve,
    "sync": bench_sync,
    "tracking": bench_tracking,
}

EXTRA = ("playwright", "trl", "datasets")
"""Packages of the `bench` extra, needed only for comparisons with other systems."""


def main(argv: list[str] | None = None) -> int:
    """Entry point of the command. Returns its exit code."""
    parser = argparse.ArgumentParser(prog=program("bench"), description="Measures this machine.")
    parser.add_argument("--only", choices=sorted(PARTS), help="run one part")
    parser.add_argument("--part", choices=sorted(PARTS), help=argparse.SUPPRESS)
    options = parser.parse_args(argv)
    if options.part:
        return measure(options.part)
    path = resolve_path("runs") / "bench.json"
    results: dict[str, Any] = json.loads(path.read_text()) if path.exists() else {}
    results["machine"] = {"processor": platform.processor() or platform.machine(), "cores": os.cpu_count()}
    everything = sorted(PARTS if "PAGES" in os.environ else PARTS.keys() - {"pages"})
    failed = []
    for name in [options.only] if options.only else everything:
        print(f"{name} … ", end="", flush=True)
        command = [sys.executable, "-m", "cluster.bench", "--part", name]
        shown = subprocess.run(command, stdout=subprocess.PIPE, text=True)
        if shown.returncode != 0:
            failed.append(name)
            continue
        results[name] = json.loads(shown.stdout.strip().splitlines()[-1])
        sets = results[name] if name == "pages" else {"": results[name]}
        for label, figures in sets.items():
            print(label, ", ".join(f"{key} {value:.4g}" for key, value in figures.items()))
        if {"render", "identity"} <= results.keys():
            results["render"]["identical_share"] = results["identity"]["identical_share"]
        atomic_write(path, json.dumps(results, indent=1).encode())
    if failed:
        print(f"relook: not measured: {', '.join(failed)}; the other results are in {path}", file=sys.stderr)
        return 1
    print(f"results are in {path}")
    return 0


def measure(name: str) -> int:
    """Runs one part and prints its results as JSON. Returns an exit code."""
    try:
        print(json.dumps(PARTS[name]()))
    except ModuleNotFoundError as error:
        if error.name not in EXTRA:
            raise
        print(f"not measured: {error.name} is not installed; pip install -e '.[bench]'", file=sys.stderr)
        return 2
    except RelookError as error:
        print(f"not measured: {error}", file=sys.stderr)
        return 2 if isinstance(error, BadInput) else 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
