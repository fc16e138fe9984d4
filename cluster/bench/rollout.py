"""Policy engines: tokens a second on concurrent pages, and the time of one weight sync."""

import asyncio
import time

from cluster.bench.part import Figures, built_in_policy
from cluster.settings import RunSettings
from reward.designs import tasks
from rollout.prompts import PAGE_STOP, first
from rollout.records import Request

COMPLETIONS = 64


def bench_rollout() -> Figures:
    """Tokens a second of one engine on concurrent first pages, and seconds of one weight sync."""
    return asyncio.run(_rollout())


async def _rollout() -> Figures:
    from actors.policy import VLLMPolicy

    model = built_in_policy()
    policy = VLLMPolicy(str(model), RunSettings().policy, 0)
    asked = [
        Request(messages=first(task), max_tokens=400, seed=index, stop=PAGE_STOP)
        for index, task in enumerate(tasks(COMPLETIONS, seed=0, split="train"))
    ]
    started = time.perf_counter()
    await policy.start()
    start = time.perf_counter() - started
    try:
        await asyncio.gather(*map(policy.complete, asked[:4]))
        started = time.perf_counter()
        written = await asyncio.gather(*map(policy.complete, asked))
        spent = time.perf_counter() - started
        blob = (model / "model.safetensors").read_bytes()
        started = time.perf_counter()
        await policy.update_weights(blob, 1)
        sync = time.perf_counter() - started
    finally:
        await policy.stop()
    tokens = sum(len(one.token_ids) for several in written for one in several)
    return {
        "start_s": start,
        "tokens": float(tokens),
        "tokens_per_s": tokens / spent,
        "sync_s": sync,
        "sync_bytes_per_s": len(blob) / sync,
    }
