"""Records Playwright specifications as probes: Node runs a specification in the fence with a recording stand-in for
Playwright Test, which writes down actions, readings and expectations as steps."""

import asyncio
import json
import os
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from actors.fence import bubblewrap, check_installed, limited
from actors.node.package import find_node
from rollout.errors import BrowserFault, TaskFileError
from rollout.probes import probe_of
from rollout.records import Probe

RECORDER = Path(__file__).parent / "recorder"
MOUNTED = "/node_modules/@playwright/test"
MEMORY_MB = 1200
TIMEOUT_S = 60.0
LARGEST_RECORDING = 16 << 20


@dataclass(frozen=True, slots=True, kw_only=True)
class RecordedTest:
    """A test of a specification as a probe, or the reason that it has none."""

    describe: tuple[str, ...]
    """Titles of the enclosing `describe` blocks, outermost first."""
    title: str
    probe: Probe | None = None
    reason: str = ""
    """Such as `compares with a stored picture`; empty with a probe."""


async def record_spec(path: Path) -> tuple[RecordedTest, ...]:
    """The tests of a specification file in order. The file is foreign code: it runs without network and files.

    Raises SettingsError without Node, BrowserFault when the fence does not start or the file runs too long, and
    TaskFileError for a file that is not a specification.
    """
    node = await asyncio.to_thread(find_node)
    with tempfile.TemporaryDirectory(prefix="relook-recording-") as name:
        folder = Path(name)
        folder.chmod(0o755)
        spec = folder / "tests" / path.name
        spec.parent.mkdir(mode=0o755)
        spec.write_bytes(path.read_bytes())
        spec.chmod(0o644)
        recording = await _run(node, spec)
    try:
        found = json.loads(recording)
    except ValueError as error:
        raise TaskFileError(f"{path}: the recording is not JSON: {recording[:200]!r}") from error
    if not isinstance(found, list):
        said = found.get("error") if isinstance(found, dict) else found
        raise TaskFileError(f"{path}: not a specification of Playwright Test: {said}")
    return tuple(_test(f"{path}: test {number}", row) for number, row in enumerate(found))


async def _run(node: Path, spec: Path) -> str:
    command = limited(MEMORY_MB) + bubblewrap((node.parent,))
    command += ["--ro-bind", str(RECORDER), MOUNTED, "--ro-bind", str(spec.parent), "/tests", "--chdir", "/tests"]
    command += ["env", "-i", "PATH=/usr/bin:/bin", str(node), f"{MOUNTED}/record.js", f"/tests/{spec.name}"]
    check_installed(command)
    process = await asyncio.create_subprocess_exec(
        *command,
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
        env={"PATH": os.environ.get("PATH", "")},
    )
    try:
        output, errors = await asyncio.wait_for(process.communicate(), TIMEOUT_S)
    except TimeoutError as error:
        raise BrowserFault(f"{spec.name} was not recorded within {TIMEOUT_S:g} s") from error
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()
    if process.returncode != 0 or not output or len(output) > LARGEST_RECORDING:
        said = " ".join(errors.decode("utf-8", "replace").split())[-300:]
        raise BrowserFault(f"recording {spec.name} ended with status {process.returncode}: {said}")
    return output.decode("utf-8", "replace")


def _test(where: str, row: Mapping[str, Any]) -> RecordedTest:
    describe, title = tuple(row["describe"]), str(row["title"])
    if row["reason"]:
        return RecordedTest(describe=describe, title=title, reason=row["reason"])
    name = " › ".join((*describe, title))
    try:
        probe = probe_of(where, {"name": name, "steps": row["steps"], "fresh": True})
    except TaskFileError as error:
        return RecordedTest(describe=describe, title=title, reason=f"has a step that probes lack: {str(error)[:200]}")
    return RecordedTest(describe=describe, title=title, probe=probe)
