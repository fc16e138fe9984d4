"""Table of the `relook` commands: module, which has a `main(argv)`, and description."""

import sys
from pathlib import Path

COMMANDS = {
    "train": ("cluster.train", "train a policy, or resume a run"),
    "sft": ("cluster.sft", "fine-tune a model on reference pages, before training"),
    "evaluate": ("cluster.evaluate", "score a champion on held-out tasks"),
    "generate": ("cluster.generate", "generate a page for a brief"),
    "calibrate": ("cluster.calibrate", "measure a critic's noise and ranking, and propose a margin"),
    "serve": ("cluster.serve", "serve a champion to browsers and programs"),
    "watch": ("cluster.watch", "show runs live in a browser: episodes, curves, actors"),
    "replay": ("cluster.replay", "train again on stored trajectories, or judge their pages again"),
    "benchmark": ("cluster.benchmark", "measure a policy on a public benchmark"),
    "tasks": ("cluster.tasks", "check a task file and its reference pages"),
    "mirror": ("cluster.mirror", "build the folder of libraries that pages may load"),
    "doctor": ("cluster.doctor", "check machine, browser, engines, Ray and MLflow"),
    "accept": ("cluster.accept", "measure a cluster before a run of days, with the run's own settings"),
    "plan": ("cluster.plan", "predict the time of a step and balanced pool sizes"),
    "bench": ("cluster.experiments.bench.__main__", "measure this machine"),
    "reproduce": ("cluster.reproduce", "train all variants and test the claims"),
}
"""Command name → (module, description), in the order of `relook --help`."""


def program(name: str) -> str:
    """Program name for the usage line of a command. Example: `"relook train"`."""
    return f"relook {name}" if Path(sys.argv[0]).name == "relook" else f"python -m cluster.{name}"
