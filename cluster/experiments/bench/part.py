"""What all parts share: the figures they return, and the built-in policy's shape."""

import subprocess
import sys
from pathlib import Path

from cluster.paths import resolve_path
from cluster.settings import RunSettings

Figures = dict[str, float]
"""Names, with their units where they have one, and medians."""


def built_in_policy() -> Path:
    """The built-in policy; measured weights need not be good ones, but they must be of its shape."""
    settings = RunSettings()
    return warm_policy(settings.model_copy(update={"warm_start": settings.warm_start.model_copy(update={"steps": 2})}))


def warm_policy(settings: RunSettings) -> Path:
    """The built-in policy as a run begins with it: pre-trained, unless the cache has it."""
    command = [sys.executable, "-m", "learner.builtin.warmstart", "--cache", str(resolve_path(settings.cache))]
    command += ["--settings", settings.warm_start.model_dump_json()]
    shown = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True)
    return Path(shown.stdout.strip().splitlines()[-1])
