"""Arguments of a vLLM policy engine, from the settings and the device."""

from typing import Any

from actors.policy.engine_node import EngineNode
from actors.settings import PolicySettings
from actors.vllm_environment import backend_of

EXTENSION = "actors.transfer.receiver.WeightsExtension"
CPU_BLOCK = 32
"""Tokens per KV-cache block on CPU: with vLLM's 128, short prompts shared by siblings would never be cached."""


def engine_config(model_dir: str, seed: int, settings: PolicySettings, node: EngineNode | None) -> Any:
    """vLLM's `VllmConfig` of an engine, or of its part on `node`. Raises the errors of vLLM."""
    from vllm.engine.arg_utils import AsyncEngineArgs

    arguments = engine_arguments(model_dir, seed, settings)
    if node is None:
        return AsyncEngineArgs(**arguments).create_engine_config()
    several = {
        "nnodes": settings.nodes,
        "node_rank": node.rank,
        "master_addr": node.host,
        "master_port": node.port,
    }
    return AsyncEngineArgs(**arguments, **several).create_engine_config(headless=node.rank > 0)


def engine_arguments(model_dir: str, seed: int, settings: PolicySettings) -> dict[str, Any]:
    """Keyword arguments of `AsyncEngineArgs`."""
    from vllm.config import WeightTransferConfig
    from vllm.platforms import current_platform

    cpu = current_platform.is_cpu()
    automatic = "float32" if cpu else "bfloat16"
    arguments = {
        "model": model_dir,
        "seed": seed,
        "dtype": automatic if settings.dtype == "auto" else settings.dtype,
        "max_model_len": settings.max_model_len,
        "max_num_seqs": settings.max_num_seqs,
        "tensor_parallel_size": settings.tensor_parallel,
        "distributed_executor_backend": "mp",
        "logprobs_mode": "processed_logprobs",
        "enable_prefix_caching": True,
        "weight_transfer_config": WeightTransferConfig(backend=f"relook_{backend_of(settings)}"),
        "worker_extension_cls": EXTENSION,
        "use_tqdm_on_load": False,
    }
    if not cpu:
        return arguments | {
            "gpu_memory_utilization": settings.gpu_memory_utilization,
            "enable_sleep_mode": settings.sleep_level > 0,
        }
    return arguments | {
        "enable_prefix_caching": not _has_state(model_dir),
        "enforce_eager": True,
        "block_size": CPU_BLOCK,
        "kv_cache_memory_bytes": int(settings.kv_cache_gib * 2**30),
        # A seeded request whose prompt is prefilled in chunks kills vLLM on CPU ("CPU Generator does not use offset").
        "enable_chunked_prefill": False,
    }


def _has_state(model_dir: str) -> bool:
    """Whether a model has recurrent layers: their prefixes can be cached only with chunked prefill."""
    from vllm.engine.arg_utils import EngineArgs

    return bool(EngineArgs(model=model_dir).create_model_config().has_inner_state)
