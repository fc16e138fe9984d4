"""Pinned Node packages: installed from their lock files at the first start, into folders named by the files' hashes."""

import asyncio
import hashlib
import logging
import os
import shutil
import subprocess
import tempfile
from pathlib import Path

from rollout.errors import SettingsError

logger = logging.getLogger(__name__)

PACKAGES = Path(__file__).parents[2] / "deploy" / "node"
LOCK = "package-lock.json"
OLDEST_NODE = 18
INSTALL_TIMEOUT_S = 600.0


def find_node() -> Path:
    """Node's executable. Raises SettingsError when it, or npm, is missing or too old."""
    node = shutil.which("node")
    if node is None or shutil.which("npm") is None:
        missing = "node" if node is None else "npm"
        raise SettingsError(
            f"{missing!r} is not on the PATH, and the tests of this benchmark need it; "
            f"install Node {OLDEST_NODE} or newer with npm"
        )
    version = subprocess.run((node, "--version"), capture_output=True, text=True, check=False).stdout.strip()
    major = version.removeprefix("v").partition(".")[0]
    if not major.isdigit() or int(major) < OLDEST_NODE:
        raise SettingsError(f"{node} has version {version!r}; install Node {OLDEST_NODE} or newer with npm")
    return Path(node).resolve()


async def install(name: str, cache: Path) -> Path:
    """The folder with the `node_modules` of package `name`, below `cache`; installs it first if it is missing.

    Two starts at once install twice, and the second adopts the folder of the first. Raises SettingsError when npm
    fails.
    """
    package = PACKAGES / name
    digest = hashlib.sha256((package / LOCK).read_bytes()).hexdigest()[:16]
    installed = cache.resolve() / "node" / digest
    if installed.is_dir():
        return installed
    logger.info("installing %s into %s with `npm ci`", name, installed)
    installed.parent.mkdir(parents=True, exist_ok=True)
    fresh = Path(tempfile.mkdtemp(prefix="install-", dir=installed.parent))
    try:
        fresh.chmod(0o755)  # the fence's user reads it
        for file in ("package.json", LOCK):
            shutil.copy(package / file, fresh / file)
        await _npm_ci(fresh)
        try:
            fresh.rename(installed)
        except OSError:
            if not installed.is_dir():
                raise
    finally:
        shutil.rmtree(fresh, ignore_errors=True)
    return installed


async def _npm_ci(folder: Path) -> None:
    command = ("npm", "ci", "--ignore-scripts", "--no-audit", "--no-fund")
    environment = {**os.environ, "PLAYWRIGHT_SKIP_BROWSER_DOWNLOAD": "1"}
    process = await asyncio.create_subprocess_exec(
        *command,
        cwd=folder,
        env=environment,
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.DEVNULL,
        stderr=asyncio.subprocess.PIPE,
    )
    try:
        _, errors = await asyncio.wait_for(process.communicate(), INSTALL_TIMEOUT_S)
    except BaseException:
        process.kill()
        await process.wait()
        raise
    if process.returncode != 0:
        said = " ".join(errors.decode("utf-8", "replace").split())[:300]
        raise SettingsError(
            f"`{' '.join(command)}` failed in a copy of {PACKAGES.name}: {said}; check npm's registry and the network"
        )
