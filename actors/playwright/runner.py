"""Runs Playwright Test on untrusted pages and specifications: Node and Chromium in bubblewrap, without a network."""

import asyncio
import json
import os
import re
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

from actors.browser.chromium.launch import find_executable
from actors.fence import NOBODY, bubblewrap, check_installed, end_process, limited
from actors.mirror.folder import Mirror
from actors.playwright.json_report import failed, read_report
from actors.playwright.node_package import find_node, install
from actors.playwright.records import SpecReport, SpecRun
from actors.playwright.request_server import RequestServer
from actors.settings import BrowserSettings
from rollout.errors import BrowserFault

HARNESS = Path(__file__).parent / "harness"
ORIGIN = "http://localhost:3000"
"""Base URL of a served folder, inside the fence."""
CLI = "/playwright/node_modules/@playwright/test/cli.js"
TIMED = '"$@"; status=$?; times > /report/cpu; exit $status'
"""Runs a command and writes its CPU times; bubblewrap does not pass them on."""
TIMES = re.compile(r"(\d+)m([\d.]+)s")
START_TIMEOUT_S = 30.0
POLL_S = 0.02
LARGEST_PICTURES = 64 << 20
"""Bytes of all pictures of a run."""
LARGEST_REPORT = 16 << 20


class _NoReport(BrowserFault):
    """A run exceeded its time, or ended without a report."""


class PlaywrightRunner:
    """Runs specifications, one run at a time, each in a fresh folder and a fresh browser.

    `cache` is the folder below which the Node package is installed. Raises SettingsError when `settings.mirror` is not
    a mirror.
    """

    def __init__(self, settings: BrowserSettings, cache: Path) -> None:
        self.settings = settings
        self.cache = cache
        self.mirror = Mirror(settings.mirror) if settings.mirror is not None else None
        self.name = ""
        self._paths: tuple[Path, Path, Path] | None = None
        self._running: int | None = None
        self._turn = asyncio.Lock()

    async def start(self) -> None:
        """Installs the Node package and starts Node in the fence once.

        Raises SettingsError when Node or npm is missing, BrowserFault when Chromium or the fence is.
        """
        node = await asyncio.to_thread(find_node)
        chromium = find_executable(self.settings.executable)
        self._paths = node, chromium, await install(self.cache)
        await self.ping()

    async def ping(self) -> str:
        """Health check: starts Playwright Test in the fence; returns the runner's name. Raises BrowserFault."""
        async with self._turn:
            with tempfile.TemporaryDirectory(prefix="relook-specs-", ignore_cleanup_errors=True) as name:
                folder = _folders(Path(name))
                status, _ = await self._fenced(folder, ["--version"], {}, START_TIMEOUT_S)
                said = _tail(folder / "log")
            if status != 0:
                raise BrowserFault(f"Playwright Test does not start in bubblewrap: {said}")
            self.name = f"Playwright {said.removeprefix('Version ')}"
        return self.name

    async def stop(self) -> None:
        """Ends the running tests, whose run raises BrowserFault."""
        if self._running is not None:
            await end_process(self._running, wrapped=True)

    async def run(self, spec: SpecRun) -> SpecReport:
        """Runs every test of the specification files.

        Raises BrowserFault when a file could not be run, or the run exceeded its time.
        """
        async with self._turn:
            with tempfile.TemporaryDirectory(prefix="relook-specs-", ignore_cleanup_errors=True) as name:
                return await self._run(spec, _folders(Path(name)))

    async def _run(self, spec: SpecRun, folder: Path) -> SpecReport:
        started = time.monotonic()
        await asyncio.to_thread(_write, folder / "specs", spec)
        server = RequestServer(self.mirror)
        await server.start(folder / "mirror.sock")
        try:
            _give(folder / "mirror.sock")
            command = ["test", "--config", "/node_modules/@playwright/test/config.js"]
            environment = {**spec.environment, "RELOOK_RUN": self._description(spec)}
            status, cpu_seconds = await self._fenced(folder, command, environment, spec.run_timeout_s)
            report = _text(folder / "report" / "report.json")
            if report is None:
                said = _tail(folder / "log")
                raise _NoReport(f"Playwright Test ended with status {status} and no report: {said}")
        except _NoReport as fault:
            if not spec.faults_fail:
                raise
            return SpecReport(results=failed(spec.specs, str(fault)), seconds=time.monotonic() - started)
        finally:
            await server.stop()
        return SpecReport(
            results=read_report(report, spec.specs, faults_fail=spec.faults_fail),
            pictures=await asyncio.to_thread(_pictures, folder / "specs", spec),
            refused=server.refused,
            seconds=time.monotonic() - started,
            cpu_seconds=cpu_seconds,
        )

    def _description(self, spec: SpecRun) -> str:
        """The run as harness/config.js reads it."""
        assert self._paths is not None
        return json.dumps(
            {
                "specs": spec.specs,
                "test_timeout_ms": int(spec.test_timeout_s * 1000),
                "expect_timeout_ms": int(spec.expect_timeout_s * 1000),
                "action_timeout_ms": int(spec.action_timeout_s * 1000),
                "max_failures": spec.max_failures,
                "viewport": spec.viewport,
                "chromium": str(self._paths[1]),
                "served": spec.served,
                "origin": ORIGIN,
            }
        )

    async def _fenced(
        self, folder: Path, arguments: list[str], environment: dict[str, str], timeout_s: float
    ) -> tuple[int, float]:
        """Runs Playwright's command line in the fence; returns its exit status and CPU seconds.

        Raises BrowserFault after `timeout_s`.
        """
        if self._paths is None:
            raise BrowserFault("the Playwright runner is not started; cannot run")
        command = _command(*self._paths, folder, self.settings.memory_mb)
        command += ["sh", "-c", TIMED, "sh", str(self._paths[0]), CLI, *arguments]
        check_installed(command)
        pid = _spawn(command, folder / "log", environment)
        self._running = pid
        deadline = time.monotonic() + timeout_s
        try:
            while time.monotonic() < deadline:
                try:
                    ended, status = os.waitpid(pid, os.WNOHANG)
                except ChildProcessError as error:
                    raise BrowserFault("the Playwright runner was stopped during a run") from error
                if ended:
                    self._running = None
                    return os.waitstatus_to_exitcode(status), _cpu_seconds(folder / "report" / "cpu")
                await asyncio.sleep(POLL_S)
            raise _NoReport(f"Playwright Test did not end within {timeout_s:g} s")
        finally:
            if self._running is not None:
                self._running = None
                await end_process(pid, wrapped=True)


