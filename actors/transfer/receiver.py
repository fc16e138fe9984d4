"""The engine's end of a weight transfer: back ends for vLLM's weight-transfer protocol.

The protocol is vLLM's own, so every back end walks through the same doors of `VLLMPolicy`: open a layerwise reload,
hand over the weights, close the reload. They differ in how the bytes come: as a file in shared memory, by broadcasts
from the learner (`nccl` between GPUs, `gloo` between CPUs), or as handles of the learner's memory on the same GPU
(`ipc`). For the last three `actors.transfer.sender` is the other end.

The engine's worker process imports this module before it makes its transfer engine, because vLLM is told to mix
`WeightsExtension` into its worker; importing it is what registers the back ends. Nothing else may import it
before vLLM is wanted, which is why vLLM stands at the top of this file alone.
"""

import math
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors import safe_open
from vllm.distributed.weight_transfer import WeightTransferEngineFactory  # noqa: TID253
from vllm.distributed.weight_transfer.base import (  # noqa: TID253
    WeightTransferEngine,
    WeightTransferInitInfo,
    WeightTransferUpdateInfo,
)
from vllm.distributed.weight_transfer.ipc_engine import IPCWeightTransferEngine  # noqa: TID253
from vllm.distributed.weight_transfer.nccl_common import NCCLWeightTransferInitInfo  # noqa: TID253
from vllm.distributed.weight_transfer.nccl_engine import (  # noqa: TID253
    NCCLWeightTransferEngine,
    NCCLWeightTransferUpdateInfo,
)
from vllm.distributed.weight_transfer.packed_tensor import unpack_tensor  # noqa: TID253
from vllm.model_executor.model_loader.reload.layerwise import (  # noqa: TID253
    finalize_layerwise_reload,
    get_layerwise_info,
    initialize_layerwise_reload,
)

from actors.transfer.gloo import GlooGroup, buckets


class CompleteUpdate(WeightTransferEngine):  # type: ignore[misc]
    """Mixed into a back end: takes a whole model or none of it, and can be tried again after a failure."""

    at_once = True
    """Whether one update brings all tensors; what many forgot, the canary finds."""

    def init_transfer_engine(self, init_info: Any) -> None:
        """Joins the learner, and learns from the checkpoint which tensors make a whole model."""
        super().init_transfer_engine(init_info)
        self._names: set[str] = set()
        for path in Path(self.model_config.model).glob("*.safetensors"):
            with safe_open(path, framework="pt") as file:
                self._names.update(file.keys())

    def start_weight_update(self) -> None:
        """Opens a layerwise reload: every layer waits for all its weights, then packs them as at start-up."""
        self._missing = set(self._names)
        super().start_weight_update()

    def receive_weights(self, update_info: Any) -> None:
        """Loads what has come. Raises, with the reload closed again, when it cannot be had or is of another shape."""
        try:
            super().receive_weights(update_info)
            self._missing.difference_update(self.names_in(update_info))
            if self.at_once and self._missing:
                raise ValueError(f"the weights lack {len(self._missing)} of the model's tensors: {min(self._missing)}…")
        except BaseException:
            self._abandon()
            raise

    def finish_weight_update(self) -> None:
        """Closes the reload, and packs a tied output head again. One that brought no whole model is given up."""
        if self._missing:
            self._abandon()
        else:
            super().finish_weight_update()
            self._repack_experts()
        self._repack_tied_head()

    def names_in(self, update_info: Any) -> Iterable[str]:
        """The tensors that one update brings."""
        names: list[str] = update_info.names
        return names

    def _abandon(self) -> None:
        """Puts the present tensors back into the layers that are still waiting for weights.

        Without this the next reload would skip those layers, count the old weights it buffered, and finish them
        early with some parts missing.
        """
        for layer in self.model.modules():
            info = get_layerwise_info(layer)
            if info.can_load():
                info.load_numel = 0
                info.loaded_weights.clear()
        finalize_layerwise_reload(self.model, self.model_config)

    def _repack_tied_head(self) -> None:
        """CPU layers compute with a packed copy; a tied head gets no weights of its own, so its copy stays old."""
        head = getattr(self.model, "lm_head", None)
        if self.device.type == "cpu" and head is not None and self.model_config.hf_config.tie_word_embeddings:
            head.quant_method.process_weights_after_loading(head)

    def _repack_experts(self) -> None:
        """CPU experts compute with packed weights; vLLM packs them when it loads a model, not when it reloads it."""
        if self.device.type != "cpu":
            return
        for layer in self.model.modules():
            kernel = getattr(getattr(layer, "quant_method", None), "moe_kernel", None)
            if kernel is not None and hasattr(layer, "w13_weight"):
                kernel.fused_experts.process_weights_after_loading(layer)


