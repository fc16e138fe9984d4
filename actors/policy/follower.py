"""The workers of a policy engine on a node other than that of its scheduler."""

import asyncio
from collections.abc import Mapping
from typing import Any

from actors.policy.engine import VLLMPolicy
from actors.policy.engine_arguments import engine_config
from actors.policy.engine_node import EngineNode, engine_environment
from actors.policy.vllm_engine import one_line
from actors.settings import PolicySettings
from rollout.errors import EngineFault, SettingsError


class EngineFollower:
    """Worker processes that execute what the engine's scheduler on node 0 sends, weight syncs included.

    The engine and its followers start together: each waits for the others. The loss of one is the loss of the engine.
    """

    def __init__(self, model_dir: str, settings: PolicySettings, *, seed: int, rank: int, node: EngineNode) -> None:
        """`rank` is the engine's index; the other arguments are those of the engine (`VLLMPolicy`)."""
        self.model_dir = model_dir
        self.settings = settings
        self.seed = seed
        self.node = node
        self.name = f"policy-{rank}-node-{node.rank}"
        self._executor: Any = None

    async def start(self) -> None:
        """Starts the workers and waits until the workers of all nodes are ready. Raises SettingsError, EngineFault."""
        seconds = self.settings.start_timeout_s
        try:
            async with asyncio.timeout(seconds):
                await asyncio.to_thread(self._build)
        except TimeoutError:
            raise EngineFault(
                f"{self.name} did not start within policy.start_timeout_s = {seconds:g} s: the other nodes of its "
                f"engine did not meet it at {self.node.host}:{self.node.port}"
            ) from None
        except ValueError as error:
            raise SettingsError(f"vLLM refuses the policy settings: {one_line(error)}") from error
        except Exception as error:  # vLLM raises no narrower type when a worker cannot start
            raise EngineFault(f"{self.name} cannot start: {one_line(error)}") from error

    async def ping(self) -> None:
        """Health check: raises EngineFault when a worker process has died, or was not started."""
        if self._executor is None or self._executor.is_failed:
            raise EngineFault(f"{self.name} lost its workers")

    async def stop(self) -> None:
        """Stops the workers. Safe to call twice."""
        executor, self._executor = self._executor, None
        if executor is not None:
            await asyncio.to_thread(executor.shutdown)

    def _build(self) -> None:
        with engine_environment(self.settings, self.node):
            from vllm.v1.executor.multiproc_executor import MultiprocExecutor

            config = engine_config(self.model_dir, self.seed, self.settings, self.node)
            self._executor = MultiprocExecutor(config)


def engine_parts(arguments: Mapping[str, Any], host: str, port: int) -> list[tuple[str, type, dict[str, Any]]]:
    """Name, class and keyword arguments of the actors of an engine that spans nodes, in the order of its nodes.

    `arguments` are those of a `VLLMPolicy`; `host` and `port` those of an `EngineNode`.
    """
    name = f"policy-{arguments['rank']}"
    first, *others = (EngineNode(rank=rank, host=host, port=port) for rank in range(arguments["settings"].nodes))
    same = {key: value for key, value in arguments.items() if key != "follows"}
    followers = [(f"{name}-node-{node.rank}", EngineFollower, {**same, "node": node}) for node in others]
    return [(name, VLLMPolicy, {**arguments, "node": first}), *followers]
