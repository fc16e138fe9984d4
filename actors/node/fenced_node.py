"""Runs Node programs and Chromium in bubblewrap: no network, no files of the host, bounded in-memory files.

Every run has a fresh folder `/specs` with the given files, and a folder `/report`. Both are in memory inside the fence,
like `/tmp`: nothing is left for the next run, and a full folder takes no space of the host. At the end the fence packs
the report and the pictures into one file of bounded size.
"""

import asyncio
import contextlib
import os
import re
import tarfile
import tempfile
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from actors.fence import LARGEST_FILE, NOBODY, bubblewrap, check_installed, end_process, limited, sizes_tmpfs
from actors.mirror.folder import Mirror
from actors.node.package import find_node, install
from actors.node.request_server import RequestServer
from actors.settings import BrowserSettings
from rollout.errors import BrowserFault

SCRIPT = """
cp -R /input/. /specs/ || exit 98
cd /specs
"$@" 3>&-
status=$?
times > /report/cpu
cd /
find report -maxdepth 1 -type f -print0 > /tmp/packed
find specs -type f -name '*.png' -size -65536k -print0 | sort -z >> /tmp/packed
tar --create --null --no-recursion --files-from=/tmp/packed >&3 2> /dev/null
exit $status
"""
"""Runs a command; then packs the files of /report, the command's CPU times among them, and the pictures, into file
descriptor 3. The kernel ends `tar` at the largest size of a file."""
TIMES = re.compile(r"(\d+)m([\d.]+)s")
POLL_S = 0.02
START_TIMEOUT_S = 60.0
HARNESS = Path(__file__).parent / "harness"
"""Modules of the harnesses of all programs, mounted at /relook."""
FOLDER_BYTES = 256 << 20
"""Size of each in-memory folder: /specs, /report, /tmp and /dev/shm."""
LARGEST_REPORT = 16 << 20


class RunTimeout(BrowserFault):
    """A run exceeded its time."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Ended:
    """A run that ended."""

    status: int
    log: str
    """The end of the program's output, in one line."""
    report: Mapping[str, bytes] = field(repr=False)
    """Files of /report by name, each of bounded size."""
    pictures: Mapping[str, bytes] = field(repr=False)
    """PNG files of /specs that the run wrote, by relative path, bounded in their sum."""
    refused: tuple[str, ...]
    """Addresses of refused requests."""
    seconds: float
    cpu_seconds: float


class FencedNode:
    """Runs one program of a Node package, one run at a time. Use `start`."""

    def __init__(self, program: list[str], fence: list[str], mirror: Mirror | None) -> None:
        self.program = program
        self.mirror = mirror
        self._fence = fence
        self._running: int | None = None
        self._stopped = False
        self._turn = asyncio.Lock()

    @classmethod
    async def start(
        cls, package: str, cli: str, mounted: Mapping[str, Path], chromium: Path, settings: BrowserSettings, cache: Path
    ) -> "FencedNode":
        """Installs a package below `cache`; it is mounted at `/<package>` and `cli` is the path of its program there.

        `mounted` are further folders by their path in the fence. Raises SettingsError when Node or npm is missing or
        `settings.mirror` is not a mirror, BrowserFault when the fence cannot be built on this machine.
        """
        mirror = Mirror(settings.mirror) if settings.mirror is not None else None
        node = find_node()
        installed = await install(package, cache)
        fence = limited(settings.memory_mb) + bubblewrap((node.parent, chromium.parent), tmpfs_bytes=FOLDER_BYTES)
        for folder in ("/specs", "/report"):
            fence += ["--size", str(FOLDER_BYTES), "--tmpfs", folder]
        for place, path in {"/relook": HARNESS, f"/{package}": installed, **mounted}.items():
            fence += ["--ro-bind", str(path), place]
        check_installed(fence)
        if not sizes_tmpfs():
            raise BrowserFault("bubblewrap cannot bound in-memory folders; install bubblewrap 0.7 or newer")
        return cls([str(node), f"/{package}/{cli}"], fence, mirror)

    async def version(self) -> str:
        """Starts the program once; returns the printed version. Raises BrowserFault when it does not start."""
        ended = await self.run(["--version"], {}, {}, START_TIMEOUT_S)
        if ended.status != 0:
            raise BrowserFault(f"{Path(self.program[1]).name} does not start in bubblewrap: {ended.log}")
        return ended.log

    async def stop(self) -> None:
        """Ends the running program, whose run raises BrowserFault, and waits until its folder is removed."""
        self._stopped = True
        if self._running is not None:
            await end_process(self._running, wrapped=True)
        async with self._turn:
            pass

    async def run(
        self, arguments: list[str], files: Mapping[str, bytes], environment: Mapping[str, str], timeout_s: float
    ) -> Ended:
        """Runs the program in /specs with `files`, by relative path.

        Raises RunTimeout after `timeout_s`, ValueError for a path that leaves the folder.
        """
        async with self._turn:
            with tempfile.TemporaryDirectory(prefix="relook-specs-", ignore_cleanup_errors=True) as name:
                return await self._run(Path(name), arguments, files, environment, timeout_s)

    async def _run(
        self,
        folder: Path,
        arguments: list[str],
        files: Mapping[str, bytes],
        environment: Mapping[str, str],
        timeout_s: float,
    ) -> Ended:
        started = time.monotonic()
        await asyncio.to_thread(_write, folder, files)
        server = RequestServer(self.mirror)
        await server.start(folder / "mirror.sock")
        try:
            _give(folder / "mirror.sock")
            fence = [*self._fence, "--ro-bind", str(folder / "input"), "/input"]
            fence += ["--ro-bind", str(folder / "hosts"), "/etc/hosts"]
            fence += ["--ro-bind", str(folder / "mirror.sock"), "/mirror.sock", "--chdir", "/specs"]
            command = [*fence, "sh", "-c", SCRIPT, "sh", *self.program, *arguments]
            status = await self._fenced(command, folder, environment, timeout_s)
        finally:
            await server.stop()
        packed = await asyncio.to_thread(_unpacked, folder / "packed")
        report = {name.removeprefix("report/"): data for name, data in packed.items() if name.startswith("report/")}
        pictures = {name.removeprefix("specs/"): data for name, data in packed.items() if name.startswith("specs/")}
        return Ended(
            status=status,
            log=_tail(folder / "log"),
            report={name: data for name, data in report.items() if len(data) <= LARGEST_REPORT},
            pictures={name: data for name, data in pictures.items() if name not in files},
            refused=server.refused,
            seconds=time.monotonic() - started,
            cpu_seconds=_cpu_seconds(report.get("cpu", b"")),
        )

    async def _fenced(self, command: list[str], folder: Path, environment: Mapping[str, str], timeout_s: float) -> int:
        """The exit status of a command; its process is ended in any case. Raises BrowserFault after `timeout_s`."""
        if self._stopped:
            raise BrowserFault("the runner of specifications is stopped; cannot run")
        self._running = pid = _spawn(command, folder, environment)
        deadline = time.monotonic() + timeout_s
        try:
            while time.monotonic() < deadline:
                try:
                    ended, status = os.waitpid(pid, os.WNOHANG)
                except ChildProcessError as error:
                    raise BrowserFault("the runner of specifications was stopped during a run") from error
                if ended:
                    self._running = None
                    if self._stopped:
                        raise BrowserFault("the runner of specifications was stopped during a run")
                    return os.waitstatus_to_exitcode(status)
                await asyncio.sleep(POLL_S)
            raise RunTimeout(f"the specifications did not end within {timeout_s:g} s")
        finally:
            if self._running is not None:
                self._running = None
                await end_process(pid, wrapped=True)


