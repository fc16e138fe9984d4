"""Syncs between launched learner ranks and engines, in a separate process: `sync_graph.py MODEL KEY=VALUE…`.

Prints the results as JSON in the last line.
"""

import asyncio
import json
import sys
from pathlib import Path
from typing import Any

from cluster.distributed import launch
from cluster.distributed.connection import connect
from cluster.settings import apply_override, check_settings
from rollout.records import Batch, Message, Request, Sample

BATCH = Batch(samples=(Sample(prompt_ids=(3, 4), token_ids=(5, 6), logprobs=(-5.5, -5.5), advantage=1.0),))
ASK = Request(messages=(Message(role="user", content="a page"),), max_tokens=8, seed=5)


async def main(model: Path, overrides: list[str]) -> dict[str, Any]:
    """Makes three syncs with an update between them; returns the syncs and the versions of completions after each."""
    values: dict[str, Any] = {}
    for override in overrides:
        apply_override(values, override)
    settings = check_settings(values, "sync_graph")
    connection = connect()
    launcher = launch.ActorLauncher(settings)
    syncs, written = [], []
    try:
        learner = await launcher.launch_learner(model)
        await launcher.start_learner(learner)
        for _ in range(3):
            sync = await learner.sync()
            syncs.append({"version": sync.version, "gap": sync.gap, "bytes": sync.bytes, "seconds": sync.seconds})
            answers = await learner.engines.ask_all("complete", ASK)
            written.append([[span.version for one in answer for span in one.versions] for answer in answers])
            await learner.update(BATCH)
    finally:
        await launcher.close()
        await asyncio.to_thread(connection.leave)
    return {"syncs": syncs, "written": written}


if __name__ == "__main__":
    print(json.dumps(asyncio.run(main(Path(sys.argv[1]), sys.argv[2:]))))
