"""Learner benchmark on a GPU: models of 0.5 B and 7 B parameters with random weights, compared with plain loops.

`python -m cluster.experiments.bench.shapes CASE` measures one case in its own process, which frees its memory.
"""

import json
import random
import subprocess
import sys
import tempfile
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import psutil
import torch

from cluster.experiments.bench.learner import measure
from cluster.experiments.bench.part import Figures, built_in_policy
from learner.model import read_tokenizer
from learner.model_costs.operations import operations_per_token, peak_of
from learner.model_costs.shape import FAMILY, ModelShape
from learner.settings import LearnerSettings
from rollout.records import Sample

GIB = 2**30
PAGES = 32
PROMPT, SHORTEST, LONGEST = 512, 512, 3072
"""Tokens of the prompt (brief and page under revision), and of the shortest and longest answer."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Case:
    """A model, its training settings, and the GPU and main memory that it requires."""

    name: str
    shape: ModelShape
    gpu_gib: int
    ram_gib: int
    settings: dict[str, Any] = field(default_factory=dict)


CASES = (
    Case(name="0.5b", shape=FAMILY["qwen2.5-0.5b"], gpu_gib=70, ram_gib=16),
    Case(
        name="7b_lora",
        shape=FAMILY["qwen2.5-7b"],
        gpu_gib=70,
        ram_gib=40,
        settings={"lora_rank": 16, "recompute": True},
    ),
    # Float32 masters, gradients and AdamW's two moments: 16 bytes a weight in main memory.
    Case(
        name="7b",
        shape=FAMILY["qwen2.5-7b"],
        gpu_gib=70,
        ram_gib=260,  # including the plain loop's copy
        settings={"offload": "optimizer", "zero_stage": 2, "recompute": True},
    ),
)


def bench_shapes() -> Figures:
    """Tokens a second, ratio to a plain loop, and share of the GPU's peak, for each case that fits."""
    gpu = torch.cuda.get_device_properties(0)
    peak = peak_of(gpu.name)
    if peak is None:
        print(f"learner: the peak of {gpu.name} is unknown, utilisation is not reported", file=sys.stderr)
    figures: Figures = {}
    for case in CASES:
        have = gpu.total_memory // GIB, psutil.virtual_memory().available // GIB
        if have[0] < case.gpu_gib or have[1] < case.ram_gib:
            wants = f"{case.gpu_gib} GiB of GPU memory and {case.ram_gib} GiB of RAM"
            print(f"learner: {case.name} needs {wants}, got {have[0]} and {have[1]}; skipped", file=sys.stderr)
            continue
        shown = subprocess.run(
            [sys.executable, "-m", __name__, case.name], stdout=subprocess.PIPE, text=True, check=True
        )
        found: Figures = json.loads(shown.stdout.strip().splitlines()[-1])
        if peak is not None:
            found["mfu"] = found["tokens_per_s"] * found["flops_per_token"] / peak
            found["mfu_plain"] = found["mfu"] / found["ratio_plain_torch"]
        figures |= {f"{case.name}_{key}": value for key, value in found.items()}
    return figures


def bench_case(case: Case) -> Figures:
    """Measures the learner and a plain loop on one model, in this process."""
    settings = LearnerSettings(lr=1e-6, token_budget=8192, distill_weight=0, **case.settings)
    samples = _samples(case.shape)
    with tempfile.TemporaryDirectory() as folder:
        write_model(Path(folder), case.shape)
        # The engine needs a tokenizer, but the benchmark's samples are not text.
        read_tokenizer(built_in_policy()).save_pretrained(folder)
        figures = measure(Path(folder), settings, samples)
    lengths = [len(sample.prompt_ids) + len(sample.token_ids) - 1 for sample in samples]
    trained = sum(len(sample.token_ids) for sample in samples)
    operations = operations_per_token(case.shape, lengths, trained, lora=settings.lora_rank > 0)
    return figures | {"flops_per_token": operations}


def write_model(folder: Path, shape: ModelShape) -> None:
    """Writes a model with random bfloat16 weights, without a tokenizer."""
    from transformers import Qwen2ForCausalLM

    torch.manual_seed(0)
    with torch.device("cuda" if torch.cuda.is_available() else "cpu"):
        Qwen2ForCausalLM(config_of(shape)).to(torch.bfloat16).save_pretrained(folder)


def config_of(shape: ModelShape) -> Any:
    """The shape as a transformers Qwen2Config."""
    from transformers import Qwen2Config

    return Qwen2Config(
        vocab_size=shape.vocab,
        hidden_size=shape.hidden,
        intermediate_size=shape.inner,
        num_hidden_layers=shape.layers,
        num_attention_heads=shape.heads,
        num_key_value_heads=shape.key_heads,
        tie_word_embeddings=shape.tied,
        dtype=torch.bfloat16,
    )


def _samples(shape: ModelShape) -> list[Sample]:
    draw = random.Random(0)
    return [
        Sample(
            prompt_ids=tuple(draw.randrange(shape.vocab) for _ in range(PROMPT)),
            token_ids=(written := tuple(draw.randrange(shape.vocab) for _ in range(draw.randint(SHORTEST, LONGEST)))),
            logprobs=(-12.0,) * len(written),
            advantage=draw.gauss(0, 1),
        )
        for _ in range(PAGES)
    ]


if __name__ == "__main__":
    print(json.dumps(bench_case(next(case for case in CASES if case.name == sys.argv[1]))))