def _command(node: Path, chromium: Path, package: Path, folder: Path, memory_mb: int) -> list[str]:
    """The fence: of the host, only /usr, Node, Chromium, the package and the run's folders are visible."""
    command = limited(memory_mb) + bubblewrap((node.parent, chromium.resolve().parent))
    command += ["--ro-bind", str(package), "/playwright", "--ro-bind", str(HARNESS), "/node_modules/@playwright/test"]
    command += ["--bind", str(folder / "specs"), "/specs", "--bind", str(folder / "report"), "/report"]
    command += ["--ro-bind", str(folder / "hosts"), "/etc/hosts"]
    command += ["--ro-bind-try", str(folder / "mirror.sock"), "/mirror.sock", "--chdir", "/specs"]
    return command


def _spawn(command: list[str], log: Path, environment: dict[str, str]) -> int:
    """Starts `command` in a new session with a minimal environment; its output goes to the file `log`."""
    flags = os.O_WRONLY | os.O_CREAT | os.O_TRUNC
    actions = [
        (os.POSIX_SPAWN_OPEN, 0, os.devnull, os.O_RDONLY, 0),
        (os.POSIX_SPAWN_OPEN, 1, str(log), flags, 0o600),
        (os.POSIX_SPAWN_DUP2, 1, 2),
    ]
    base = {"PATH": "/usr/local/bin:/usr/bin:/bin", "HOME": "/tmp", "LANG": "C.UTF-8"}
    return os.posix_spawnp(command[0], command, {**environment, **base}, file_actions=actions, setsid=True)


def _folders(folder: Path) -> Path:
    """Makes the folders that the fence may write."""
    for name in ("specs", "report"):
        (folder / name).mkdir()
        _give(folder / name)
    (folder / "hosts").write_text("127.0.0.1 localhost\n")
    folder.chmod(0o711)
    return folder


def _give(path: Path) -> None:
    """Makes the fence's user the owner."""
    if os.getuid() == 0:
        os.chown(path, NOBODY, NOBODY)


def _write(folder: Path, spec: SpecRun) -> None:
    """Writes the run's files. Raises ValueError for a path that leaves the folder."""
    for name, content in spec.files.items():
        path = folder / name
        if not path.resolve().is_relative_to(folder.resolve()):
            raise ValueError(f"{name!r} is outside the run's folder")
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
    for root, folders, files in os.walk(folder):
        for name in (*folders, *files):
            _give(Path(root, name))


def _regular(folder: Path) -> Iterator[Path]:
    """Regular files below a folder in order. Links are skipped: the fence could point them at files of the host."""
    for root, folders, files in os.walk(folder):
        folders.sort()
        paths = (Path(root, name) for name in sorted(files))
        yield from (path for path in paths if path.is_file() and not path.is_symlink())


def _pictures(folder: Path, spec: SpecRun) -> dict[str, bytes]:
    found: dict[str, bytes] = {}
    room = LARGEST_PICTURES
    for path in _regular(folder):
        name = path.relative_to(folder).as_posix()
        if path.suffix == ".png" and name not in spec.files and path.stat().st_size <= room:
            found[name] = path.read_bytes()
            room -= len(found[name])
    return found


def _text(path: Path) -> str | None:
    """The text of a regular file of bounded size; None if it is not one."""
    if path.is_symlink() or not path.is_file() or path.stat().st_size > LARGEST_REPORT:
        return None
    return path.read_text(encoding="utf-8", errors="replace")


def _cpu_seconds(path: Path) -> float:
    """CPU seconds of the command and its children, as the shell's `times` prints them: `0m1.50s 0m0.25s`."""
    found = TIMES.findall((_text(path) or "").partition("\n")[2])
    return sum(60 * int(minutes) + float(seconds) for minutes, seconds in found)


def _tail(log: Path) -> str:
    return " ".join((_text(log) or "").split())[-300:]
