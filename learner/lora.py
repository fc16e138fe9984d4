"""LoRA adapters: low-rank matrices are trained while the weights stay frozen (arXiv 2106.09685)."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from learner.settings import LearnerSettings
from rollout.seeds import seed_of

ADAPTER = "default"
"""peft's name for a model's only adapter."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Weight:
    """A weight with its checkpoint name and the parameters it is composed of; under ZeRO-3 gather them first."""

    name: str
    parts: tuple[Tensor, ...]
    """The weight; for an adapted weight also A [rank, in] and B [out, rank]."""
    scale: float = 1.0

    @torch.no_grad()
    def whole(self) -> Tensor:
        """The weight, or W + scale · BA, summed in float32 and rounded once to the weight's dtype."""
        weight, *pair = self.parts
        if not pair:
            return weight.detach()
        down, up = (matrix.float() for matrix in pair)
        return torch.addmm(weight.float(), up, down, alpha=self.scale).to(weight.dtype)


def adapt(model: Any, settings: LearnerSettings) -> None:
    """Adds adapters to a model in place and freezes all other parameters; initially the output is unchanged.

    A is drawn from a fixed seed, so all ranks have the same; B is zero. Raises ValueError for targets that the model
    does not have.
    """
    from peft import LoraConfig, inject_adapter_in_model

    config = LoraConfig(
        r=settings.lora_rank,
        lora_alpha=settings.lora_alpha,  # type: ignore[arg-type]
        target_modules=_targets(model, settings.lora_targets),
    )
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed_of("lora"))
        inject_adapter_in_model(config, model)


@contextmanager
def base_alone(model: Any) -> Iterator[None]:
    """Context manager that disables the adapters, so the model computes as before training."""
    layers = [module for module in model.modules() if hasattr(module, "enable_adapters") and hasattr(module, "lora_A")]
    for layer in layers:
        layer.enable_adapters(False)
    try:
        yield
    finally:
        for layer in layers:
            layer.enable_adapters(True)


def weights_of(model: Any) -> Iterator[Weight]:
    """Iterates over all weights in a fixed order, adapters merged, and then over the persistent buffers.

    A tied weight occurs once, as in a checkpoint. Names are the model's, see `learner.checkpoint_names`.
    """
    for name, parameter in model.named_parameters():
        if ".lora_A." in name or ".lora_B." in name:
            continue
        owner, adapted, kind = name.rpartition(".base_layer.")
        if not adapted:
            yield Weight(name=name, parts=(parameter,))
        elif kind != "weight":
            yield Weight(name=f"{owner}.{kind}", parts=(parameter,))
        else:
            layer = model.get_submodule(owner)
            pair = (layer.lora_A[ADAPTER].weight, layer.lora_B[ADAPTER].weight)
            yield Weight(name=f"{owner}.weight", parts=(parameter, *pair), scale=layer.scaling[ADAPTER])
    for owner, module in model.named_modules():
        for name, buffer in module.named_buffers(recurse=False):
            if name not in module._non_persistent_buffers_set:
                yield Weight(name=f"{owner}.{name}" if owner else name, parts=(buffer,))


def _targets(model: Any, wanted: tuple[str, ...]) -> list[str]:
    """Full names of the linear layers to adapt; never the output head, which may be tied."""
    head = model.get_output_embeddings()
    linear = [n for n, module in model.named_modules() if isinstance(module, torch.nn.Linear) and module is not head]
    kinds = sorted({name.rpartition(".")[2] for name in linear})
    if unknown := sorted(set(wanted) - set(kinds)):
        raise ValueError(
            f"lora_targets must be among {', '.join(kinds) or 'nothing'} in this model, got {unknown[0]!r}"
        )
    return [name for name in linear if not wanted or name.rpartition(".")[2] in wanted]
