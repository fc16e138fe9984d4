"""Generation with vLLM alone, without this project's actor: the baseline of measurements."""

import uuid
from typing import Any

from actors.policy.vllm_engine import sampling_parameters
from rollout.records import Request
from rollout.seeds import seed_of


async def generate(engine: Any, prompt: list[int], request: Request) -> int:
    """Generates the first completion of a request with a vLLM `AsyncLLM`; returns the number of tokens."""
    sampling = sampling_parameters(
        max_tokens=request.max_tokens,
        temperature=request.temperature,
        seed=seed_of(request.seed, 0),
        stop=list(request.stop),
    )
    name = f"direct-{uuid.uuid4().hex}"
    outputs = [output async for output in engine.generate({"prompt_token_ids": prompt}, sampling, name)]
    return len(outputs[-1].outputs[0].token_ids)
