"""Agreement of engine and learner: log-probs of the same tokens on real prompts, and the bound that follows."""

import asyncio
import math
from collections.abc import Sequence

from cluster.acceptance.generation import first_requests
from cluster.acceptance.measurement import Measurement, Verdict
from cluster.distributed.clients import LearnerClient
from cluster.settings import RunSettings
from rollout.records import Task

MOST_TOKENS = 512
"""Maximum tokens of a completion that is compared; longer ones take longer and show no other differences."""
SAFETY = 2.0
"""The proposed bound over the largest measured gap: a later gap may be larger, as it is a maximum over few tokens."""
SLACK = 50.0
"""A bound above the proposed one by this factor would let engines pass that hold weights of another version."""


async def gaps_on_prompts(learner: LearnerClient, tasks: Sequence[Task], settings: RunSettings) -> list[float]:
    """Absolute differences of the log-probs, in nats, one for each token of each prompt and its completion.

    The first engine samples a completion of each task's first prompt; the learner computes the same tokens. Raises
    MachineError.
    """
    asked = first_requests(tasks, settings, MOST_TOKENS)
    answers = await asyncio.gather(*(learner.engines.ask_one(0, "complete", request) for request in asked))
    found: list[float] = []
    for (written,) in answers:
        # An engine scores no sequence that fills its context.
        token_ids = written.prompt_ids + written.token_ids[:-1]
        theirs = await learner.engines.ask_one(0, "canary", token_ids)
        mine = (await learner.ranks.ask_all("logprobs", token_ids))[0]
        found += [abs(one - other) for one, other in zip(mine, theirs, strict=True)]
    return found


def judge_gaps(gaps: Sequence[float], canary: float, max_gap: float) -> Measurement:
    """The largest gap of real prompts and of the canary sequence, and the bound that follows for `max_logprob_gap`.

    `max_gap` is the settings' bound. An engine above it stops the run after a sync.
    """
    largest = max([*gaps, canary])
    bound = proposed_bound(largest)
    middle = sorted(gaps)[len(gaps) // 2] if gaps else math.nan
    advice = f"median {middle:.1g} on {len(gaps)} tokens, canary {canary:.1g}"
    verdict: Verdict = "ok" if largest <= max_gap else "wrong"
    if verdict == "wrong" or max_gap > SLACK * bound or max_gap < bound:
        advice += f"; set cluster.max_logprob_gap = {bound:g}"
    return Measurement(
        what="log-prob gap, engine and learner",
        figure=largest,
        unit="nats",
        expected=f"at most {max_gap:g} (cluster.max_logprob_gap)",
        verdict=verdict,
        advice=advice,
    )


def proposed_bound(gap: float) -> float:
    """SAFETY times the gap, rounded up to one significant digit. Example: `proposed_bound(0.013)` is 0.03."""
    if not gap > 0:
        return 1e-6
    wanted = max(1e-6, SAFETY * gap)
    power = 10.0 ** math.floor(math.log10(wanted))
    return float(f"{math.ceil(wanted / power - 1e-9) * power:.0e}")
