"""Where relative paths of a run begin: the checkout, also when Ray runs a job from a copy of it."""

import os
import sys
from pathlib import Path

RAY_COPY = "runtime_resources"


def home() -> Path:
    """RELOOK_HOME, else the folder a command was started in.

    `ray job submit --working-dir .` runs from a temporary copy that goes away with the cluster: there it is the
    checkout whose environment runs the job, when there is one.
    """
    if "RELOOK_HOME" in os.environ:
        return Path(os.environ["RELOOK_HOME"])
    checkout = Path(sys.prefix).parent
    if RAY_COPY in Path.cwd().parts and (checkout / "pyproject.toml").is_file():
        return checkout
    return Path.cwd()


def resolve_path(path: str | Path) -> Path:
    """A path of the settings, made absolute."""
    return (home() / path).resolve()
