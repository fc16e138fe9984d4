"""Runs Playwright Test on untrusted pages and specifications: Node and Chromium in bubblewrap, without a network."""

from pathlib import Path

from actors.node.records import SpecReport, SpecRun
from actors.node.runner import NodeRunner
from rollout.errors import BrowserFault

HARNESS = "/node_modules/@playwright/test"
ORIGIN = "http://localhost:3000"
"""Base URL of a served folder, inside the fence."""
NOT_STARTED = "browserType.launch: "
"""Beginning of Playwright's error for a browser that does not start."""


class PlaywrightRunner(NodeRunner):
    """Runs specifications, each run in a fresh browser."""

    label = "Playwright"
    package = "playwright"
    cli = "node_modules/@playwright/test/cli.js"
    mounted = {HARNESS: Path(__file__).parent / "harness"}

    async def run(self, spec: SpecRun) -> SpecReport:
        """Runs every test of the specification files.

        Raises BrowserFault when a file could not be run, the browser was lost, or the run exceeded its time.
        """
        described = {
            "specs": spec.specs,
            "test_timeout_ms": int(spec.test_timeout_s * 1000),
            "expect_timeout_ms": int(spec.expect_timeout_s * 1000),
            "action_timeout_ms": int(spec.action_timeout_s * 1000),
            "max_failures": spec.max_failures,
            "viewport": spec.viewport,
            "chromium": self.chromium,
            "served": spec.served,
            "origin": ORIGIN,
        }
        report = await self.report(["test", "--config", f"{HARNESS}/config.js"], described, spec)
        unstarted = next((result.error for result in report.results if NOT_STARTED in result.error), None)
        if unstarted is not None:
            raise BrowserFault(f"Chromium did not start: {unstarted}")
        return report
