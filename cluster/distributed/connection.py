"""Connects to a Ray cluster, or starts a local one, and disconnects from it."""

import gc
import logging
import os
import secrets
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

from rollout.errors import MachineError

logger = logging.getLogger(__name__)
START_TRIES = 3
TOKENS = Path.home() / ".ray"
"""Folder of Ray's auth tokens. `auth_token` is the user's; a cluster started here gets a token file of its own."""
GC_PACE = 100_000, 20, 20
"""Garbage collector thresholds: allocations per youngest collection, then collections per collection of older ones."""


@dataclass(frozen=True, kw_only=True)
class Connection:
    """An open connection to a Ray cluster."""

    dashboard: str
    """Address of the Ray dashboard; empty if there is none."""
    token: Path | None
    """Token file of a cluster that was started here, else None. The token gives full control of the cluster."""

    def leave(self) -> None:
        """Disconnects; shuts down a cluster that was started here and deletes its token."""
        import ray

        ray.shutdown()
        if self.token is not None:
            self.token.unlink(missing_ok=True)
            del os.environ["RAY_AUTH_MODE"], os.environ["RAY_AUTH_TOKEN_PATH"]


def connect() -> Connection:
    """Joins the cluster of RAY_ADDRESS or of the current Ray job; otherwise starts one on this machine.

    Raises MachineError when Ray cannot be started or joined.
    """
    # Records are numerous, long-lived and free of cycles: the default thresholds double the time it takes to read them.
    gc.set_threshold(*GC_PACE)
    # A call after shutdown is a bug; with auto-connect, Ray would join any cluster that it finds and block there.
    os.environ["RAY_ENABLE_AUTO_CONNECT"] = "0"
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    # By default Ray's workers run at lower priority than other processes, and threads that wait for each other stall.
    os.environ.setdefault("RAY_worker_niceness", "0")
    os.environ.setdefault("RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO", "0")
    # On a busy machine, a worker takes longer to start than the minute that Ray allows.
    os.environ.setdefault("RAY_worker_register_timeout_seconds", "600")
    # Without an address Ray would join the last cluster started here, which may be gone or belong to another run.
    address = os.environ.get("RAY_ADDRESS") or "local"
    token = _draw_token() if address == "local" else None
    context = _init(address)
    return Connection(dashboard=str(context.dashboard_url or ""), token=token)


def _draw_token() -> Path | None:
    """Creates a token file for a new cluster; None when the user has configured a token.

    Ray's default location is shared by all clusters of a user: the first of two runs to end would delete the token of
    both.
    """
    if (TOKENS / "auth_token").exists() or any(name.startswith("RAY_AUTH_") for name in os.environ):
        return None
    path = TOKENS / f"relook-{os.getpid()}"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.unlink(missing_ok=True)
    path.touch(mode=0o600)
    path.write_text(_token())
    os.environ |= {"RAY_AUTH_MODE": "token", "RAY_AUTH_TOKEN_PATH": str(path)}
    return path


@cache
def _token() -> str:
    """The token of all clusters that this process starts, one after the other: Ray reads the file only once."""
    return secrets.token_hex(32)


def _init(address: str, tries: int = START_TRIES) -> Any:
    """Calls `ray.init` with retries: Ray gives its services 30 s to start, which is too short on a busy machine."""
    import ray

    try:
        return ray.init(address=address, log_to_driver=False, logging_level=logging.ERROR)
    except Exception as error:  # Ray raises no narrower type
        ray.shutdown()
        if tries == 1:
            raise MachineError(f"Ray cannot be started or joined at {address!r}: {error}") from error
        logger.warning("Ray did not start; trying again: %s", error)
    return _init(address, tries - 1)
