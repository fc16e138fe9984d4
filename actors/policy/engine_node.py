"""The nodes of an engine whose workers are on several nodes, and the environment of its processes."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from actors.settings import PolicySettings
from actors.vllm_environment import environment, variables
from learner.interfaces import choose_interface, own_address


@dataclass(frozen=True, slots=True, kw_only=True)
class EngineNode:
    """One of the `policy.nodes` nodes of an engine."""

    rank: int
    """Index of the node; node 0 has the engine's scheduler."""
    host: str
    """Address of node 0."""
    port: int
    """A free TCP port of node 0, where the workers of all nodes rendezvous."""


@contextmanager
def engine_environment(settings: PolicySettings, node: EngineNode | None) -> Iterator[None]:
    """Sets the environment variables of an engine's processes for the block.

    With `node`, they use the address and the interface that reach node 0: vLLM's default is the route to the internet,
    and gloo's the address of the hostname, which other nodes may not reach.
    """
    with environment(variables(settings)):
        if node is not None:
            os.environ.setdefault("VLLM_HOST_IP", own_address(node.host, node.port))
            choose_interface(f"tcp://{node.host}:{node.port}")
        yield
