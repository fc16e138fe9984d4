"""Learner benchmark: tokens a second on first pages and revisions, compared with plain PyTorch loops."""

import random
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from statistics import median
from typing import Any

from cluster.experiments.bench.part import Figures, built_in_policy
from learner.settings import LearnerSettings
from reward.designs import tasks
from rollout.prompts import answer, first, revise
from rollout.records import Batch, Page, Sample

TASKS = 24
GROUP_SIZE = 8
TURNS = 5
"""Measurements of each side, alternating, after one warm-up."""


def bench_learner() -> Figures:
    """Tokens a second of the built-in policy's updates and of plain loops; on a GPU, also of models of 0.5 B and 7 B.

    `ratio_plain_torch`: learner over plain PyTorch on the same packed rows. `ratio_packed`: packed rows over padded
    micro-batches, both in plain PyTorch; `_sorted` if the samples are sorted by length. `ratio_siblings`: learner over
    plain loop on samples in groups; the plain loop processes a group's shared prompt once for each sample.
    """
    import torch

    settings = LearnerSettings(lr=1e-5)
    torch.set_num_threads(settings.threads)
    model = built_in_policy()
    written = pages(model, settings)
    figures = measure(model, settings, written, padded=True)
    figures["ratio_siblings"] = measure(model, settings, siblings(written))["ratio_plain_torch"]
    if torch.cuda.is_available():
        from cluster.experiments.bench.shapes import bench_shapes

        return figures | bench_shapes()
    print("learner: no GPU, models of 0.5 B and 7 B are not measured", file=sys.stderr)
    return figures


def measure(model_dir: Path, settings: LearnerSettings, samples: Sequence[Sample], *, padded: bool = False) -> Figures:
    """Measures the learner and plain loops on the same samples, alternating."""
    import torch

    from cluster.experiments.bench.plain import PlainLoop
    from learner.batch import pack
    from learner.engine import Engine
    from learner.lora import adapt
    from learner.model import read_model
    from learner.packing import sequence_of, ungrouped

    engine = Engine(model_dir, settings, init_method=_address())
    own = read_model(model_dir, settings, engine.device)
    if settings.lora_rank:
        adapt(own, settings)
    plain = PlainLoop(own, settings, engine.device)
    sequences = [sequence_of(sample) for sample in samples]
    lengths, waste = [sequence.length for sequence in sequences], []

    def update() -> None:
        waste.append(engine.update(Batch(samples=tuple(samples))).metrics["padding_waste"])

    def packed() -> None:
        plain.update_packed([ungrouped(sequences[i] for i in row) for row in pack(lengths, settings.token_budget)])

    sides: dict[str, Callable[[], Any]] = {"learner": update, "plain": packed}
    if padded:
        batched = read_model(model_dir, settings, engine.device)
        batched.set_attn_implementation("sdpa")
        loop, ordered = (
            PlainLoop(batched, settings, engine.device),
            sorted(sequences, key=lambda sequence: sequence.length),
        )
        sides["padded"] = lambda: loop.update_padded(sequences)
        sides["padded_sorted"] = lambda: loop.update_padded(ordered)
    seconds = {name: median(taken) for name, taken in in_turn(sides, torch.cuda.synchronize, engine.device).items()}
    tokens = float(sum(lengths))
    figures = {"tokens": tokens, "tokens_per_s": tokens / seconds["learner"], "padding_waste": waste[-1]}
    figures["ratio_plain_torch"] = seconds["plain"] / seconds["learner"]
    if padded:
        figures["ratio_packed"] = seconds["padded"] / seconds["plain"]
        figures["ratio_packed_sorted"] = seconds["padded_sorted"] / seconds["plain"]
    return figures | {f"{name}_s": taken for name, taken in seconds.items()}


def in_turn(sides: dict[str, Callable[[], Any]], synchronize: Callable[[], Any], device: str) -> dict[str, list[float]]:
    """Seconds of each side, measured alternately; the warm-up does not count."""
    taken: dict[str, list[float]] = {name: [] for name in sides}
    for turn in range(TURNS + 1):
        for name, side in sides.items():
            started = time.perf_counter()
            side()
            if device == "cuda":
                synchronize()
            if turn:
                taken[name].append(time.perf_counter() - started)
    return taken


def pages(model_dir: Path, settings: LearnerSettings) -> list[Sample]:
    """A first page and a revision of each built-in task, tokenised with the model's tokenizer, in the order of play."""
    from learner.model import read_tokenizer

    tokenizer, draw = read_tokenizer(model_dir), random.Random(0)
    samples = []
    for task in tasks(TASKS, seed=0, split="train"):
        page = Page(html=task.reference_html or "")
        for messages in (first(task), revise(task, page, ("The title is too small.", "The button does nothing."))):
            told = [{"role": message.role, "content": message.content} for message in messages]
            prompt = tokenizer.apply_chat_template(told, add_generation_prompt=True, return_dict=False)
            written = tokenizer(answer(page.html or ""), add_special_tokens=False)["input_ids"]
            some = tuple(written[: settings.token_budget - len(prompt)])
            samples.append(
                Sample(
                    prompt_ids=tuple(prompt), token_ids=some, logprobs=(-1.0,) * len(some), advantage=draw.gauss(0, 1)
                )
            )
    return samples


def siblings(samples: Sequence[Sample]) -> list[Sample]:
    """As many samples in groups with a shared prompt, first pages and revisions, each cut in its second half."""
    draw = random.Random(0)
    chosen = samples[:: GROUP_SIZE - 1]  # an odd step selects both first pages and revisions
    found = []
    for sample in [sample for sample in chosen for _ in range(GROUP_SIZE)][: len(samples)]:
        end = draw.randint(len(sample.token_ids) // 2, len(sample.token_ids))
        some, logprobs = sample.token_ids[:end], sample.logprobs[:end]
        found.append(replace(sample, token_ids=some, logprobs=logprobs, advantage=draw.gauss(0, 1)))
    return found


def _address() -> str:
    """A free local address for a single-rank process group."""
    import socket

    with socket.socket() as door:
        door.bind(("127.0.0.1", 0))
        return f"tcp://127.0.0.1:{door.getsockname()[1]}"
