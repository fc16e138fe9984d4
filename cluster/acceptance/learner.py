"""The learner at the settings' batch shapes: tokens a second, utilisation, peak memory, and the longest sample."""

import random
from collections.abc import Sequence

from cluster.acceptance.measurement import Measurement, failed
from cluster.distributed.clients import LearnerClient
from cluster.plan import ASSUMED_ACCEPT_RATE, attempts
from cluster.settings import RunSettings
from learner.memory_use import MemoryUse
from learner.model_costs.operations import operations_per_token, peak_of
from learner.model_costs.shape import ModelShape
from rollout.errors import MachineError
from rollout.records import Batch, Sample

GIB = 1 << 30
ROWS = 4
"""Packed rows of each rank in the measured batch; a larger batch repeats them."""
FULL = 0.95
"""Share of the device's memory above which an update may fail: fragmentation and other processes take the rest."""
LOW_UTILISATION = 0.2
"""Share of the device's peak below which an update counts as slow."""
SMALLEST_VOCABULARY = 256


def batch_of(settings: RunSettings, prompt_tokens: Sequence[int], seed: int = 0) -> Batch:
    """Samples with the lengths of a step: first pages and revisions, whose prompts contain a page.

    `prompt_tokens` are lengths of real first prompts. Pages have half to all of `episode.max_tokens`. As many samples
    as a step has, but at most ROWS rows a rank. Their advantages are zero, so that the update changes no weight.
    """
    draw = random.Random(seed)
    budget, most = settings.learner.token_budget, settings.episode.max_tokens
    kept = attempts(settings.episode, ASSUMED_ACCEPT_RATE)[2]
    num = round(settings.groups * settings.group_size * kept)
    samples: list[Sample] = []
    left = budget * ROWS * settings.learner.ranks
    while len(samples) < num and left > 0:
        revision = draw.random() < 1 - 1 / kept
        page = draw.randint(most // 2, most)
        prompt = draw.choice(prompt_tokens) + (draw.randint(most // 2, most) if revision else 0)
        prompt = max(1, min(prompt, budget - page))
        samples.append(sample(draw, prompt, min(page, budget - prompt)))
        left -= prompt + page
    return Batch(samples=tuple(samples))


def sample(draw: random.Random, prompt: int, written: int) -> Sample:
    """A sample of random tokens with advantage zero."""
    token_ids = tuple(draw.randrange(SMALLEST_VOCABULARY) for _ in range(prompt + written))
    return Sample(
        prompt_ids=token_ids[:prompt], token_ids=token_ids[prompt:], logprobs=(-5.0,) * written, advantage=0.0
    )


def longest_sample(settings: RunSettings, context: int | None) -> Batch:
    """A batch of one sample with as many tokens as a row may have, of which half are trained."""
    longest = min(settings.learner.token_budget, context or settings.learner.token_budget)
    return Batch(samples=(sample(random.Random(0), longest - longest // 2, longest // 2),))


async def measure_learner(
    learner: LearnerClient, settings: RunSettings, shape: ModelShape | None, prompt_tokens: Sequence[int]
) -> tuple[list[Measurement], float]:
    """The measurements of updates, and the tokens a second of all ranks. Raises MachineError."""
    batch = batch_of(settings, prompt_tokens)
    await learner.update(batch)
    await learner.ranks.ask_all("memory", restart=True)
    update = await learner.update(batch)
    memory: list[MemoryUse] = await learner.ranks.ask_all("memory", restart=True)
    await learner.sync()  # engines that slept serve again
    lengths = [len(one.prompt_ids) + len(one.token_ids) - 1 for one in batch.samples]
    speed = sum(lengths) / update.metrics["seconds"]
    used = max(memory, key=lambda one: one.peak / one.total)
    trained = sum(len(one.token_ids) for one in batch.samples)
    share = utilisation(shape, lengths, trained, speed / settings.learner.ranks, used.device, settings)
    return [judge_speed(speed, share, used.device, len(lengths)), judge_memory(used, "an update")], speed


def utilisation(
    shape: ModelShape | None,
    lengths: Sequence[int],
    trained: int,
    speed: float,
    device: str,
    settings: RunSettings,
) -> float | None:
    """Model operations over the device's peak, given tokens a second of one rank; None if either is unknown."""
    peak = peak_of(device)
    if shape is None or peak is None:
        return None
    return speed * operations_per_token(shape, lengths, trained, lora=settings.learner.lora_rank > 0) / peak


def judge_speed(speed: float, share: float | None, device: str, num: int) -> Measurement:
    """The measurement of updates: tokens a second, and the utilisation if it is known."""
    slow = share is not None and share < LOW_UTILISATION
    known = f"{share:.0%} of the peak of {device}" if share is not None else f"the peak of {device!r} is not known"
    return Measurement(
        what="updates of the learner",
        figure=speed,
        unit="tokens/s",
        expected=f"at least {LOW_UTILISATION:.0%} of the peak" if share is not None else "none",
        verdict="slow" if slow else "ok",
        advice=f"{known}, {num} samples" + ("; raise learner.token_budget, or set recompute = false" if slow else ""),
    )


def judge_memory(used: MemoryUse, what: str) -> Measurement:
    """The measurement of the rank with the least free memory."""
    full = used.peak > FULL * used.total
    return Measurement(
        what=f"peak memory of {what}",
        figure=used.peak / GIB,
        unit="GiB",
        expected=f"at most {FULL:.0%} of {used.total / GIB:.0f} GiB",
        verdict="wrong" if full else "ok",
        advice="set learner.recompute, lower token_budget, or raise zero_stage (relook plan)" if full else "",
    )


async def measure_longest(learner: LearnerClient, batch: Batch) -> Measurement:
    """The measurement of an update on the longest possible sample; the last one, as a rank may run out of memory."""
    tokens = len(batch.samples[0].prompt_ids) + len(batch.samples[0].token_ids)
    what = f"a sample of {tokens} tokens"
    try:
        await learner.update(batch)
        memory: list[MemoryUse] = await learner.ranks.ask_all("memory")
    except MachineError as fault:
        return failed(what, fault)
    except RuntimeError as error:
        if type(error).__name__.find("OutOfMemory") < 0:
            raise
        return failed(what, MemoryError("it does not fit: set learner.recompute, or lower token_budget"))
    return judge_memory(max(memory, key=lambda one: one.peak / one.total), what)
