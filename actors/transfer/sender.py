"""Weight sender of the learner, by broadcasts (`nccl`, `gloo`) or shared GPU memory (`ipc`).

vLLM's trainer engines do the sending. This module adds a source that iterates over the learner's weights, a client for
any number of engines, and a timeout, because a broadcast to a missing peer waits for ever. `actors.transfer.receiver`
is the receiver.
"""

import base64
import pickle
import secrets
import socket
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any, ClassVar, Protocol, Self

import torch
from vllm.distributed.weight_transfer import WeightTransferTrainerFactory  # noqa: TID253
from vllm.distributed.weight_transfer.base import ParamMeta, WeightSource  # noqa: TID253
from vllm.distributed.weight_transfer.ipc_engine import IPCTrainerInitInfo  # noqa: TID253
from vllm.distributed.weight_transfer.nccl_common import worker_init_payload  # noqa: TID253
from vllm.distributed.weight_transfer.nccl_engine import (  # noqa: TID253
    NCCLTrainerInitInfo,
    NCCLTrainerWeightTransferEngine,
)

from actors.transfer.gloo import GlooGroup, buckets
from actors.transfer.receiver import GlooInit
from rollout.errors import EngineFault, LearnerFault, MachineError

BUCKET = 512 * 2**20
"""Bytes of a packing buffer. vLLM's default of 1 GiB ran engines out of memory."""
Tensors = Callable[[], Iterator[tuple[str, torch.Tensor]]]
"""Iterates over all whole weights, in the same order on all ranks; a tensor is valid until the next one."""


class EngineBroadcast(Protocol):
    """Calls all engines, in the order of their indices."""

    num: int

    def ask_all(self, method: str, arguments: list[tuple[Any, ...]]) -> None:
        """Calls a method of every engine concurrently, each with its arguments, and waits. Raises EngineFault."""
        ...


class Source(WeightSource):  # type: ignore[misc]
    """The learner's weights as a vLLM weight source.

    Under ZeRO-3 all ranks gather each tensor together, so every rank must finish a pass it began, even if sending
    fails: otherwise the next pass gathers different tensors on different ranks.
    """

    def __init__(self, tensors: Tensors) -> None:
        self.tensors = tensors
        self._metadata: list[ParamMeta] = []
        self._rest: Iterator[tuple[str, torch.Tensor]] | None = None

    def metadata(self) -> list[ParamMeta]:
        """Names, dtypes and shapes of the tensors. The first call makes a pass, so all ranks must make it."""
        if not self._metadata:
            self._metadata = [ParamMeta(name, tensor.dtype, tuple(tensor.shape)) for name, tensor in self.tensors()]
        return self._metadata

    def __iter__(self) -> Iterator[tuple[str, torch.Tensor]]:
        """A pass over copies, because a packing buffer collects many tensors before it copies them."""
        self._rest = iter(self.tensors())
        return ((name, tensor.detach().clone(memory_format=torch.contiguous_format)) for name, tensor in self._rest)

    def begin(self) -> None:
        """Marks a pass as due."""
        self._rest = None

    def finish(self) -> None:
        """Completes the due pass from its current position."""
        for _ in self.tensors() if self._rest is None else self._rest:
            pass

    @property
    def bytes(self) -> int:
        """Bytes of all weights."""
        return sum(size_of(meta) for meta in self.metadata())


class Client:
    """Transfers weights to all engines as one.

    Engine i has the ranks after those of the engines before it. All engines must connect concurrently, or none can.
    """

    def __init__(self, line: EngineBroadcast, workers: int) -> None:
        """`workers` is the tensor-parallel size of an engine."""
        self.line, self.workers = line, workers
        self.ticket = secrets.token_hex(8)
        self.version = 0
        self.fault: EngineFault | None = None
        """An engine's fault, which the error of the broken broadcast does not contain."""

    def init_weight_transfer_engine(self, init_info: dict[str, Any]) -> None:
        """Connects every engine."""
        places = range(self.line.num)
        if "rank_offset" in init_info:
            infos = [init_info | {"rank_offset": 1 + place * self.workers} for place in places]
        else:
            infos = [init_info for _ in places]
        self._ask_all("connect", infos)

    def start_weight_update(self) -> None:
        """Pauses every engine and opens the update."""
        self._ask_all("open_update", [self.version] * self.line.num)

    def update_weights(self, update_info: dict[str, Any]) -> None:
        """Has every engine receive weights; returns when all have them."""
        self._ask_all("receive_weights", [portable(update_info)] * self.line.num)

    def finish_weight_update(self, weight_version: str | None = None) -> None:
        """Closes the update and resumes every engine. vLLM's trainer passes no version, so the sender's is used."""
        version = self.version if weight_version is None else int(weight_version)
        self._ask_all("close_update", [version] * self.line.num)

    def _ask_all(self, method: str, arguments: list[Any]) -> None:
        try:
            self.line.ask_all(method, [(self.ticket, argument) for argument in arguments])
        except EngineFault as fault:
            self.fault = fault
            raise


