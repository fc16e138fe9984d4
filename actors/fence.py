"""The fence of untrusted processes: bubblewrap's namespaces, an unprivileged user, and an end with all children."""

import asyncio
import contextlib
import os
import shutil
import signal
import subprocess
from collections.abc import Iterable, Iterator, Sequence
from functools import cache
from pathlib import Path

from rollout.errors import BrowserFault

NOBODY = 65534
"""User and group of untrusted processes that root starts."""
END_TIMEOUT_S = 5.0
LARGEST_FILE = 64 << 20


def limited(memory_mb: int, *, unprivileged: bool = True) -> list[str]:
    """The command that limits a process's data and files, drops root with `unprivileged`, and ends with its parent."""
    command = ["prlimit", f"--data={memory_mb << 20}", "--core=0", f"--fsize={LARGEST_FILE}", "--", "setpriv"]
    if os.getuid() == 0 and unprivileged:
        command += [f"--reuid={NOBODY}", f"--regid={NOBODY}", "--clear-groups"]
    return [*command, "--pdeathsig=KILL"]


def bubblewrap(readable: Iterable[Path] = (), *, tmpfs_bytes: int | None = None) -> list[str]:
    """The command of new namespaces, read-only /usr and `readable` folders, and in-memory files that vanish with the
    process; /tmp and /dev/shm hold up to `tmpfs_bytes` each, see `sizes_tmpfs`."""
    command = ["bwrap", "--unshare-all", "--die-with-parent", "--ro-bind", "/usr", "/usr"]
    for link in ("/lib", "/lib64", "/bin"):
        if Path(link).is_symlink():
            command += ["--symlink", str(Path(link).readlink()), link]
        else:
            command += ["--ro-bind-try", link, link]
    for path in ("/etc/fonts", "/etc/ld.so.cache", "/etc/alternatives", "/var/cache/fontconfig"):
        command += ["--ro-bind-try", path, path]
    command += ["--proc", "/proc", "--dev", "/dev"]
    for path in ("/tmp", "/dev/shm"):
        command += ["--tmpfs", path] if tmpfs_bytes is None else ["--size", str(tmpfs_bytes), "--tmpfs", path]
    for folder in readable:
        if not folder.is_relative_to("/usr"):
            command += ["--ro-bind", str(folder), str(folder)]
    return command


@cache
def sizes_tmpfs() -> bool:
    """Whether this machine's bubblewrap bounds in-memory folders (0.7 or newer)."""
    usage = subprocess.run(("bwrap", "--help"), capture_output=True, text=True, check=False)
    return "--size" in usage.stdout + usage.stderr


def check_installed(command: Sequence[str]) -> None:
    """Raises BrowserFault when a program that `command` isolates with is not installed."""
    for word, package in (("prlimit", "util-linux"), ("setpriv", "util-linux"), ("bwrap", "bubblewrap")):
        if word in command and shutil.which(word) is None:
            raise BrowserFault(f"{word!r} is not on the PATH; install {package}")


async def end_process(pid: int, *, wrapped: bool) -> None:
    """Ends a process with its children and reaps it. Raises BrowserFault when it does not end.

    Bubblewrap reaps a child that ends, then exits; if killed itself, it leaves the child to an init that may not reap.
    So children of a wrapped process are killed first.
    """
    if wrapped:
        for child in _children(pid):
            with contextlib.suppress(ProcessLookupError):
                os.kill(child, signal.SIGKILL)
        if await _reaped(pid, END_TIMEOUT_S):
            return
    with contextlib.suppress(ProcessLookupError):
        os.killpg(pid, signal.SIGKILL)
    if not await _reaped(pid, END_TIMEOUT_S):
        raise BrowserFault(f"process {pid} still exists {END_TIMEOUT_S:g} s after SIGKILL")


async def _reaped(pid: int, patience: float) -> bool:
    """Whether child process `pid` ends, and is reaped, within `patience` seconds."""
    for _ in range(int(patience / 0.01)):
        try:
            if os.waitpid(pid, os.WNOHANG) != (0, 0):
                return True
        except ChildProcessError:  # already reaped elsewhere in this process
            return True
        await asyncio.sleep(0.01)
    return False


def _children(pid: int) -> Iterator[int]:
    with contextlib.suppress(FileNotFoundError, ProcessLookupError):
        yield from map(int, Path(f"/proc/{pid}/task/{pid}/children").read_text().split())
