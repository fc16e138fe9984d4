"""Runs a module of the learner in a process of its own, so that the driver loads neither torch nor a tokenizer."""

import asyncio
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]


async def run_module(module: str, *arguments: str) -> tuple[int, str, str]:
    """Exit code, output and error output of `python -m module`; the process is ended if the call is cancelled."""
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", module, *arguments), stdout=subprocess.PIPE, stderr=subprocess.PIPE, cwd=ROOT
    )
    try:
        said, complaints = await process.communicate()
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()
    return await process.wait(), said.decode(errors="replace"), complaints.decode(errors="replace")
