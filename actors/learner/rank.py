"""The learner rank actor: one learner engine in its own process, with a configured number of threads."""

import logging
import resource
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from learner.memory_use import MemoryUse
from learner.settings import LearnerSettings
from learner.threads import limit_spinning
from rollout.errors import MachineError
from rollout.records import Batch, Demonstration, Update

logger = logging.getLogger(__name__)


class LearnerRank:
    """One learner rank. Every call goes to all ranks; rank 0's result counts."""

    def __init__(
        self,
        model: str,
        settings: LearnerSettings,
        *,
        rank: int,
        world_size: int,
        init_method: str,
        temperature: float = 1.0,
        packed: bool = True,
        template_arguments: Mapping[str, Any] | None = None,
    ) -> None:
        """Loads the Hugging Face directory `model` and waits for the other ranks at `init_method`."""
        limit_spinning()
        import torch

        from learner.engine import Engine

        # Ray sets OMP_NUM_THREADS to the actor's reserved CPUs, not to the threads it may use.
        torch.set_num_threads(settings.threads)
        self.size = 0
        self.rank = rank
        self.host = urlsplit(init_method).hostname or "127.0.0.1"
        self._source: Any = None
        self._sender: Any = None
        self.engine = Engine(
            Path(model),
            settings,
            rank=rank,
            world_size=world_size,
            init_method=init_method,
            temperature=temperature,
            packed=packed,
            template_arguments=template_arguments,
        )
        logger.info("learner rank %d of %d holds %s", rank, world_size, model)

    def ping(self) -> None:
        """Health check: returns once the rank is ready."""

    def get_version(self) -> int:
        """Number of updates so far."""
        return self.engine.version

    def update(self, batch: Batch) -> Update:
        """One optimizer step on this rank's share of the batch; see `learner.engine`."""
        return self.engine.update(batch)

    def losses(self, demonstrations: Sequence[Demonstration]) -> tuple[float, ...]:
        """[N] cross-entropy of each demonstration in nats; see `learner.engine`."""
        return self.engine.losses(demonstrations)

    def peak_memory(self) -> int:
        """Largest memory of this process so far in bytes: on its GPU, or without one in main memory."""
        import torch

        if torch.cuda.is_available():
            return int(torch.cuda.max_memory_allocated())
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024

    def weights(self) -> bytes:
        """All weights as safetensors bytes; empty on ranks other than 0."""
        blob = self.engine.weights()
        self.size = len(blob)
        return blob

    def weights_size(self) -> int:
        """Bytes that the last call of `weights` returned."""
        return self.size

    def send_weights(self, version: int, transfer: str, line: Any, workers: int, patience_s: float) -> int:
        """Sends this rank's part of the weights to every engine of `line`. Returns the bytes of all weights.

        Raises EngineFault, after which the next call reconnects, or LearnerFault, which is permanent.
        """
        from actors.transfer.sender import Sender, Source

        if self._source is None:
            self._source = Source(self.engine.tensors)
        if self._sender is None:
            self._sender = Sender(
                transfer, self._source, line, rank=self.rank, host=self.host, workers=workers, patience_s=patience_s
            )
        try:
            return int(self._sender.send(version))
        except MachineError:
            self._sender = None
            raise

    def logprobs(self, token_ids: Sequence[int]) -> tuple[float, ...]:
        """[T-1] log-probs of a fixed sequence, to compare with an engine's."""
        return self.engine.logprobs(token_ids)

    def link_bytes_per_s(self, size: int) -> float:
        """Measured speed of a transfer of `size` bytes; see `learner.measurements`. Every rank takes part."""
        from learner.measurements import link_bytes_per_s

        return link_bytes_per_s(size, self.engine.device)

    def release_memory(self) -> None:
        """Returns unused GPU memory to the device, for an engine that shares it."""
        from learner.measurements import release_memory

        release_memory(self.engine.device)

    def memory(self, *, restart: bool = False) -> MemoryUse:
        """Peak memory of this process since its start or the last `restart`."""
        from learner.measurements import memory_use

        return memory_use(self.engine.device, restart=restart)

    def save(self, path: Path) -> None:
        """Writes a checkpoint. Raises StorageFault."""
        self.engine.save(path)

    def load(self, path: Path) -> None:
        """Restores a checkpoint. Raises CheckpointError."""
        self.engine.load(path)

    def export(self, path: Path) -> None:
        """Writes a Hugging Face directory. Raises StorageFault."""
        self.engine.export(path)

    def stop(self) -> None:
        """Disconnects from the engines and the other ranks."""
        if self._sender is not None:
            self._sender.close()
        self.engine.close()
