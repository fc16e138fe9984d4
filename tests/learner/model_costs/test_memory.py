"""Tests of the memory arithmetic, against the allocations of real updates on tiny models, peft and transformers."""

import gc
import json
import random
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


@pytest.fixture(scope="module")
def address() -> str:
    return _address()


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


@pytest.mark.engine
@pytest.mark.filterwarnings("ignore::DeprecationWarning")
@pytest.mark.filterwarnings("ignore::FutureWarning")
@pytest.mark.filterwarnings("ignore::UserWarning")
@pytest.mark.parametrize("shape", [WIDE, DEEP], ids=["wide", "deep"])
@pytest.mark.parametrize(
    "changes",
    [{}, {"recompute": True}, {"lora_rank": 8}, {"zero_stage": 2}, {"zero_stage": 3}, {"dtype": "float32"}],
    ids=str,
)
def test_an_update_takes_the_computed_memory(
    shape: ModelShape, changes: dict[str, Any], address: str, tmp_path: Path
) -> None:
    tokens, trained = 1024, 768
    settings = LearnerSettings(**{"dtype": "bfloat16", "autocast": False, "token_budget": tokens} | changes)
    tiny_model(tmp_path)  # the tokenizer
    write_model(tmp_path, shape)
    draw = random.Random(0)
    token_ids = tuple(draw.randrange(256) for _ in range(tokens))
    sample = Sample(
        prompt_ids=token_ids[:-trained], token_ids=token_ids[-trained:], logprobs=(-6.0,) * trained, advantage=1.0
    )
    before = live_bytes()
    engine = Engine(tmp_path, settings, init_method=address)
    engine.update(Batch(samples=(sample,)))
    resting = live_bytes() - before
    found = resting + largest_increase(tmp_path, engine, Batch(samples=(sample,)))
    wanted = learner_memory(shape, settings, tokens, trained)
    engine.engine.destroy()
    # ZeRO's buckets have the same size for every model and would hide the rest.
    size = HALF if settings.dtype == "bfloat16" else 4
    buckets = 0 if settings.zero_stage == 1 and size == HALF else BUCKET * size
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
