"""Critics and a judge as actors on a real Ray: `python judged_actors.py MODEL FOLDER` prints the judgments and notes.

The judge's actor is killed with -9 while judgments are in progress.
"""

import asyncio
import json
import os
import signal
import sys
from pathlib import Path
from typing import Any

from drawn_pages import PAGE, SHOP, render

from actors.judge_settings import JudgeSettings
from actors.settings import CriticsSettings
from cluster.distributed import launch
from cluster.distributed.clients import CriticClient
from cluster.distributed.connection import connect
from cluster.distributed.health import check_actor, monitor_actors
from cluster.distributed.pool import Pool
from cluster.settings import RunSettings
from rollout.errors import CriticFault
from rollout.records import Critique, Task

FIRST, LATER = 4, 8


def settings(model: str, folder: str) -> RunSettings:
    """Settings of two critics that share a judge, with a cache of their own."""
    critic = CriticsSettings(kind="http", model="random-1", count=2, max_tokens=2048, retries=12, deadline_s=300.0)
    judge = JudgeSettings(model=model, max_num_seqs=16, kv_cache_gib=0.25)
    return RunSettings(critic=critic, judge=judge, cache=folder)


async def ask(critics: CriticClient, number: int) -> Critique:
    """A judgment of a page that differs from all others."""
    shown = render(SHOP.change(0, text=f"Velvet Lantern {number}"))
    return await critics.judge(Task(id=f"t{number}", brief=f"Build page {number}."), PAGE, shown, None)


async def work(chosen: RunSettings, folder: Path) -> dict[str, Any]:
    """Makes judgments, kills the judge, and makes more judgments."""
    launcher = launch.ActorLauncher(chosen)
    notes = list[str]()
    try:
        judges = await launcher.launch_judges(folder)
        handles = await launcher.launch_critics(launcher.bundle("", 0.1), folder / "costs")
        await launcher.start_in_order(("judge", judges, "start"), ("critic", handles, "ping"))
        critics = CriticClient(handles, timeout_s=600.0, limit=64, lost=print)
        pool = Pool("judge", judges, fault=CriticFault, timeout_s=600.0, limit=1)
        vigil = asyncio.create_task(monitor_actors([], [pool], notes.append, lambda *_: None, every_s=0.5))
        before = [await ask(critics, number) for number in range(FIRST)]
        life, _ = await pool.ask_one(0, "__ray_call__", check_actor)
        asked = [asyncio.create_task(ask(critics, number)) for number in range(FIRST, FIRST + LATER)]
        await asyncio.sleep(0.05)
        os.kill(life, signal.SIGKILL)
        asked += [asyncio.create_task(ask(critics, number)) for number in range(FIRST + LATER, FIRST + 2 * LATER)]
        judged = [*before, *await asyncio.gather(*asked)]
        while "judge-0 restarted" not in notes:
            await asyncio.sleep(0.1)
        vigil.cancel()
        critics.pool.close()
        return {"judged": [[critique.score, len(critique.feedback)] for critique in judged], "notes": notes}
    finally:
        await launcher.close()


def main(model: str, folder: str) -> None:
    """Connects to Ray, runs `work` and disconnects."""
    connection = connect()
    try:
        print(json.dumps(asyncio.run(work(settings(model, folder), Path(folder)))))
    finally:
        connection.leave()


if __name__ == "__main__":
    main(*sys.argv[1:])