def _spawn(command: list[str], folder: Path, environment: Mapping[str, str]) -> int:
    """Starts `command` in a new session with a minimal environment; its output goes to the folder's `log`."""
    flags = os.O_WRONLY | os.O_CREAT | os.O_TRUNC
    actions = [
        (os.POSIX_SPAWN_OPEN, 0, os.devnull, os.O_RDONLY, 0),
        (os.POSIX_SPAWN_OPEN, 1, str(folder / "log"), flags, 0o600),
        (os.POSIX_SPAWN_DUP2, 1, 2),
        (os.POSIX_SPAWN_OPEN, 3, str(folder / "packed"), flags, 0o600),
    ]
    base = {"PATH": "/usr/local/bin:/usr/bin:/bin", "HOME": "/tmp", "LANG": "C.UTF-8"}
    return os.posix_spawnp(command[0], command, {**environment, **base}, file_actions=actions, setsid=True)


def _give(path: Path) -> None:
    """Makes the fence's user the owner."""
    if os.getuid() == 0:
        os.chown(path, NOBODY, NOBODY)


def _write(folder: Path, files: Mapping[str, bytes]) -> None:
    """Writes the run's files. Raises ValueError for a path that leaves the folder."""
    folder.chmod(0o711)
    (folder / "hosts").write_text("127.0.0.1 localhost\n")
    top = folder / "input"
    top.mkdir()
    for name, content in files.items():
        path = top / name
        if not path.resolve().is_relative_to(top.resolve()):
            raise ValueError(f"{name!r} is outside the run's folder")
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
    _give(top)
    for root, folders, names in os.walk(top):
        for name in (*folders, *names):
            _give(Path(root, name))


def _unpacked(archive: Path) -> dict[str, bytes]:
    """Regular files of an archive that the fence wrote, by path. An archive that was cut holds its first files."""
    found: dict[str, bytes] = {}
    with contextlib.suppress(tarfile.TarError, OSError), tarfile.open(archive, mode="r:") as tar:
        for member in tar:
            data = tar.extractfile(member) if member.isreg() else None
            if data is not None:
                content = data.read(LARGEST_FILE)
                if len(content) == member.size:
                    found[member.name] = content
    return found


def _cpu_seconds(times: bytes) -> float:
    """CPU seconds of the command and its children, as the shell's `times` prints them: `0m1.50s 0m0.25s`."""
    found = TIMES.findall(times.decode("utf-8", "replace").partition("\n")[2])
    return sum(60 * int(minutes) + float(seconds) for minutes, seconds in found)


def _tail(log: Path) -> str:
    with log.open("rb") as file:
        file.seek(max(0, log.stat().st_size - 2000))
        return " ".join(file.read().decode("utf-8", "replace").split())[-300:]
