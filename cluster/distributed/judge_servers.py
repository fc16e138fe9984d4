"""Judge servers as Ray actors; critics find them by name, so that a judge may restart on another node."""

import asyncio
from pathlib import Path

from actors.judge.server import VLLMJudge
from actors.judge_api.client import Address
from actors.judge_settings import JudgeSettings
from cluster.distributed.pool import answer
from rollout.errors import CriticFault

FIND_TIMEOUT_S = 30.0


class RayJudge(VLLMJudge):
    """A vLLM judge at the address of its node, which changes when it restarts elsewhere."""

    def __init__(self, settings: JudgeSettings, name: str, log: Path) -> None:
        """See `actors.judge.server.VLLMJudge`."""
        import ray

        super().__init__(settings, name, log, host=ray.util.get_node_ip_address())


async def find_judge(name: str, namespace: str) -> Address:
    """The current address of a judge. Raises CriticFault while it does not serve or is being restarted."""
    import ray

    try:
        judge = await asyncio.to_thread(ray.get_actor, name, namespace)
    except ValueError as error:
        raise CriticFault(f"there is no {name}: {str(error).partition(chr(10))[0]}") from error
    found: Address = await answer(judge.address.remote(), f"{name}.address", CriticFault, FIND_TIMEOUT_S)
    return found
