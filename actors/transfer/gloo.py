"""A group of processes that takes broadcasts from its first member over TCP: what NCCL is on GPUs, for tensors on CPUs.

It has a deadline, which NCCL has not: who waits for a peer that is gone is told so.
"""

from collections.abc import Callable, Iterable, Iterator
from datetime import timedelta
from typing import Any, TypeVar

from torch import Tensor

from learner.interfaces import choose_interface

T = TypeVar("T")


class GlooGroup:
    """Stands for itself: it touches no other group of this process, so ranks and engines of different groups meet."""

    def __init__(self, host: str, port: int, rank: int, world_size: int, patience_s: float) -> None:
        """Waits for the others at `host:port`, where rank 0 listens. Raises RuntimeError when they do not come."""
        from torch._C._distributed_c10d import TCPStore
        from torch.distributed.distributed_c10d import PrefixStore, ProcessGroupGloo

        choose_interface(f"tcp://{host}:{port}")
        patience = timedelta(seconds=patience_s)
        # Longer than a broadcast: who is to come may have to give up an older one first.
        self._store: Any = TCPStore(host, port, world_size, is_master=rank == 0, timeout=1.5 * patience)
        self._group: Any = ProcessGroupGloo(PrefixStore("transfer", self._store), rank, world_size, patience)

    def broadcast(self, tensor: Tensor, src: int = 0) -> None:
        """Fills `tensor` on every other member with that of `src`. Raises RuntimeError when a peer is gone or late."""
        from torch.distributed import BroadcastOptions

        options = BroadcastOptions()
        options.rootRank = src
        self._group.broadcast([tensor], options).wait()

    def destroy(self) -> None:
        """Hangs up; peers that wait for this member are told."""
        self._group = self._store = None


def buckets(items: Iterable[T], size_of: Callable[[T], int], limit: int) -> Iterator[list[T]]:
    """Consecutive items in buckets that are closed once they hold more than `limit` bytes, on both ends alike."""
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
