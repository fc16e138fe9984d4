"""Shared code of the benchmark parts: the result type, and the built-in policy."""

import subprocess
import sys
from pathlib import Path

from cluster.paths import resolve_path
from cluster.settings import RunSettings

Figures = dict[str, float]
"""Measured values, named with their units; times are medians."""


def built_in_policy() -> Path:
    """The built-in policy after two steps: benchmarks need its shape, not its quality."""
    settings = RunSettings()
    return warm_policy(settings.model_copy(update={"warm_start": settings.warm_start.model_copy(update={"steps": 2})}))


def warm_policy(settings: RunSettings) -> Path:
    """The pre-trained built-in policy that a run starts with, from the cache if possible."""
    command = [sys.executable, "-m", "learner.builtin.warmstart", "--cache", str(resolve_path(settings.cache))]
    command += ["--settings", settings.warm_start.model_dump_json()]
    shown = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True)
    return Path(shown.stdout.strip().splitlines()[-1])
