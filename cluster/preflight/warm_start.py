"""Pre-trains the built-in policy before a run starts, in a separate process: the driver does not import torch."""

import asyncio
import os
import subprocess
import sys
from pathlib import Path

from cluster.monitoring.display import Display
from cluster.paths import resolve_path
from cluster.settings import RunSettings
from rollout.errors import RelookError

ROOT = Path(__file__).parents[2]


def warm_start_command(settings: RunSettings) -> list[str]:
    """Command that pre-trains the built-in policy unless cached; its last line of output is the directory."""
    command = [sys.executable, "-m", "learner.builtin.warmstart", "--cache", str(resolve_path(settings.cache))]
    return [*command, "--settings", settings.warm_start.model_dump_json()]


def warm_start_blocking(settings: RunSettings) -> Path:
    """Directory of the built-in policy, as `warm_start` without a display. Raises RelookError."""
    done = subprocess.run(warm_start_command(settings), stdout=subprocess.PIPE, text=True, cwd=ROOT, check=False)
    if done.returncode:
        raise RelookError(f"the warm start failed with exit code {done.returncode}")
    return Path(done.stdout.splitlines()[-1])


async def warm_start(settings: RunSettings, display: Display) -> Path:
    """Directory of the built-in policy; pre-trained in a separate process unless cached."""
    # The display shows progress; the library's progress bars would overwrite it.
    environment = {**os.environ, "HF_HUB_DISABLE_PROGRESS_BARS": "1"}
    process = await asyncio.create_subprocess_exec(
        *warm_start_command(settings), stdout=subprocess.PIPE, cwd=ROOT, env=environment
    )
    assert process.stdout is not None, "stdout is a pipe"
    last = ""
    try:
        async for line in process.stdout:
            last = line.decode().strip()
            done, slash, rest = last.partition("/")
            total, _, loss = rest.partition(" ")
            if slash and done.isdigit() and total.isdigit():
                display.progress(int(done), int(total), f"warm start, loss {loss}")
        if await process.wait() != 0:
            raise RelookError(f"the warm start failed with exit code {process.returncode}; its last line: {last!r}")
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()
    return Path(last)
