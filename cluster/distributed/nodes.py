"""Calls a function on every node of a Ray cluster."""

import asyncio
import time
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from cluster.distributed.pool import answer
from rollout.errors import MachineError

CLOCK_CALLS = 5
"""Calls to a node's clock; the one with the shortest round trip counts."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Node:
    """A live node of the cluster."""

    id: str
    host: str
    resources: Mapping[str, float]
    """Its resources by name, such as `GPU` and `browser`."""


def live_nodes() -> list[Node]:
    """The live nodes, sorted by host."""
    import ray

    return named_nodes([one for one in ray.nodes() if one["Alive"]])


def named_nodes(rows: Sequence[Mapping[str, Any]]) -> list[Node]:
    """Nodes from rows of `ray.nodes()`, sorted by host; several on one host have a part of their id in the name."""
    hosts = Counter(row["NodeManagerHostname"] for row in rows)
    found = []
    for row in rows:
        host = row["NodeManagerHostname"]
        name = host if hosts[host] == 1 else f"{host}-{row['NodeID'][:6]}"
        found.append(Node(id=row["NodeID"], host=name, resources=row["Resources"]))
    return sorted(found, key=lambda node: node.host)


async def ask_nodes(
    nodes: list[Node], function: Callable[..., Any], arguments: Mapping[str, tuple[Any, ...]], timeout_s: float
) -> dict[str, Any]:
    """Calls a function on every node concurrently, with its own `arguments` by node id.

    Returns the results by node id; the result of a node that fails or does not answer in time is its MachineError.
    """
    calls = (_ask(node, function, arguments[node.id], timeout_s) for node in nodes)
    return dict(zip((node.id for node in nodes), await asyncio.gather(*calls), strict=True))


async def clock_difference_s(node: Node, timeout_s: float) -> tuple[float, float]:
    """Seconds by which a node's clock is ahead of this process's, and the error's bound (half of a round trip).

    Raises MachineError.
    """
    found = []
    for _ in range(CLOCK_CALLS):
        asked = time.time()
        theirs = await _ask(node, time.time, (), timeout_s)
        trip_s = time.time() - asked
        if isinstance(theirs, MachineError):
            raise theirs
        found.append((trip_s / 2, theirs - asked - trip_s / 2))
    error_s, difference_s = min(found)
    return difference_s, error_s


async def _ask(node: Node, function: Callable[..., Any], arguments: tuple[Any, ...], timeout_s: float) -> Any:
    import ray
    from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

    strategy = NodeAffinitySchedulingStrategy(node.id, soft=False)
    task = ray.remote(_call).options(num_cpus=0, max_retries=0, scheduling_strategy=strategy)
    try:
        return await answer(task.remote(function, arguments), f"node {node.host}", MachineError, timeout_s)
    except MachineError as fault:
        return fault


def _call(function: Callable[..., Any], arguments: tuple[Any, ...]) -> Any:
    """Runs on the node; Ray cannot call built-in functions such as `time.time` directly."""
    return function(*arguments)
