"""Finds Chromium (headless shell first), isolates it, starts it and ends it with all its children."""

import asyncio
import contextlib
import os
import shutil
import signal
import socket
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from actors.browser.chromium.cdp import BrowserLost, CdpPipe
from actors.browser.chromium.flags import FRAME_FLAGS, ISOLATION_FLAGS, LOOK_FLAGS, QUIET_FLAGS, WHOLE_FLAGS
from rollout.errors import BrowserFault

SHELLS = ("chromium-headless-shell", "chrome-headless-shell", "headless_shell")
WHOLE = (
    "/usr/lib/chromium/chromium",
    "/usr/lib/chromium-browser/chromium-browser",
    "/usr/lib64/chromium-browser/chromium-browser",
    "/opt/google/chrome/chrome",
)
"""Paths of whole browsers; commands on the PATH are scripts that add options."""
DOWNLOADED_SHELLS = "chromium_headless_shell-*/*/*headless*shell"
"""Playwright's downloads of the headless shell, below `~/.cache/ms-playwright`."""
DOWNLOADED = "chromium-*/*/chrome"
"""Playwright's downloads of whole browsers, in the same folder."""
NOBODY = 65534
START_TIMEOUT_S = 30.0
END_TIMEOUT_S = 5.0
LARGEST_FILE = 64 << 20


@dataclass(frozen=True, slots=True, kw_only=True)
class Isolation:
    """One level of browser isolation."""

    name: str
    namespaces: bool
    """Bubblewrap: own network (none), process table, file tree and users."""
    sandbox: bool
    """Chromium's renderer sandbox."""


ISOLATIONS = (
    Isolation(name="bubblewrap and sandbox", namespaces=True, sandbox=True),
    Isolation(name="sandbox alone", namespaces=False, sandbox=True),
    Isolation(name="bubblewrap alone", namespaces=True, sandbox=False),
    Isolation(name="none", namespaces=False, sandbox=False),
)
"""Best first; unsupported ones (mostly user namespaces) fall back to the next."""


class Process:
    """A running Chromium and its DevTools pipe."""

    def __init__(self, pid: int, pipe: CdpPipe, profile: Path | None) -> None:
        self.pid = pid
        self.pipe = pipe
        self.profile = profile
        self.version = ""

    @property
    def framed(self) -> bool:
        """Whether frames are drawn on request: by headless shells, not by a whole Chromium."""
        return self.version.startswith("Headless")

    @property
    def alive(self) -> bool:
        """Whether the DevTools pipe is open."""
        return not self.pipe.lost

    async def end(self) -> None:
        """Kills the browser with its children, and reaps it."""
        try:
            await _end(self.pid, wrapped=self.profile is None)
        finally:
            await self.pipe.close()
            if self.profile is not None:
                shutil.rmtree(self.profile, ignore_errors=True)


def find_executable(wanted: Path | None) -> Path:
    """The headless shell, else a whole Chromium. Raises BrowserFault with what to install."""
    if wanted is not None:
        if not os.access(wanted, os.X_OK):
            raise BrowserFault(
                f"browser.executable is {str(wanted)!r}, which is not an executable file; name a Chromium, or remove "
                "the setting to use an installed one"
            )
        return wanted
    installed = (Path(path) for name in SHELLS if (path := shutil.which(name)))
    found = next(installed, None) or _downloaded(DOWNLOADED_SHELLS) or find_whole()
    if found is not None:
        return found
    raise BrowserFault(
        "no Chromium is installed; looked on the PATH for "
        f"{', '.join(SHELLS)}, in ~/.cache/ms-playwright and for {', '.join(WHOLE)}; install the headless shell with "
        "`apt-get install chromium-headless-shell` or `playwright install chromium-headless-shell`, "
        "or name a browser in browser.executable"
    )


def find_whole() -> Path | None:
    """A whole Chromium, without frame control; None if not installed."""
    return next((Path(path) for path in WHOLE if os.access(path, os.X_OK)), None) or _downloaded(DOWNLOADED)


def _downloaded(pattern: str) -> Path | None:
    """The newest of Playwright's downloads."""
    return max(Path.home().glob(f".cache/ms-playwright/{pattern}"), default=None)


