"""Benchmark of the policy engine: tokens a second on concurrent pages, compared with vLLM called directly."""

import asyncio
import time
from typing import Any

from actors.policy.direct import generate
from actors.settings import PolicySettings
from actors.vllm_environment import environment, variables
from cluster.experiments.bench.part import Figures, built_in_policy
from cluster.settings import RunSettings
from reward.designs import tasks
from rollout.prompts import PAGE_STOP, first
from rollout.records import Request

COMPLETIONS = 64
ROUNDS = "abba"
"""Order of measurements: `a` is this engine, `b` is vLLM; alternating cancels slowdowns of the machine."""


def bench_rollout() -> Figures:
    """Tokens a second on concurrent first pages, and their ratio to vLLM called directly.

    Both engines get the same prompts and sampling parameters, share one process and alternate.
    """
    return asyncio.run(_rollout())


async def _rollout() -> Figures:
    from actors.policy.engine import VLLMPolicy

    model, settings = built_in_policy(), RunSettings().policy
    asked = [
        Request(messages=first(task), max_tokens=400, seed=index, stop=PAGE_STOP)
        for index, task in enumerate(tasks(COMPLETIONS, seed=0, split="train"))
    ]
    policy = VLLMPolicy(str(model), settings, seed=0)
    started = time.perf_counter()
    await policy.start()
    start = time.perf_counter() - started
    raw = await asyncio.to_thread(_raw_engine, str(model), settings)
    prompts = [policy.prompt_ids(request.messages) for request in asked]

    async def ours(num: int) -> int:
        written = await asyncio.gather(*map(policy.complete, asked[:num]))
        return sum(len(one.token_ids) for several in written for one in several)

    async def theirs(num: int) -> int:
        return sum(await asyncio.gather(*map(generate, [raw] * num, prompts, asked)))

    tokens, seconds = {"a": 0, "b": 0}, {"a": 0.0, "b": 0.0}
    try:
        await ours(4), await theirs(4)
        for turn in ROUNDS:
            started = time.perf_counter()
            tokens[turn] += await (ours if turn == "a" else theirs)(COMPLETIONS)
            seconds[turn] += time.perf_counter() - started
    finally:
        await policy.stop()
        raw.shutdown()
    rate, raw_rate = tokens["a"] / seconds["a"], tokens["b"] / seconds["b"]
    return {
        "start_s": start,
        "tokens": float(tokens["a"]),
        "raw_tokens": float(tokens["b"]),
        "tokens_per_s": rate,
        "raw_tokens_per_s": raw_rate,
        "ratio_raw_vllm": rate / raw_rate,
    }


def _raw_engine(model: str, settings: PolicySettings) -> Any:
    """A vLLM engine for generation only, without weight transfer and worker extension."""
    with environment(variables(settings)):
        from vllm.engine.arg_utils import AsyncEngineArgs
        from vllm.platforms import current_platform
        from vllm.v1.engine.async_llm import AsyncLLM

        # On CPU, chunked prefills of seeded requests crash vLLM, and a separate worker process would busy-wait.
        cpu: dict[str, Any] = {
            "dtype": "float32",
            "enforce_eager": True,
            "kv_cache_memory_bytes": int(settings.kv_cache_gib * 2**30),
            "enable_chunked_prefill": False,
        }
        more = cpu if current_platform.is_cpu() else {"gpu_memory_utilization": settings.gpu_memory_utilization / 2}
        config = AsyncEngineArgs(model=model, max_num_seqs=settings.max_num_seqs, **more).create_engine_config()
        config.parallel_config.distributed_executor_backend = "uni"
        return AsyncLLM.from_vllm_config(config, disable_log_stats=True)
