"""A weight sync: its seconds and bytes a second, compared with the speed of the link that it uses."""

from cluster.acceptance.measurement import Measurement
from cluster.distributed.clients import LearnerClient
from rollout.records import Sync

SYNCS = 2
"""Measured syncs after the first, which connects; the fastest counts."""
SHARE = 0.2
"""Share of the link's speed that a sync must reach: it also gathers, converts and loads the weights."""
FIXED_S = 2.0
"""Seconds that a sync may take for any size: pausing, calls, the canary check."""
PROBE_BYTES = 1 << 28
"""Bytes that measure the link: 256 MiB."""


async def measure_sync(learner: LearnerClient) -> tuple[Measurement, Sync, float]:
    """The measurement, the fastest sync, and the largest canary gap in nats. Raises MachineError."""
    first = await learner.sync()
    syncs = [await learner.sync() for _ in range(SYNCS)]
    speeds = await learner.ranks.ask_all("link_bytes_per_s", PROBE_BYTES)
    fastest = min(syncs, key=lambda sync: sync.seconds)
    gap = max(sync.gap for sync in (first, *syncs))
    return judge_sync(fastest, speeds[0], learner.policy.transfer, len(learner.ranks.handles)), fastest, gap


def judge_sync(sync: Sync, link: float, transfer: str, ranks: int) -> Measurement:
    """The measurement of a sync; `link` is the measured speed in bytes a second."""
    bound_s = FIXED_S + sync.bytes / (SHARE * link)
    probe = f"a broadcast to {ranks} learner ranks" if ranks > 1 else "a copy in the memory of the learner's device"
    speed = sync.bytes / max(sync.seconds, 1e-9)
    slow = sync.seconds > bound_s
    return Measurement(
        what="weight sync",
        figure=sync.seconds,
        unit="s",
        expected=f"at most {bound_s:.1f} s: {FIXED_S:g} s and {SHARE:.0%} of {link / 1e9:.3g} GB/s, {probe}",
        verdict="slow" if slow else "ok",
        advice=f"{sync.bytes / 1e9:.3g} GB by {transfer} at {speed / 1e9:.3g} GB/s"
        + ("; compare the methods of policy.transfer, and the interface of the ranks" if slow else ""),
    )
