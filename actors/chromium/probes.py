"""Probes."""

from typing import Any

from rollout.records import Probe, ProbeResult


class Operator:
    def __init__(self, session: Any, clock: Any, world: Any) -> None: ...
    async def perform(self, probe: Probe) -> ProbeResult:
        return ProbeResult(name=probe.name, held=False)
