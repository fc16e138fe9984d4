"""Generation of an engine: tokens a second through its actor, compared with the same engine called directly."""

import time
from collections.abc import Sequence
from dataclasses import replace

from cluster.acceptance.measurement import Measurement
from cluster.distributed.clients import PolicyClient
from cluster.distributed.launch import CALLS
from cluster.settings import RunSettings
from rollout.prompts import PAGE_STOP, first
from rollout.records import Request, Task

MOST_TOKENS = 256
"""Maximum tokens of a completion."""
MOST_REQUESTS = 64
"""Maximum concurrent completions."""
ROUNDS = "abba"
"""Order of measurements: `a` through the actor, `b` directly; alternating cancels slowdowns of the machine."""
SHARE = 0.9
"""Share of vLLM's speed that the actor must reach."""


def first_requests(tasks: Sequence[Task], settings: RunSettings, tokens: int = MOST_TOKENS) -> list[Request]:
    """One request for the first page of each task, of at most `tokens` tokens."""
    return [
        Request(
            messages=first(task),
            max_tokens=min(tokens, settings.episode.max_tokens),
            temperature=settings.episode.temperature,
            seed=seed,
            stop=PAGE_STOP,
        )
        for seed, task in enumerate(tasks)
    ]


def num_requests(settings: RunSettings) -> int:
    """Concurrent completions of the measurement: as many as an engine runs, but at most MOST_REQUESTS."""
    return min(MOST_REQUESTS, settings.policy.max_num_seqs)


async def measure_generation(engine: object, asked: Sequence[Request], timeout_s: float) -> tuple[Measurement, float]:
    """The measurement of one engine, and its tokens a second through the actor. Raises MachineError."""
    policy = PolicyClient([engine], timeout_s=timeout_s, limit=CALLS)
    tokens = dict.fromkeys(ROUNDS, 0)
    seconds = dict.fromkeys(ROUNDS, 0.0)
    try:
        # All prompts enter the prefix cache, which would otherwise favour the side that is measured later.
        await policy.complete_all([replace(request, max_tokens=4) for request in asked])
        for turn in ROUNDS:
            started = time.perf_counter()
            if turn == "a":
                tokens[turn] += await policy.complete_all(asked)
            else:
                tokens[turn] += await policy.pool.ask_one(0, "generate_directly", tuple(asked))
            seconds[turn] += time.perf_counter() - started
    finally:
        policy.pool.close()
    ours, direct = (tokens[turn] / seconds[turn] for turn in "ab")
    return judge_generation(ours, direct, len(asked)), ours


def judge_generation(ours: float, direct: float, concurrent: int) -> Measurement:
    """The measurement from tokens a second through the actor and of vLLM called directly."""
    share = ours / direct
    slow = share < SHARE
    return Measurement(
        what="generation of one engine",
        figure=ours,
        unit="tokens/s",
        expected=f"at least {SHARE:.0%} of vLLM called directly ({direct:,.0f} tokens/s)",
        verdict="slow" if slow else "ok",
        advice=f"{share:.0%} of it, with {concurrent} concurrent completions"
        + ("; other processes use the engine's cores, or raise cluster.policy_cpus" if slow else ""),
    )