async def launch(executable: Path, *, memory_mb: int, isolation: Isolation, whole: bool = False) -> Process:
    """Starts the browser with an isolation. Raises BrowserFault when it does not start.

    `whole` draws beyond the viewport, for full-page screenshots.
    """
    profile = None if isolation.namespaces else _profile()
    command = _command(executable, memory_mb, isolation, profile)
    command += WHOLE_FLAGS if whole else ()
    _check_installed(command)
    ours, theirs = socket.socketpair()
    with theirs:
        pid = _spawn(command, theirs)
    pipe = await CdpPipe.open(ours)
    process = Process(pid=pid, pipe=pipe, profile=profile)
    try:
        answer = await asyncio.wait_for(pipe.post("Browser.getVersion"), START_TIMEOUT_S)
    except (BrowserLost, TimeoutError) as error:
        await process.end()
        raise BrowserFault(f"{executable} did not start with isolation {isolation.name!r}: {error!r}") from error
    except BaseException:
        await process.end()
        raise
    process.version = str(answer["product"])
    return process


def _command(executable: Path, memory_mb: int, isolation: Isolation, profile: Path | None) -> list[str]:
    home = str(profile or "/tmp")
    limits = f"--data={memory_mb << 20}", "--core=0", f"--fsize={LARGEST_FILE}"
    command = ["prlimit", *limits, "--"]
    if os.getuid() == 0 and (isolation.namespaces or isolation.sandbox):
        command += ["setpriv", f"--reuid={NOBODY}", f"--regid={NOBODY}", "--clear-groups", "--pdeathsig=KILL"]
    else:
        command += ["setpriv", "--pdeathsig=KILL"]
    if isolation.namespaces:
        command += _bubblewrap(executable)
    command += [str(executable), *QUIET_FLAGS, *LOOK_FLAGS, *FRAME_FLAGS, *ISOLATION_FLAGS]
    command += [] if isolation.sandbox else ["--no-sandbox"]
    return [*command, "--remote-debugging-pipe", f"--user-data-dir={home}/profile"]


def _bubblewrap(executable: Path) -> list[str]:
    """New namespaces, read-only /usr, and in-memory files that vanish with the process."""
    command = ["bwrap", "--unshare-all", "--die-with-parent", "--ro-bind", "/usr", "/usr"]
    for link in ("/lib", "/lib64", "/bin"):
        if Path(link).is_symlink():
            command += ["--symlink", str(Path(link).readlink()), link]
        else:
            command += ["--ro-bind-try", link, link]
    for path in ("/etc/fonts", "/etc/ld.so.cache", "/etc/alternatives", "/var/cache/fontconfig"):
        command += ["--ro-bind-try", path, path]
    command += ["--proc", "/proc", "--dev", "/dev", "--tmpfs", "/tmp", "--tmpfs", "/dev/shm"]
    if not executable.resolve().is_relative_to("/usr"):
        command += ["--ro-bind", str(executable.resolve().parent), str(executable.resolve().parent)]
    return command


def _profile() -> Path:
    profile = Path(tempfile.mkdtemp(prefix="relook-browser-"))
    if os.getuid() == 0:
        os.chown(profile, NOBODY, NOBODY)
    return profile


def _spawn(command: list[str], end: socket.socket) -> int:
    """Starts `command` in a new session, `end` as descriptors 3 and 4, output discarded.

    Chromium copies the page's console to stderr, which could fill the disk.
    """
    quiet = [(os.POSIX_SPAWN_OPEN, fd, os.devnull, os.O_RDWR, 0) for fd in (0, 1, 2)]
    ends = [(os.POSIX_SPAWN_DUP2, end.fileno(), fd) for fd in (3, 4)]
    environment = {"PATH": "/usr/local/bin:/usr/bin:/bin", "HOME": "/tmp", "LANG": "C.UTF-8"}
    return os.posix_spawnp(command[0], command, environment, file_actions=[*quiet, *ends], setsid=True)


def _check_installed(command: list[str]) -> None:
    for word, package in (("prlimit", "util-linux"), ("setpriv", "util-linux"), ("bwrap", "bubblewrap")):
        if word in command and shutil.which(word) is None:
            raise BrowserFault(f"{word!r} is not on the PATH; install {package}")


async def _end(pid: int, *, wrapped: bool) -> None:
    """Ends a process with its children and reaps it.

    Bubblewrap reaps a child that ends, then exits; if killed itself, it leaves the child to an init that may not reap.
    So children of a wrapped browser are killed first.
    """
    if wrapped:
        for child in _children(pid):
            with contextlib.suppress(ProcessLookupError):
                os.kill(child, signal.SIGKILL)
        if await _gone(pid, END_TIMEOUT_S):
            return
    with contextlib.suppress(ProcessLookupError):
        os.killpg(pid, signal.SIGKILL)
    if not await _gone(pid, END_TIMEOUT_S):
        raise BrowserFault(f"browser process {pid} still exists {END_TIMEOUT_S:g} s after SIGKILL")


async def _gone(pid: int, patience: float) -> bool:
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
