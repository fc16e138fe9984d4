"""Benchmark of weight syncs: seconds from the learner's weights to verified engines, compared with a plain copy."""

import asyncio
from statistics import median

from cluster.experiments.bench.part import Figures, built_in_policy
from cluster.settings import RunSettings

SYNCS = 20


def bench_sync() -> Figures:
    """Seconds of a complete sync between learner and engine, and its share of the machine's copy bandwidth."""
    from learner.measurements import copy_bytes_per_s

    syncs = asyncio.run(_syncs())
    seconds, size = median(seconds for seconds, _ in syncs), syncs[0][1]
    copied = copy_bytes_per_s(size)
    return {
        "syncs": float(len(syncs)),
        "bytes": float(size),
        "seconds": seconds,
        "bytes_per_s": size / seconds,
        "copy_bytes_per_s": copied,
        "share_of_copy_bandwidth": size / seconds / copied,
    }


async def _syncs() -> list[tuple[float, int]]:
    """Seconds and bytes of each sync but the first, which connects."""
    from cluster.distributed import launch
    from cluster.distributed.connection import connect

    model, settings = built_in_policy(), RunSettings()
    connection = connect()
    launcher = launch.ActorLauncher(settings)
    try:
        learner = await launcher.launch_learner(model)
        await launcher.start_learner(learner)
        syncs = [await learner.sync() for _ in range(SYNCS + 1)]
    finally:
        await launcher.close()
        await asyncio.to_thread(connection.leave)
    return [(sync.seconds, sync.bytes) for sync in syncs[1:]]
