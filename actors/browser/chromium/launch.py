"""Finds Chromium (headless shell first), isolates it, starts it and ends it with all its children."""

import asyncio
import os
import shutil
import socket
import tempfile
from dataclasses import dataclass
from pathlib import Path

from actors.browser.chromium.cdp import BrowserLost, CdpPipe
from actors.browser.chromium.flags import FRAME_FLAGS, ISOLATION_FLAGS, LOOK_FLAGS, QUIET_FLAGS, WHOLE_FLAGS
from actors.fence import NOBODY, bubblewrap, check_installed, end_process, limited
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
START_TIMEOUT_S = 30.0


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
            await end_process(self.pid, wrapped=self.profile is None)
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
    check_installed(command)
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
    command = limited(memory_mb, unprivileged=isolation.namespaces or isolation.sandbox)
    if isolation.namespaces:
        command += bubblewrap((executable.resolve().parent,))
    command += [str(executable), *QUIET_FLAGS, *LOOK_FLAGS, *FRAME_FLAGS, *ISOLATION_FLAGS]
    command += [] if isolation.sandbox else ["--no-sandbox"]
    return [*command, "--remote-debugging-pipe", f"--user-data-dir={home}/profile"]


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
