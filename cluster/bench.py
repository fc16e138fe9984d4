"""Measures this machine: `python -m cluster.bench [--only render]` writes `runs/bench.json`.

Each part runs in a process of its own, so that none is measured in another's threads or memory, and records the
sizes and raw figures behind its numbers. Medians; never a test.
"""

import argparse
import asyncio
import json
import os
import platform
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from statistics import median
from typing import Any

from cluster.home import at_home
from cluster.settings import RunSettings
from cluster.store import write_aside
from reward.designs import tasks
from rollout.prompts import PAGE_STOP, first
from rollout.records import Page, Render, Request

PAGES = 60
COMPLETIONS = 64
UPDATES = 4
Figures = dict[str, float]


def main(argv: list[str] | None = None) -> int:
    """The command. Returns its exit code."""
    parser = argparse.ArgumentParser(prog="python -m cluster.bench", description="Measures this machine.")
    parser.add_argument("--only", choices=sorted(PARTS), help="run one part")
    parser.add_argument("--part", choices=sorted(PARTS), help=argparse.SUPPRESS)
    options = parser.parse_args(argv)
    if options.part:
        print(json.dumps(PARTS[options.part]()))
        return 0
    path = at_home("runs") / "bench.json"
    results: dict[str, Any] = json.loads(path.read_text()) if path.exists() else {}
    results["machine"] = {"processor": platform.processor() or platform.machine(), "cores": os.cpu_count()}
    for name in [options.only] if options.only else sorted(PARTS):
        print(f"{name} … ", end="", flush=True)
        command = [sys.executable, "-m", "cluster.bench", "--part", name]
        shown = subprocess.run(command, stdout=subprocess.PIPE, text=True)
        if shown.returncode != 0:
            print(f"failed with exit code {shown.returncode}", file=sys.stderr)
            return 1
        results[name] = json.loads(shown.stdout.strip().splitlines()[-1])
        print(", ".join(f"{key} {value:.4g}" for key, value in results[name].items()))
        write_aside(path, json.dumps(results, indent=1).encode())
    print(f"figures are in {path}")
    return 0


def bench_render() -> Figures:
    """Pages a second of one browser, three shots and extraction each, on the built-in designs."""
    walls, renders = asyncio.run(_render(PAGES))
    again, twins = asyncio.run(_render(PAGES))
    same = [[s.sha256 for s in a.shots] == [s.sha256 for s in b.shots] for a, b in zip(renders, twins, strict=True)]
    return {
        "pages": float(PAGES),
        "pages_per_s_per_core": 1 / median(walls + again),
        "wall_ms_per_page": 1000 * median(walls + again),
        "cpu_ms_per_page": 1000 * median(render.cpu_seconds for render in renders),
        "identical_share": sum(same) / len(same),
    }


def bench_critic() -> Figures:
    """Milliseconds of one judgment by the embedded critic, and that as a share of one render."""
    from reward.visual.critic import VisualCritic

    walls, renders = asyncio.run(_render(PAGES))
    critic, spent = VisualCritic(), []
    drawn = tasks(PAGES, seed=0, split="train")
    for task, render, wanted in zip(drawn, renders, renders[1:], strict=False):
        pictures, others = ([shot.picture for shot in one.shots if not shot.label] for one in (render, wanted))
        started = time.process_time()
        critic.judge(task, Page(html=task.reference_html), render, wanted, tuple(pictures), tuple(others))
        spent.append(time.process_time() - started)
    return {"ms_per_judgment": 1000 * median(spent), "share_of_render": median(spent) / median(walls)}


def bench_rollout() -> Figures:
    """Tokens a second of one engine on concurrent first pages, and seconds of one weight sync."""
    return asyncio.run(_rollout())


def bench_learner() -> Figures:
    """Tokens a second of the learner on packed samples of the lengths that the built-in policy writes."""
    from learner.engine import Engine
    from learner.settings import LearnerSettings
    from rollout.records import Batch, Sample

    samples = tuple(
        Sample(prompt_ids=(5,) * 90, token_ids=(7,) * (120 + 3 * i), logprobs=(-1.0,) * (120 + 3 * i), advantage=1.0)
        for i in range(COMPLETIONS)
    )
    engine = Engine(_model(), LearnerSettings(lr=1e-5))
    updates = [engine.update(Batch(samples=samples)) for _ in range(UPDATES)]
    tokens = sum(len(sample.prompt_ids) + len(sample.token_ids) for sample in samples)
    return {
        "tokens": float(tokens),
        "tokens_per_s": tokens / median(update.metrics["seconds"] for update in updates[1:]),
        "padding_waste": updates[-1].metrics["padding_waste"],
    }


async def _render(num: int) -> tuple[list[float], list[Render]]:
    from actors.browser import ChromiumRenderer

    renderer, walls, renders = ChromiumRenderer(RunSettings().browser), [], []
    await renderer.start()
    try:
        for task in tasks(num, seed=0, split="train"):
            started = time.perf_counter()
            renders.append(await renderer.render(Page(html=task.reference_html)))
            walls.append(time.perf_counter() - started)
    finally:
        await renderer.stop()
    return walls, renders


async def _rollout() -> Figures:
    from actors.policy import VLLMPolicy

    model = _model()
    policy = VLLMPolicy(str(model), RunSettings().policy, 0)
    asked = [
        Request(messages=first(task), max_tokens=400, seed=index, stop=PAGE_STOP)
        for index, task in enumerate(tasks(COMPLETIONS, seed=0, split="train"))
    ]
    started = time.perf_counter()
    await policy.start()
    start = time.perf_counter() - started
    try:
        await asyncio.gather(*map(policy.complete, asked[:4]))
        started = time.perf_counter()
        written = await asyncio.gather(*map(policy.complete, asked))
        spent = time.perf_counter() - started
        blob = (model / "model.safetensors").read_bytes()
        started = time.perf_counter()
        await policy.update_weights(blob, 1)
        sync = time.perf_counter() - started
    finally:
        await policy.stop()
    tokens = sum(len(one.token_ids) for several in written for one in several)
    return {
        "start_s": start,
        "tokens": float(tokens),
        "tokens_per_s": tokens / spent,
        "sync_s": sync,
        "sync_bytes_per_s": len(blob) / sync,
    }


def _model() -> Path:
    """The built-in policy; measured weights need not be good ones, but they must be of its shape."""
    command = [sys.executable, "-m", "learner.warmstart", "--cache", str(at_home(".cache"))]
    settings = RunSettings().warm_start.model_copy(update={"steps": 2})
    command += ["--settings", settings.model_dump_json()]
    shown = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True)
    return Path(shown.stdout.strip().splitlines()[-1])


PARTS: dict[str, Callable[[], Figures]] = {
    "critic": bench_critic,
    "learner": bench_learner,
    "render": bench_render,
    "rollout": bench_rollout,
}

if __name__ == "__main__":
    sys.exit(main())