class Sender:
    """One rank's part in transfers. Rank 0 leads and sends; the others take part in gathering the weights.

    After a failure, create a new sender, which connects again.
    """

    def __init__(
        self,
        transfer: str,
        source: Source,
        line: EngineBroadcast,
        *,
        rank: int,
        host: str,
        workers: int,
        patience_s: float,
    ) -> None:
        """`host` is rank 0's address; `patience_s` limits each step of a transfer."""
        self.transfer, self.source, self.rank = transfer, source, rank
        self.host, self.patience_s = host, patience_s
        self.client = Client(line, workers)
        self._engine: Any = None

    def send(self, version: int) -> int:
        """Sends all weights to every engine. Returns their bytes; every rank must call it.

        Raises EngineFault when the transfer failed and ranks can retry, LearnerFault when it hangs.
        """
        self.client.version = version
        self._watched(self.source.metadata)
        self.source.begin()
        if torch.cuda.is_available():
            torch.cuda.synchronize()  # vLLM packs on its own streams, which do not wait for the last update.
        try:
            self._watched(self._connect)
            self._watched(self._engine.send_weights)
        except LearnerFault:
            raise
        except (MachineError, RuntimeError) as error:
            self._watched(self.source.finish)
            self.close()
            said = " ".join(str(self.client.fault or error).split())[:300]
            raise EngineFault(f"the sync of version {version} failed: {said}") from error
        return self.source.bytes

    def close(self) -> None:
        """Closes the connections."""
        engine, self._engine = self._engine, None
        if engine is not None:
            engine.shutdown()

    def _connect(self) -> None:
        if self._engine is None:
            info = self._init_info()
            self._engine = WeightTransferTrainerFactory.trainer_init(info, client=self.client, source=self.source)

    def _init_info(self) -> Any:
        if self.transfer == "ipc":
            largest = max(size_of(meta) for meta in self.source.metadata())
            return IPCTrainerInitInfo(rank=self.rank, packed=True, packed_buffer_size_bytes=max(BUCKET, largest))
        meeting: dict[str, Any] = {
            "rank": self.rank,
            "master_address": self.host,
            "master_port": free_port(self.host) if self.rank == 0 else 0,
            "world_size": 1 + self.client.line.num * self.client.workers,
            "packed_buffer_size_bytes": BUCKET,
        }
        if self.transfer == "nccl":
            return NCCLTrainerInitInfo(**meeting)
        # Shorter than the timeout in `_watched`, so that a failure is not reported as a hang.
        return GlooTrainerInit(**meeting, patience_s=self.patience_s / 2)

    def _watched(self, work: Callable[[], Any]) -> Any:
        """Result of `work`, run on a new thread. Raises LearnerFault on a timeout: the thread is left in an operation
        of several ranks and engines, so this rank is unusable."""
        thread = ThreadPoolExecutor(1, thread_name_prefix="transfer")
        done = thread.submit(work)
        thread.shutdown(wait=False)
        try:
            return done.result(self.patience_s)
        except TimeoutError:
            if done.done():  # raised by the work itself
                raise
        raise LearnerFault(f"learner-rank-{self.rank}: a weight transfer did not finish in {self.patience_s:g} s")


@dataclass
class GlooTrainerInit(NCCLTrainerInitInfo):  # type: ignore[misc]
    """NCCL's connection parameters and a timeout, for the trainer."""

    backend: ClassVar[str] = "relook_gloo"

    patience_s: float = 0.0


class GlooTrainer(NCCLTrainerWeightTransferEngine):  # type: ignore[misc]
    """vLLM's `nccl` trainer over Gloo: TCP between CPUs."""

    init_info_cls = GlooTrainerInit

    @classmethod
    def trainer_init(cls, init_info: GlooTrainerInit, *, client: Client, source: Source | None = None) -> Self:
        """Creates the trainer; rank 0 joins the engines' group."""
        engine = cls(
            client=client,
            source=source,
            is_sender=init_info.is_sender,
            packed_buffer_size_bytes=init_info.packed_buffer_size_bytes,
        )
        if init_info.is_sender:
            address, port, size = init_info.master_address, init_info.master_port, init_info.world_size
            worker = GlooInit(
                master_address=address,
                master_port=port,
                rank_offset=1,
                world_size=size,
                packed=True,
                packed_buffer_size_bytes=init_info.packed_buffer_size_bytes,
                patience_s=init_info.patience_s,
            )
            with ThreadPoolExecutor(1) as aside:
                joined = aside.submit(client.init_weight_transfer_engine, worker_init_payload(worker))
                engine.model_update_group = GlooGroup(address, port, 0, size, init_info.patience_s)
                joined.result()
        return engine

    def _broadcast(self, source: Source, meta: list[ParamMeta]) -> None:
        """Sends a pass of the source in buckets; other ranks only take part in the pass."""
        if not self.is_sender:
            for _ in source:
                pass
            return
        pairs = self._checked_iter(source, meta)
        for bucket in buckets(pairs, lambda pair: pair[1].nbytes, self.packed_buffer_size_bytes):
            self.model_update_group.broadcast(
                torch.cat([tensor.cpu().view(-1).view(torch.uint8) for _, tensor in bucket])
            )


WeightTransferTrainerFactory.register_engine("relook_gloo", GlooTrainer)


def portable(update_info: dict[str, Any]) -> dict[str, Any]:
    """Replaces handles of GPU memory by their base64 pickle, which vLLM accepts; leaves other updates unchanged."""
    if "ipc_handles" not in update_info:
        return update_info
    handles = base64.b64encode(pickle.dumps(update_info["ipc_handles"])).decode()
    rest = {name: value for name, value in update_info.items() if name not in ("ipc_handles", "ipc_handles_pickled")}
    return rest | {"ipc_handles_pickled": handles}


def size_of(meta: ParamMeta) -> int:
    """Size of a tensor in bytes."""
    numel = 1
    for side in meta.shape:
        numel *= side
    return numel * int(meta.dtype.itemsize)


def free_port(host: str) -> int:
    """A free TCP port at one of this machine's addresses."""
    with socket.socket() as door:
        door.bind((host, 0))
        return int(door.getsockname()[1])
