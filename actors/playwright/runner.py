"""Runs Playwright Test on untrusted pages and specifications: Node and Chromium in bubblewrap, without a network."""

import json
from pathlib import Path

from actors.browser.chromium.launch import find_executable
from actors.node.fenced_node import FencedNode, RunTimeout
from actors.node.records import SpecReport, SpecRun
from actors.node.report import failed, spec_report
from actors.settings import BrowserSettings
from rollout.errors import BrowserFault

HARNESS = Path(__file__).parent / "harness"
ORIGIN = "http://localhost:3000"
"""Base URL of a served folder, inside the fence."""
CLI = "node_modules/@playwright/test/cli.js"
CONFIG = "/node_modules/@playwright/test/config.js"
NOT_STARTED = "browserType.launch: "
"""Beginning of Playwright's error for a browser that does not start."""


class PlaywrightRunner:
    """Runs specifications, one run at a time, each in a fresh folder and a fresh browser.

    `cache` is the folder below which the Node package is installed.
    """

    def __init__(self, settings: BrowserSettings, cache: Path) -> None:
        self.settings = settings
        self.cache = cache
        self.name = ""
        self._node: FencedNode | None = None
        self._chromium = ""

    async def start(self) -> None:
        """Installs the Node package and starts it in the fence once.

        Raises SettingsError when Node, npm or the mirror is missing, BrowserFault when Chromium or the fence is.
        """
        chromium = find_executable(self.settings.executable).resolve()
        self._chromium = str(chromium)
        mounted = {"/node_modules/@playwright/test": HARNESS}
        self._node = await FencedNode.start("playwright", CLI, mounted, chromium, self.settings, self.cache)
        await self.ping()

    async def ping(self) -> str:
        """Health check: starts Playwright Test in the fence; returns the runner's name. Raises BrowserFault."""
        self.name = f"Playwright {(await self._started().version()).removeprefix('Version ')}"
        return self.name

    async def stop(self) -> None:
        """Ends the running tests, whose run raises BrowserFault, and waits until their files are removed."""
        if self._node is not None:
            await self._node.stop()

    async def run(self, spec: SpecRun) -> SpecReport:
        """Runs every test of the specification files.

        Raises BrowserFault when a file could not be run, the browser was lost, or the run exceeded its time.
        """
        environment = {**spec.environment, "RELOOK_RUN": self._description(spec)}
        arguments = ["test", "--config", CONFIG]
        try:
            ended = await self._started().run(arguments, spec.files, environment, spec.run_timeout_s)
        except RunTimeout as fault:
            if not spec.faults_fail:
                raise
            return SpecReport(results=failed(spec.specs, str(fault)), seconds=spec.run_timeout_s)
        report = spec_report(ended, spec)
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
                "action_timeout_ms": int(spec.action_timeout_s * 1000),
                "max_failures": spec.max_failures,
                "viewport": spec.viewport,
                "chromium": self._chromium,
                "served": spec.served,
                "origin": ORIGIN,
            }
        )
