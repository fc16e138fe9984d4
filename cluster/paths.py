"""Resolves relative paths of a run against the checkout, also when Ray runs a job from a copy of it."""

import os
import sys
from pathlib import Path

RAY_COPY = "runtime_resources"


def home() -> Path:
    """Base folder of relative paths: RELOOK_HOME, else the working directory.

    `ray job submit --working-dir .` runs from a temporary copy that is deleted with the cluster; there the base is the
    checkout whose environment runs the job, if any.
    """
    if "RELOOK_HOME" in os.environ:
        return Path(os.environ["RELOOK_HOME"])
    checkout = Path(sys.prefix).parent
    if RAY_COPY in Path.cwd().parts and (checkout / "pyproject.toml").is_file():
        return checkout
    return Path.cwd()


def resolve_path(path: str | Path) -> Path:
    """Converts a path of the settings to an absolute path."""
    return (home() / path).resolve()
