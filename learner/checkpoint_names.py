"""Converts weights from transformers' in-memory form to the checkpoint's form (fused experts, renamed tensors).

Rollout engines read the checkpoint's form. transformers converts only when it loads or saves; this module runs the save
conversion for a few tensors at a time.
"""

from collections.abc import Iterable, Sequence
from typing import Any

from torch import Tensor

from learner.lora import Weight


def grouped(model: Any, weights: Iterable[Weight]) -> list[list[Weight]]:
    """Groups weights that form one tensor of the checkpoint; groups are in the order of their first weight."""
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
    """Returns the tensors of one group, or of all groups, with the names and shapes of the checkpoint."""
    from transformers.core_model_loading import revert_weight_conversion

    return dict(revert_weight_conversion(model, tensors)) if _conversions(model) else tensors


def _conversions(model: Any) -> Sequence[Any]:
    """The conversions that transformers applied when it loaded the checkpoint."""
    return getattr(model, "_weight_conversions", None) or ()
