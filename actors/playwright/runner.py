"""Runs Playwright Test on untrusted pages and specifications: Node and Chromium in bubblewrap, without a network."""

import json
from pathlib import Path

from actors.browser.chromium.launch import find_executable
from actors.mirror.folder import Mirror
from actors.node.fenced_node import FencedNode
from actors.node.package import find_node, install
from actors.node.records import SpecReport, SpecRun
from actors.node.report import spec_report
from actors.settings import BrowserSettings
from rollout.errors import BrowserFault

HARNESS = Path(__file__).parent / "harness"
ORIGIN = "http://localhost:3000"
"""Base URL of a served folder, inside the fence."""
CLI = "/playwright/node_modules/@playwright/test/cli.js"
CONFIG = "/node_modules/@playwright/test/config.js"
START_TIMEOUT_S = 30.0
NOT_STARTED = "browserType.launch: "
"""Beginning of Playwright's error for a browser that does not start."""


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
        self._node: FencedNode | None = None
        self._command: list[str] = []
        self._chromium = ""

    async def start(self) -> None:
        """Installs the Node package and starts Node in the fence once.

        Raises SettingsError when Node or npm is missing, BrowserFault when Chromium or the fence is.
        """
        node, chromium = find_node(), find_executable(self.settings.executable)
        package = await install("playwright", self.cache)
        self._command, self._chromium = [str(node), CLI], str(chromium.resolve())
        self._node = FencedNode(
            readable=(node.parent, chromium.resolve().parent),
            mounted={"/playwright": package, "/node_modules/@playwright/test": HARNESS},
            memory_mb=self.settings.memory_mb,
            mirror=self.mirror,
        )
        self._node.check()
        await self.ping()

    async def ping(self) -> str:
        """Health check: starts Playwright Test in the fence; returns the runner's name. Raises BrowserFault."""
        ended = await self._started().run([*self._command, "--version"], {}, {}, START_TIMEOUT_S)
        if ended.status != 0:
            raise BrowserFault(f"Playwright Test does not start in bubblewrap: {ended.log}")
        self.name = f"Playwright {ended.log.removeprefix('Version ')}"
        return self.name

    async def stop(self) -> None:
        """Ends the running tests, whose run raises BrowserFault, and waits until their files are removed."""
        if self._node is not None:
            await self._node.stop()

    async def run(self, spec: SpecRun) -> SpecReport:
        """Runs every test of the specification files.

        Raises BrowserFault when a file could not be run, the browser was lost, or the run exceeded its time.
        """
        command = [*self._command, "test", "--config", CONFIG]
        environment = {**spec.environment, "RELOOK_RUN": self._description(spec)}
        ended = await self._started().run(command, spec.files, environment, spec.run_timeout_s)
        report = spec_report(ended, spec.specs)
        unstarted = next((result.error for result in report.results if NOT_STARTED in result.error), None)
        if unstarted is not None:
            raise BrowserFault(f"Chromium did not start: {unstarted}")
        return report

    def _started(self) -> FencedNode:
        if self._node is None:
            raise BrowserFault("the Playwright runner is not started; cannot run")
        return self._node

    def _description(self, spec: SpecRun) -> str:
        """The run as harness/config.js reads it."""
        return json.dumps(
            {
                "specs": spec.specs,
                "test_timeout_ms": int(spec.test_timeout_s * 1000),
                "expect_timeout_ms": int(spec.expect_timeout_s * 1000),
                "viewport": spec.viewport,
                "chromium": self._chromium,
                "served": spec.served,
                "origin": ORIGIN,
            }
        )
