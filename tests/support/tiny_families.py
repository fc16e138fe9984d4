"""Tiny random models of many families, with the tokenizer of `tiny_model`."""

import json
from pathlib import Path
from typing import Any

from tiny_model import tiny_model

SIZES: dict[str, Any] = {
    "vocab_size": 264,
    "hidden_size": 64,
    "intermediate_size": 64,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "max_position_embeddings": 512,
    "bos_token_id": None,
    "eos_token_id": 0,
    "pad_token_id": 0,
}
EXPERTS = {"num_experts_per_tok": 2, "moe_intermediate_size": 32, "head_dim": 32}
LINEAR: dict[str, Any] = {
    "linear_num_key_heads": 2,
    "linear_num_value_heads": 4,
    "linear_key_head_dim": 16,
    "linear_value_head_dim": 16,
    "layer_types": ["linear_attention", "full_attention"],
}
GEMMA = {"head_dim": 32, "sliding_window": 32, "query_pre_attn_scalar": 32}
CHANGING = {"rope_theta": 10000.0, "original_max_position_embeddings": 128}
CONFIGS: dict[str, tuple[str, dict[str, Any]]] = {
    "llama": ("LlamaConfig", {}),
    "window": ("MistralConfig", {"sliding_window": 32}),
    "softcap": ("Gemma2Config", {**GEMMA, "attn_logit_softcapping": 2.0, "final_logit_softcapping": 5.0}),
    "sinks": ("GptOssConfig", {"head_dim": 16, "num_local_experts": 4, "num_experts_per_tok": 2, "sliding_window": 32}),
    "dropout": ("LlamaConfig", {"attention_dropout": 0.3}),
    "experts": ("Qwen3MoeConfig", {**EXPERTS, "num_experts": 4, "decoder_sparse_step": 1}),
    "alibi": ("BloomConfig", {"n_layer": 2, "n_head": 4}),
    "recurrent": ("Qwen3NextConfig", {**EXPERTS, **LINEAR, "num_experts": 4, "shared_expert_intermediate_size": 32}),
    "state": (
        "Mamba2Config",
        {"intermediate_size": 128, "num_heads": 8, "head_dim": 16, "state_size": 16, "n_groups": 1},
    ),
    "convolution": ("Lfm2Config", {"layer_types": ["conv", "full_attention"], "block_auto_adjust_ff_dim": False}),
    "longrope": (
        "Phi3Config",
        {
            "rope_parameters": {
                "rope_type": "longrope",
                "short_factor": [1.0] * 8,
                "long_factor": [3.0] * 8,
                **CHANGING,
            },
            "original_max_position_embeddings": 128,
        },
    ),
    "dynamic": ("LlamaConfig", {"rope_parameters": {"rope_type": "dynamic", "rope_theta": 1e4, "factor": 8.0}}),
}


def tiny_family(folder: Path, kind: str) -> Any:
    """Saves a random model of a kind of `CONFIGS` to `folder`, with weights large enough for every part to count."""
    import torch
    import transformers

    tiny_model(folder)
    name, changes = CONFIGS[kind]
    config = getattr(transformers, name)(**{**SIZES, **changes})
    torch.manual_seed(0)
    model = transformers.AutoModelForCausalLM.from_config(config).float().eval()
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if parameter.dim() > 1 or "sinks" in name:
                parameter.normal_(0, 0.15 if parameter.dim() > 1 else 1.0)
    model.save_pretrained(folder)
    return model


def change_json(path: Path, **changes: Any) -> None:
    """Changes fields of a JSON file, which may be missing."""
    values = json.loads(path.read_text()) if path.is_file() else {}
    path.write_text(json.dumps(values | changes))
