"""Weight receivers: an engine's back ends for vLLM's weight-transfer protocol.

Each follows the stages of `WeightUpdates`: open a layerwise reload, load weights, close it. They differ in transport: a
file in shared memory, broadcasts from the learner (`nccl` between GPUs, `gloo` between CPUs), or handles of the
learner's memory on the same GPU (`ipc`). `actors.transfer.sender` is the sender of the last three.

vLLM's worker process imports this module for its extension `WeightsExtension`, before it creates a transfer engine; the
import registers the back ends. It imports vLLM at module level, so other modules must not import it before they need
vLLM.
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
    """Mixin of back ends: applies a whole model or nothing, and permits a retry after a failure."""

    at_once = True
    """Whether one update must bring all tensors. If not, only the canary check reports missing ones."""

    def init_transfer_engine(self, init_info: Any) -> None:
        """Connects to the learner, and reads the names of the model's tensors from the checkpoint."""
        super().init_transfer_engine(init_info)
        self._names: set[str] = set()
        for path in Path(self.model_config.model).glob("*.safetensors"):
            with safe_open(path, framework="pt") as file:
                self._names.update(file.keys())

    def start_weight_update(self) -> None:
        """Opens a layerwise reload: each layer waits for all its weights, then packs them as at start-up."""
        self._missing = set(self._names)
        super().start_weight_update()

    def receive_weights(self, update_info: Any) -> None:
        """Loads weights. When they are unavailable or have other shapes, closes the reload and raises."""
        try:
            super().receive_weights(update_info)
            self._missing.difference_update(self.names_in(update_info))
            if self.at_once and self._missing:
                raise ValueError(f"the weights lack {len(self._missing)} of the model's tensors: {min(self._missing)}…")
        except BaseException:
            self._abandon()
            raise

    def finish_weight_update(self) -> None:
        """Closes the reload and repacks a tied output head. An incomplete model is abandoned."""
        if self._missing:
            self._abandon()
        else:
            super().finish_weight_update()
            self._repack_experts()
        self._repack_tied_head()

    def names_in(self, update_info: Any) -> Iterable[str]:
        """Names of the tensors in an update."""
        names: list[str] = update_info.names
        return names

    def _abandon(self) -> None:
        """Restores the tensors of layers still waiting for weights.

        Otherwise the next reload would skip those layers, count the old weights it buffered, and finish them early with
        parts missing.
        """
        for layer in self.model.modules():
            info = get_layerwise_info(layer)
            if info.can_load():
                info.load_numel = 0
                info.loaded_weights.clear()
        finalize_layerwise_reload(self.model, self.model_config)

    def _repack_tied_head(self) -> None:
        """Repacks a tied head on CPU: layers compute with a packed copy, and a tied head receives no weights."""
        head = getattr(self.model, "lm_head", None)
        if self.device.type == "cpu" and head is not None and self.model_config.hf_config.tie_word_embeddings:
            head.quant_method.process_weights_after_loading(head)

    def _repack_experts(self) -> None:
        """Repacks experts on CPU: vLLM packs them when it loads a model, not when it reloads it."""
        if self.device.type != "cpu":
            return
        for layer in self.model.modules():
            kernel = getattr(getattr(layer, "quant_method", None), "moe_kernel", None)
            if kernel is not None and hasattr(layer, "w13_weight"):
                kernel.fused_experts.process_weights_after_loading(layer)


@dataclass
class SharedMemoryInit(WeightTransferInitInfo):  # type: ignore[misc]
    """No connection parameters."""


@dataclass
class SharedMemoryUpdate(WeightTransferUpdateInfo):  # type: ignore[misc]
    """One whole model, with the checkpoint's own tensor names."""

    path: str
    """A safetensors file that all workers of the engine can map."""


class SharedMemory(WeightTransferEngine):  # type: ignore[misc]
    """Loads a model's weights from a file in shared memory, in place."""

    init_info_cls = SharedMemoryInit
    update_info_cls = SharedMemoryUpdate

    def init_transfer_engine(self, init_info: SharedMemoryInit) -> None:
        """Does nothing: there is no connection."""

    def start_weight_update(self) -> None:
        """Opens a layerwise reload."""
        initialize_layerwise_reload(self.model)

    def receive_weights(self, update_info: SharedMemoryUpdate) -> None:
        """Loads the file. Raises when it is damaged or has other shapes."""
        with safe_open(update_info.path, framework="pt") as file:
            self.model.load_weights((name, file.get_tensor(name)) for name in file.offset_keys())

    def finish_weight_update(self) -> None:
        """Closes the reload."""
        finalize_layerwise_reload(self.model, self.model_config)

    def shutdown(self) -> None:
        """Does nothing: there is nothing to release."""


class SharedMemoryTransfer(CompleteUpdate, SharedMemory):
    """Receives a whole model from a file in shared memory."""

    def names_in(self, update_info: SharedMemoryUpdate) -> Iterable[str]:
        """Names of the tensors in the file."""
        with safe_open(update_info.path, framework="pt") as file:
            return list(file.keys())


@dataclass(kw_only=True)
class GlooInit(NCCLWeightTransferInitInfo):  # type: ignore[misc]
    """NCCL's connection parameters, and a timeout in seconds."""

    patience_s: float


class Gloo(NCCLWeightTransferEngine):  # type: ignore[misc]
    """vLLM's `nccl` back end over Gloo: same handshake and packed stream, over TCP between CPUs."""

    init_info_cls = GlooInit

    def init_transfer_engine(self, init_info: GlooInit) -> None:
        """Joins the group of the learner and the other engines."""
        self.packed_buffer_size_bytes = init_info.packed_buffer_size_bytes
        rank, address = init_info.rank_offset + self.parallel_config.rank, str(init_info.master_address)
        self.model_update_group = GlooGroup(
            address, int(init_info.master_port or 0), rank, init_info.world_size, init_info.patience_s
        )

    def receive_weights(self, update_info: NCCLWeightTransferUpdateInfo) -> None:
        """Receives tensors bucket by bucket from the learner."""
        dtypes = [getattr(torch, name) for name in update_info.dtype_names]
        sizes = [math.prod(shape) * dtype.itemsize for shape, dtype in zip(update_info.shapes, dtypes, strict=True)]
        each = zip(update_info.names, update_info.shapes, dtypes, sizes, strict=True)
        for bucket in buckets(each, lambda one: one[-1], self.packed_buffer_size_bytes):
            packed = torch.empty(sum(one[-1] for one in bucket), dtype=torch.uint8)
            self.model_update_group.broadcast(packed)
            self.model.load_weights(unpack_tensor(packed, *map(list, zip(*bucket, strict=True))))


class GlooTransfer(CompleteUpdate, Gloo):
    """Receives a whole model by broadcasts between CPUs."""


class NcclTransfer(CompleteUpdate, NCCLWeightTransferEngine):  # type: ignore[misc]
    """Receives a whole model by broadcasts between GPUs."""


class IpcTransfer(CompleteUpdate, IPCWeightTransferEngine):  # type: ignore[misc]
    """Receives a whole model from the memory of a learner on the same GPU, buffer by buffer."""

    at_once = False


class WeightsExtension:
    """vLLM worker extension, present only so that the worker imports this module."""


BACKENDS = {"shared_memory": SharedMemoryTransfer, "gloo": GlooTransfer, "nccl": NcclTransfer, "ipc": IpcTransfer}
for name, backend in BACKENDS.items():
    WeightTransferEngineFactory.register_engine(f"relook_{name}", backend)
