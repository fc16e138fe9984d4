"""Tests of the memory arithmetic, against the allocations of real updates on tiny models, peft and transformers."""

import gc
import json
import random
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import pytest
import torch
from tiny_model import tiny_model

from cluster.experiments.bench.learner import _address
from cluster.experiments.bench.shapes import config_of, write_model
from learner.engine import Engine
from learner.lora import adapt
from learner.model import read_model
from learner.model_costs.memory import BUCKET, HALF, adapter_weights, cache_bytes, learner_memory
from learner.model_costs.shape import FAMILY, ModelShape
from learner.settings import LearnerSettings
from rollout.records import Batch, Sample

WIDE = ModelShape(hidden=256, inner=1024, layers=4, heads=4, key_heads=2, vocab=512, tied=False)
DEEP = ModelShape(hidden=128, inner=384, layers=6, heads=4, key_heads=1, vocab=2048, tied=False)
GIB = 1 << 30
TOKENS, TRAINED = 1024, 768


def live_bytes() -> int:
    """Bytes of all tensors that exist in this process, also of those that are mapped from a file."""
    gc.collect()
    found = {}
    for one in gc.get_objects():
        if issubclass(type(one), torch.Tensor):
            storage = one.untyped_storage()
            found[storage.data_ptr()] = storage.nbytes()
    return sum(found.values())


def largest_increase(folder: Path, engine: Engine, batch: Batch) -> int:
    """Bytes by which the allocations of one update exceed those before it, as torch's profiler counts them."""
    with torch.profiler.profile(activities=[torch.profiler.ProfilerActivity.CPU], profile_memory=True) as profiler:
        engine.update(batch)
    profiler.export_chrome_trace(str(folder / "trace.json"))
    events = json.loads((folder / "trace.json").read_text())["traceEvents"]
    counted = [(one["ts"], one["args"]["Total Allocated"], one["args"]["Bytes"]) for one in events if memory(one)]
    _, total, first = min(counted)
    return int(max(allocated for _, allocated, _ in counted) - (total - first))


def memory(event: dict[str, Any]) -> bool:
    """Whether an event of a trace is an allocation or a release of main memory."""
    return event.get("name") == "[memory]" and event["args"].get("Device Type") == 0


def measure_update(shape: ModelShape, settings: LearnerSettings, folder: Path) -> int:
    """Bytes at the peak of an update on one row. Runs in a process of its own: DeepSpeed frees an engine late."""
    tiny_model(folder)  # the tokenizer
    write_model(folder, shape)
    draw = random.Random(0)
    token_ids = tuple(draw.randrange(256) for _ in range(TOKENS))
    sample = Sample(
        prompt_ids=token_ids[:-TRAINED], token_ids=token_ids[-TRAINED:], logprobs=(-6.0,) * TRAINED, advantage=1.0
    )
    before = live_bytes()
    engine = Engine(folder, settings, init_method=_address())
    engine.update(Batch(samples=(sample,)))
    resting = live_bytes() - before
    return resting + largest_increase(folder, engine, Batch(samples=(sample,)))


@pytest.mark.engine
@pytest.mark.parametrize(
    ("shape", "changes"),
    [(WIDE, {}), (DEEP, {"recompute": True}), (WIDE, {"lora_rank": 8}), (DEEP, {"zero_stage": 3})],
    ids=["wide", "deep-recompute", "wide-lora", "deep-zero3"],
)
def test_an_update_takes_the_computed_memory(shape: ModelShape, changes: dict[str, Any], tmp_path: Path) -> None:
    settings = LearnerSettings(**{"dtype": "bfloat16", "autocast": False, "token_budget": TOKENS} | changes)
    with ProcessPoolExecutor(1, get_context("spawn")) as process:
        found = process.submit(measure_update, shape, settings, tmp_path).result()
    wanted = learner_memory(shape, settings, TOKENS, TRAINED)
    # ZeRO's buckets have the same size for every model and would hide the rest.
    buckets = 0 if settings.zero_stage == 1 else BUCKET * HALF
    assert found - buckets == pytest.approx(wanted.peak - buckets, rel=0.2)


@pytest.mark.parametrize("rank", [0, 4])
def test_adapters_have_the_number_of_weights_that_peft_adds(tmp_path: Path, rank: int) -> None:
    write_model(tmp_path, DEEP)
    settings = LearnerSettings(lora_rank=rank, autocast=False)
    network = read_model(tmp_path, settings, "cpu")
    if rank:
        adapt(network, settings)
    counted = sum(p.numel() for name, p in network.named_parameters() if ".lora_" in name)
    assert adapter_weights(DEEP, rank) == counted


def test_cache_has_the_size_of_the_keys_and_values_of_transformers() -> None:
    from transformers import AutoModelForCausalLM

    network = AutoModelForCausalLM.from_config(config_of(DEEP))
    with torch.no_grad():
        cache = network(input_ids=torch.ones((1, 33), dtype=torch.long), use_cache=True).past_key_values
    held = sum(one.nbytes for layer in cache.layers for one in (layer.keys, layer.values))
    assert cache_bytes(DEEP, 33) == held


def test_ranks_shard_by_stage() -> None:
    shape = FAMILY["qwen2.5-7b"]

    def of(stage: Any, ranks: int, **changes: Any) -> float:
        settings = LearnerSettings(zero_stage=stage, ranks=ranks, recompute=True, **changes)
        return learner_memory(shape, settings, 8192, 4096).peak / GIB

    assert of(1, 1) > of(1, 4) > of(2, 4) > of(3, 4) > of(3, 8)
    assert of(1, 1) > 140, "7 B does not fit on one GPU of 80 GB"
    assert of(3, 4) < 60
    assert of(3, 4, offload="optimizer") < of(3, 4)
    assert of(3, 4, offload="all") < of(3, 4, offload="optimizer")
    assert of(1, 1, lora_rank=16) < 30


def test_a_reference_model_needs_weights_of_its_own_unless_adapters_are_trained() -> None:
    shape = FAMILY["qwen2.5-0.5b"]

    def weights(**changes: Any) -> float:
        return learner_memory(shape, LearnerSettings(**changes), 4096, 2048).weights

    assert weights(kl_weight=0.1) == 2 * weights()
    assert weights(kl_weight=0.1, lora_rank=8) == weights(lora_rank=8)
