"""Runs jest tests that open untrusted pages with puppeteer: Node and Chromium in bubblewrap, without a network."""

from pathlib import Path

from actors.node.records import SpecReport, SpecRun
from actors.node.runner import NodeRunner


class JestRunner(NodeRunner):
    """Runs test files. A file that cannot run has one failed result with an empty title."""

    label = "jest"
    package = "jest"
    cli = "node_modules/jest/bin/jest.js"
    mounted = {"/harness": Path(__file__).parent / "harness"}

    async def run(self, spec: SpecRun) -> SpecReport:
        """Runs every test of the files.

        Raises BrowserFault when jest gave no report, the browser was lost, or the run exceeded its time.
        """
        described = {
            "specs": spec.specs,
            "test_timeout_ms": int(spec.test_timeout_s * 1000),
            "chromium": self.chromium,
            "mirrored": self.settings.mirror is not None,
        }
        return await self.report(["--config", "/harness/config.js", "--ci"], described, spec)
