"""Tests of a model's dimensions and operations, against transformers and torch's own count."""

from pathlib import Path

import pytest
import torch

from cluster.experiments.bench.shapes import config_of, write_model
from learner.lora import adapt
from learner.model import logits_of, read_model
from learner.model_costs.operations import GPUS, gpu_of, operations_per_token, peak_of
from learner.model_costs.shape import FAMILY, ModelShape, read_shape, shape_of
from learner.packing import TokenSequence, pack_tensors, ungrouped
from learner.settings import LearnerSettings

SHAPE = ModelShape(hidden=128, inner=512, layers=3, heads=4, key_heads=2, vocab=2048, tied=False)


@pytest.mark.parametrize("lora", [0, 4])
def test_operations_match_the_count_of_torch(tmp_path: Path, lora: int) -> None:
    from torch.utils.flop_counter import FlopCounterMode

    settings = LearnerSettings(lora_rank=lora, autocast=False, threads=1)
    write_model(tmp_path, SHAPE)
    network = read_model(tmp_path, settings, "cpu")
    if lora:
        adapt(network, settings)
    pieces = [TokenSequence(prompt_ids=(5,) * 9, token_ids=(7,) * 24)] * 2
    lengths = [len(piece.prompt_ids) + len(piece.token_ids) - 1 for piece in pieces]
    with FlopCounterMode(display=False) as counter:
        logits_of(network, pack_tensors(ungrouped(pieces), "cpu")).sum().backward()  # type: ignore[no-untyped-call]
    wanted = operations_per_token(SHAPE, lengths, 48, lora=lora > 0) * sum(lengths)
    # torch counts full attention, not its causal half, and the adapters (one thirtieth here).
    assert counter.get_total_flops() == pytest.approx(wanted, rel=0.1 if lora else 0.05)


@pytest.mark.parametrize(("name", "billions"), [("0.5b", 0.494), ("1.5b", 1.54), ("3b", 3.09), ("7b", 7.62)])
def test_shapes_have_the_parameter_counts_of_their_names(name: str, billions: float) -> None:
    from transformers import AutoModelForCausalLM

    shape = FAMILY[f"qwen2.5-{name}"]
    with torch.device("meta"):
        network = AutoModelForCausalLM.from_config(config_of(shape))
    counted = sum(p.numel() for p in network.parameters())
    assert counted / 1e9 == pytest.approx(billions, rel=0.01)
    assert shape.weights == pytest.approx(counted, rel=1e-3)


def test_shape_is_read_from_a_configuration(tmp_path: Path) -> None:
    write_model(tmp_path, SHAPE)
    assert read_shape(tmp_path) == SHAPE
    assert read_shape(tmp_path / "missing") is None


def test_mixtures_of_experts_and_unknown_layers_have_no_shape() -> None:
    known = {"hidden_size": 8, "intermediate_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2}
    assert shape_of(known) is None
    assert shape_of(known | {"vocab_size": 32}) is not None
    assert shape_of(known | {"vocab_size": 32, "num_experts": 8}) is None


def test_peaks_are_known_by_a_part_of_the_device_name() -> None:
    assert peak_of("NVIDIA H100 80GB HBM3") == 989e12
    assert gpu_of("NVIDIA A100-SXM4-80GB") == GPUS["A100"]
    assert peak_of("a new card") is None
