"""Tests of the induction head that the built-in policy starts with."""

from typing import Any

import pytest
import torch

from learner.builtin.copying import can_copy, set_induction_head


def _model(vocab: int = 512, layers: int = 2, hidden: int = 256) -> Any:
    from transformers import LlamaConfig, LlamaForCausalLM

    torch.manual_seed(0)
    config = LlamaConfig(
        vocab_size=vocab,
        hidden_size=hidden,
        intermediate_size=128,
        num_hidden_layers=layers,
        num_attention_heads=hidden // 64,
        max_position_embeddings=2048,
        rope_parameters={"rope_type": "default", "rope_theta": 1e6},
    )
    return LlamaForCausalLM(config).eval()


def _copied(model: Any, text_T: torch.Tensor) -> float:
    """Share of tokens of a text that are predicted when it is repeated."""
    ids_BT = torch.cat([text_T, text_T])[None]
    with torch.no_grad():
        predicted_T = model(ids_BT).logits[0].argmax(-1)
    return float((predicted_T[len(text_T) : -1] == text_T[1:]).float().mean())


@pytest.mark.parametrize("length", [20, 100, 500])
def test_untrained_model_copies_a_random_text(length: int) -> None:
    model = _model()
    text_T = torch.randperm(512)[:length]
    assert _copied(model, text_T) < 0.1
    set_induction_head(model, seed=0)
    assert _copied(model, text_T) > 0.98


def test_token_before_decides_where_a_token_stands_in_several_places() -> None:
    model = _model()
    set_induction_head(model, seed=0)
    words = torch.randperm(512)[:60]
    # One word stands between all others.
    text_T = torch.stack([words[1:], words[:1].expand(59)], dim=1).flatten()
    assert _copied(model, text_T) > 0.95


def test_small_models_have_no_room_for_it() -> None:
    assert can_copy(_model().config)
    assert not can_copy(_model(layers=1).config)
    assert not can_copy(_model(hidden=192).config)
