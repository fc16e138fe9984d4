"""Base class of the runners of specifications: a program of a Node package, and Chromium, in the fence."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any, ClassVar

from actors.browser.chromium.launch import find_executable
from actors.node.fenced_node import FencedNode, RunTimeout
from actors.node.records import SpecReport, SpecRun
from actors.node.report import failed, spec_report
from actors.settings import BrowserSettings
from rollout.errors import BrowserFault


class NodeRunner:
    """Runs specifications, one run at a time, each in a fresh folder; subclasses name the program and its arguments."""

    label: ClassVar[str]
    """The program's name in messages and reports."""
    package: ClassVar[str]
    """The Node package in `deploy/node`."""
    cli: ClassVar[str]
    """Path of the program in the package."""
    mounted: ClassVar[Mapping[str, Path]]
    """Folders of the harness by their path in the fence."""

    def __init__(self, settings: BrowserSettings, cache: Path) -> None:
        """`cache` is the folder below which the Node package is installed."""
        self.settings = settings
        self.cache = cache
        self.name = ""
        self.chromium = ""
        self._node: FencedNode | None = None

    async def start(self) -> None:
        """Installs the Node package and starts it in the fence once.

        Raises SettingsError when Node, npm or the mirror is missing, BrowserFault when Chromium or the fence is.
        """
        chromium = find_executable(self.settings.executable).resolve()
        self.chromium = str(chromium)
        self._node = await FencedNode.start(self.package, self.cli, self.mounted, chromium, self.settings, self.cache)
        await self.ping()

    async def ping(self) -> str:
        """Health check: starts the program in the fence; returns the runner's name. Raises BrowserFault."""
        self.name = f"{self.label} {(await self._started().version()).removeprefix('Version ')}"
        return self.name

    async def stop(self) -> None:
        """Ends the running tests, whose run raises BrowserFault, and waits until their files are removed."""
        if self._node is not None:
            await self._node.stop()

    async def report(self, arguments: list[str], described: Mapping[str, Any], spec: SpecRun) -> SpecReport:
        """Runs the program; `described` is the run as the harness reads it.

        Raises BrowserFault for a run without a report or browser, and for one that exceeds its time; with
        `SpecRun.faults_fail` only for a lost browser.
        """
        environment = {**spec.environment, "RELOOK_RUN": json.dumps(described)}
        try:
            ended = await self._started().run(arguments, spec.files, environment, spec.run_timeout_s)
        except RunTimeout as fault:
            if not spec.faults_fail:
                raise
            return SpecReport(results=failed(spec.specs, str(fault)), seconds=spec.run_timeout_s)
        return spec_report(ended, spec)

    def _started(self) -> FencedNode:
        if self._node is None:
            raise BrowserFault(f"the {self.label} runner is not started; cannot run")
        return self._node