@dataclass
class SharedMemoryInit(WeightTransferInitInfo):  # type: ignore[misc]
    """There is nothing to agree on beforehand."""


@dataclass
class SharedMemoryUpdate(WeightTransferUpdateInfo):  # type: ignore[misc]
    """One whole model, with the checkpoint's own tensor names."""

    path: str
    """A safetensors file that every worker of the engine can map."""


class SharedMemory(WeightTransferEngine):  # type: ignore[misc]
    """Loads a model's weights from a file in shared memory, in place."""

    init_info_cls = SharedMemoryInit
    update_info_cls = SharedMemoryUpdate

    def init_transfer_engine(self, init_info: SharedMemoryInit) -> None:
        """There is no connection to open."""

    def start_weight_update(self) -> None:
        """Opens a layerwise reload."""
        initialize_layerwise_reload(self.model)

    def receive_weights(self, update_info: SharedMemoryUpdate) -> None:
        """Loads the file. Raises when it is damaged or of another shape."""
        with safe_open(update_info.path, framework="pt") as file:
            self.model.load_weights((name, file.get_tensor(name)) for name in file.offset_keys())

    def finish_weight_update(self) -> None:
        """Closes the reload."""
        finalize_layerwise_reload(self.model, self.model_config)

    def shutdown(self) -> None:
        """Nothing to release."""


class SharedMemoryTransfer(CompleteUpdate, SharedMemory):
    """A whole model from a file."""

    def names_in(self, update_info: SharedMemoryUpdate) -> Iterable[str]:
        """The tensors of the file."""
        with safe_open(update_info.path, framework="pt") as file:
            return list(file.keys())


@dataclass(kw_only=True)
class GlooInit(NCCLWeightTransferInitInfo):  # type: ignore[misc]
    """What NCCL agrees on, and a deadline."""

    patience_s: float


class Gloo(NCCLWeightTransferEngine):  # type: ignore[misc]
    """vLLM's `nccl` with another carrier: the same agreement and the same packed stream, over TCP between CPUs."""

    init_info_cls = GlooInit

    def init_transfer_engine(self, init_info: GlooInit) -> None:
        """Meets the learner and the other engines."""
        self.packed_buffer_size_bytes = init_info.packed_buffer_size_bytes
        rank, address = init_info.rank_offset + self.parallel_config.rank, str(init_info.master_address)
        self.model_update_group = GlooGroup(
            address, int(init_info.master_port or 0), rank, init_info.world_size, init_info.patience_s
        )

    def receive_weights(self, update_info: NCCLWeightTransferUpdateInfo) -> None:
        """Takes a bucket of tensors at a time from the learner."""
        dtypes = [getattr(torch, name) for name in update_info.dtype_names]
        sizes = [math.prod(shape) * dtype.itemsize for shape, dtype in zip(update_info.shapes, dtypes, strict=True)]
        each = zip(update_info.names, update_info.shapes, dtypes, sizes, strict=True)
        for bucket in buckets(each, lambda one: one[-1], self.packed_buffer_size_bytes):
            packed = torch.empty(sum(one[-1] for one in bucket), dtype=torch.uint8)
            self.model_update_group.broadcast(packed)
            self.model.load_weights(unpack_tensor(packed, *map(list, zip(*bucket, strict=True))))


class GlooTransfer(CompleteUpdate, Gloo):
    """A whole model by broadcasts between CPUs."""


class NcclTransfer(CompleteUpdate, NCCLWeightTransferEngine):  # type: ignore[misc]
    """A whole model by broadcasts between GPUs."""


class IpcTransfer(CompleteUpdate, IPCWeightTransferEngine):  # type: ignore[misc]
    """A whole model from the memory of a learner on the same GPU, a bufferful at a time."""

    at_once = False


class WeightsExtension:
    """Mixed into vLLM's worker for the sake of importing this module there."""


BACKENDS = {"shared_memory": SharedMemoryTransfer, "gloo": GlooTransfer, "nccl": NcclTransfer, "ipc": IpcTransfer}
for name, backend in BACKENDS.items():
    WeightTransferEngineFactory.register_engine(f"relook_{name}", backend)
