"""A model's weights in the form of its checkpoint, where transformers holds them in another: fused experts, new names.

Engines and other programs read checkpoints. transformers itself turns a checkpoint into its own form when it loads one
and back when it saves one; here the way back is taken for a few tensors at a time.
"""

from collections.abc import Iterable, Sequence
from typing import Any

from torch import Tensor

from learner.lora import Weight


def grouped(model: Any, weights: Iterable[Weight]) -> list[list[Weight]]:
    """Weights, those together that make one tensor of the checkpoint; the groups are in the order of their first."""
    from transformers.core_model_loading import WeightConverter, WeightRenaming, rename_source_key

    backwards = [conversion.reverse_transform() for conversion in _conversions(model)[::-1]]
    renamings = [one for one in backwards if isinstance(one, WeightRenaming)]
    converters = [one for one in backwards if isinstance(one, WeightConverter)]
    groups: dict[str, list[Weight]] = {}
    for weight in weights:
        key, _ = rename_source_key(weight.name, renamings, converters, reverse=True)
        groups.setdefault(key, []).append(weight)
    return list(groups.values())


def as_saved(model: Any, tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    """The tensors of one group, or of all, under the names and in the shapes of the checkpoint."""
    from transformers.core_model_loading import revert_weight_conversion

    return dict(revert_weight_conversion(model, tensors)) if _conversions(model) else tensors


def _conversions(model: Any) -> Sequence[Any]:
    """How the model's checkpoint was converted when it was loaded."""
    return getattr(model, "_weight_conversions", None) or ()
