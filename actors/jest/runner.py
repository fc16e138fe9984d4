"""Runs jest tests that open untrusted pages with puppeteer: Node and Chromium in bubblewrap, without a network."""

import json
from pathlib import Path

from actors.browser.chromium.launch import find_executable
from actors.node.fenced_node import FencedNode
from actors.node.records import SpecReport, SpecRun
from actors.node.report import spec_report
from actors.settings import BrowserSettings
from rollout.errors import BrowserFault

HARNESS = Path(__file__).parent / "harness"
CLI = "node_modules/jest/bin/jest.js"


class JestRunner:
    """Runs test files, one run at a time, each in a fresh folder. See `actors.playwright.runner.PlaywrightRunner`.

    A file that cannot run has one failed result with an empty title.
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
        self._node = await FencedNode.start("jest", CLI, {"/harness": HARNESS}, chromium, self.settings, self.cache)
        await self.ping()

    async def ping(self) -> str:
        """Health check: starts jest in the fence; returns the runner's name. Raises BrowserFault."""
        self.name = f"jest {await self._started().version()}"
        return self.name

    async def stop(self) -> None:
        """Ends the running tests, whose run raises BrowserFault, and waits until their files are removed."""
        if self._node is not None:
            await self._node.stop()

    async def run(self, spec: SpecRun) -> SpecReport:
        """Runs every test of the files.

        Raises BrowserFault when jest gave no report, the browser was lost, or the run exceeded its time.
        """
        described = {
            "specs": spec.specs,
            "test_timeout_ms": int(spec.test_timeout_s * 1000),
            "chromium": self._chromium,
            "mirrored": self.settings.mirror is not None,
        }
        environment = {**spec.environment, "RELOOK_RUN": json.dumps(described)}
        arguments = ["--config", "/harness/config.js", "--ci"]
        ended = await self._started().run(arguments, spec.files, environment, spec.run_timeout_s)
        return spec_report(ended, spec)

    def _started(self) -> FencedNode:
        if self._node is None:
            raise BrowserFault("the jest runner is not started; cannot run")
        return self._node
