"""Log-probs of a model from transformers, and changed weights for it."""

from typing import Any

import pytest

VLLM_WARNINGS = [
    # Deprecation warnings of torch during the import of vLLM.
    pytest.mark.filterwarnings("ignore:`torch.jit.script_method` is deprecated:DeprecationWarning"),
    pytest.mark.filterwarnings("ignore:`torch.distributed.reduce_op` is deprecated:FutureWarning"),
]
CANARY = tuple(range(3, 43))


def moved(model: Any, seed: int) -> bytes:
    """Changes every weight of `model` slightly. Returns all weights as safetensors bytes."""
    import torch
    from safetensors.torch import save

    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(torch.randn(parameter.shape, generator=generator) * 0.05)
    tensors = model.state_dict()
    if model.config.tie_word_embeddings:
        del tensors["lm_head.weight"]
    return save(tensors)


async def synced(policy: Any, model: Any, version: int, seed: int | None = None) -> None:
    """Changes the weights of `model` and loads them into `policy` as a proven `version`."""
    await policy.update_weights(moved(model, version if seed is None else seed), version)
    await policy.prove(version, CANARY, tuple(logprobs_of(model, CANARY)), 1e-3)


def logprobs_of(model: Any, token_ids: tuple[int, ...]) -> list[float]:
    """transformers' log-prob of each token after the first."""
    import torch

    with torch.no_grad():
        scores = model(torch.tensor([token_ids])).logits[0].log_softmax(-1)
    return [scores[i, token].item() for i, token in enumerate(token_ids[1:])]
