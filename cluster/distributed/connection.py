"""The way into a Ray cluster, or to one of this process's own, and out of it again."""

import gc
import logging
import os
import secrets
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rollout.errors import MachineError

logger = logging.getLogger(__name__)
START_TRIES = 3
TOKENS = Path.home() / ".ray"
"""Where Ray keeps the token (`auth_token`) that a person made; clusters that are started here have one of their own."""
GC_PACE = 100_000, 20, 20
"""Allocations before the youngest objects are searched for cycles, and how many such searches before older ones are."""


@dataclass(frozen=True, kw_only=True)
class Connection:
    """A place in a Ray cluster."""

    dashboard: str
    """Address of the Ray dashboard, empty where there is none."""
    token: Path | None
    """The file with the token of a cluster that was started here: whoever holds it may do anything there."""

    def leave(self) -> None:
        """Leaves the cluster, ends it where it was started here, and takes its token away."""
        import ray

        ray.shutdown()
        if self.token is not None:
            self.token.unlink(missing_ok=True)
            del os.environ["RAY_AUTH_MODE"], os.environ["RAY_AUTH_TOKEN_PATH"]


def connect() -> Connection:
    """Joins the cluster of RAY_ADDRESS, or that of the job this is; else starts one on this machine."""
    # Records are many, live long and hold no cycles: to look for some at the usual pace doubles what they cost to read.
    gc.set_threshold(*GC_PACE)
    # A call after Ray has been left is a bug; Ray would join whatever cluster it finds, and wait there for ever.
    os.environ["RAY_ENABLE_AUTO_CONNECT"] = "0"
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    # Ray's workers would give way to whatever else runs here, and threads that wait for each other then wait long.
    os.environ.setdefault("RAY_worker_niceness", "0")
    os.environ.setdefault("RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO", "0")
    # On a machine that others keep busy, a worker takes longer to start than the minute that Ray allows.
    os.environ.setdefault("RAY_worker_register_timeout_seconds", "600")
    # Without an address Ray would join the last cluster that was started here, though it may be gone or another's.
    address = os.environ.get("RAY_ADDRESS") or "local"
    token = _draw_token() if address == "local" else None
    context = _init(address)
    return Connection(dashboard=str(context.dashboard_url or ""), token=token)


def _draw_token() -> Path | None:
    """A token for a new cluster, unless a person chose one, in a file of its own.

    Ray would put it where every later cluster finds it, and the first of two runs to end would take it from the other.
    """
    if (TOKENS / "auth_token").exists() or any(name.startswith("RAY_AUTH_") for name in os.environ):
        return None
    path = TOKENS / f"relook-{os.getpid()}"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.unlink(missing_ok=True)
    path.touch(mode=0o600)
    path.write_text(secrets.token_hex(32))
    os.environ |= {"RAY_AUTH_MODE": "token", "RAY_AUTH_TOKEN_PATH": str(path)}
    return path


def _init(address: str, tries: int = START_TRIES) -> Any:
    """Ray gives its own services half a minute to start; on a machine that others keep busy they need another try."""
    import ray

    try:
        return ray.init(address=address, log_to_driver=False, logging_level=logging.ERROR)
    except Exception as error:  # Ray has no narrower one for it.
        ray.shutdown()
        if tries == 1:
            raise MachineError(f"Ray cannot be started or joined at {address!r}: {error}") from error
        logger.warning("Ray did not start, which is tried again: %s", error)
    return _init(address, tries - 1)
