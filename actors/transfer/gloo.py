"""Broadcast group over TCP for tensors on CPUs, like NCCL on GPUs.

Unlike NCCL, it has a timeout: waiting for a missing peer raises an error.
"""

from collections.abc import Callable, Iterable, Iterator
from datetime import timedelta
from typing import Any, TypeVar

from torch import Tensor

from learner.interfaces import choose_interface

T = TypeVar("T")


class GlooGroup:
    """A Gloo group independent of the process's other groups, so ranks and engines of different groups can join."""

    def __init__(self, host: str, port: int, rank: int, world_size: int, patience_s: float) -> None:
        """Waits for the other members at `host:port`, where rank 0 listens. Raises RuntimeError on a timeout."""
        from torch._C._distributed_c10d import TCPStore
        from torch.distributed.distributed_c10d import PrefixStore, ProcessGroupGloo

        choose_interface(f"tcp://{host}:{port}")
        patience = timedelta(seconds=patience_s)
        # Longer than a broadcast: a member may have to abort an older one first.
        self._store: Any = TCPStore(host, port, world_size, is_master=rank == 0, timeout=1.5 * patience)
        self._group: Any = ProcessGroupGloo(PrefixStore("transfer", self._store), rank, world_size, patience)

    def broadcast(self, tensor: Tensor, src: int = 0) -> None:
        """Copies `tensor` from `src` to all other members. Raises RuntimeError when a peer is gone or late."""
        from torch.distributed import BroadcastOptions

        options = BroadcastOptions()
        options.rootRank = src
        self._group.broadcast([tensor], options).wait()

    def destroy(self) -> None:
        """Closes the connections; waiting peers get an error."""
        self._group = self._store = None


def buckets(items: Iterable[T], size_of: Callable[[T], int], limit: int) -> Iterator[list[T]]:
    """Consecutive items in buckets, each closed once it holds over `limit` bytes; the same on both ends."""
    bucket: list[T] = []
    held = 0
    for item in items:
        bucket.append(item)
        held += size_of(item)
        if held > limit:
            yield bucket
            bucket, held = [], 0
    if bucket:
        yield bucket
