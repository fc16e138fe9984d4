"""Judges as Ray actors: each serves at its own node's address, where critics find it by name, also after it moved."""

import asyncio
from pathlib import Path

from actors.judge.server import VLLMJudge
from actors.judge_api.client import Address
from actors.judge_settings import JudgeSettings
from cluster.distributed.pool import answer
from rollout.errors import CriticFault

FIND_TIMEOUT_S = 30.0


class RayJudge(VLLMJudge):
    """A judge of the node it is on: made again elsewhere, it has another address."""

    def __init__(self, settings: JudgeSettings, name: str, log: Path) -> None:
        """See `actors.judge.server.VLLMJudge`."""
        import ray

        super().__init__(settings, name, log, host=ray.util.get_node_ip_address())


async def find_judge(name: str, namespace: str) -> Address:
    """Where a judge serves now. Raises CriticFault while it does not, or is being made again."""
    import ray

    try:
        judge = await asyncio.to_thread(ray.get_actor, name, namespace)
    except ValueError as error:
        raise CriticFault(f"there is no {name}: {str(error).partition(chr(10))[0]}") from error
    found: Address = await answer(judge.address.remote(), f"{name}.address", CriticFault, FIND_TIMEOUT_S)
    return found
