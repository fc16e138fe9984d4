"""Weights through shared memory: a back end for vLLM's weight-transfer protocol that needs no GPU.

The protocol is vLLM's own, so every back end walks through the same door (`VLLMPolicy.update_weights`): open a
layerwise reload, hand over the weights, close the reload. Here the weights arrive as a safetensors file in shared
memory; on GPUs the `nccl` and `ipc` back ends that vLLM brings differ only in what `update_weights` is told.

The engine's worker process imports this module before it makes its transfer engine, because vLLM is told to mix
`SharedMemoryExtension` into its worker; importing it is what registers the back end. Nothing else may import it
before vLLM is wanted, which is why vLLM stands at the top of this file alone.
"""

from dataclasses import dataclass
from pathlib import Path

from safetensors import safe_open
from vllm.distributed.weight_transfer import WeightTransferEngineFactory  # noqa: TID253
from vllm.distributed.weight_transfer.base import (  # noqa: TID253
    WeightTransferEngine,
    WeightTransferInitInfo,
    WeightTransferUpdateInfo,
)
from vllm.model_executor.model_loader.reload.layerwise import (  # noqa: TID253
    finalize_layerwise_reload,
    get_layerwise_info,
    initialize_layerwise_reload,
)


@dataclass
class SharedMemoryInit(WeightTransferInitInfo):  # type: ignore[misc]
    """There is nothing to agree on beforehand."""


@dataclass
class SharedMemoryUpdate(WeightTransferUpdateInfo):  # type: ignore[misc]
    """One whole model, with the checkpoint's own tensor names."""

    path: str
    """A safetensors file that every worker of the engine can map."""


class SharedMemoryTransfer(WeightTransferEngine):  # type: ignore[misc]
    """Loads a model's weights from a file in shared memory, in place."""

    init_info_cls = SharedMemoryInit
    update_info_cls = SharedMemoryUpdate

    def init_transfer_engine(self, init_info: SharedMemoryInit) -> None:
        """Learns from the checkpoint which tensors make a whole model. There is no connection to open."""
        self._names: set[str] = set()
        for path in Path(self.model_config.model).glob("*.safetensors"):
            with safe_open(path, framework="pt") as file:
                self._names.update(file.keys())

    def start_weight_update(self) -> None:
        """Opens a layerwise reload: every layer waits for all its weights, then packs them as at start-up."""
        initialize_layerwise_reload(self.model)

    def receive_weights(self, update_info: SharedMemoryUpdate) -> None:
        """Loads the file. Raises, with the reload closed again, when it is damaged, incomplete or of another shape."""
        try:
            with safe_open(update_info.path, framework="pt") as file:
                if missing := self._names - set(file.keys()):
                    raise ValueError(f"the weights lack {len(missing)} of the model's tensors, first {min(missing)}")
                self.model.load_weights((name, file.get_tensor(name)) for name in file.offset_keys())
        except BaseException:
            self._abandon()
            raise

    def finish_weight_update(self) -> None:
        """Closes the reload, and packs a tied output head again."""
        finalize_layerwise_reload(self.model, self.model_config)
        self._repack_tied_head()

    def shutdown(self) -> None:
        """Nothing to release."""

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


class SharedMemoryExtension:
    """Mixed into vLLM's worker for the sake of importing this module there."""


WeightTransferEngineFactory.register_engine("shared_memory", SharedMemoryTransfer)
