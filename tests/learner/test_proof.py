"""Tests of the model proof: a model is packed, read with one sample per row, or refused, by measurement."""

from pathlib import Path

import pytest
import torch
from tiny_families import change_json, tiny_family
from tiny_model import tiny_model

from learner.model_directory import read_config, shortened
from learner.proof import BOUND, prove
from learner.settings import LearnerSettings
from rollout.errors import ModelError

SETTINGS = LearnerSettings(threads=1)
LONGEST = 512


@pytest.fixture(autouse=True)
def _one_thread() -> None:
    torch.set_num_threads(1)


@pytest.mark.parametrize("kind", ["llama", "window", "softcap", "sinks", "dropout", "experts"])
def test_model_with_exact_packing_is_packed(tmp_path: Path, kind: str) -> None:
    tiny_family(tmp_path, kind)
    proof = prove(tmp_path, SETTINGS, LONGEST, {})
    assert proof.packed
    assert max(proof.gap, proof.gradient) < BOUND


@pytest.mark.parametrize("kind", ["alibi", "recurrent", "convolution", "longrope"])
def test_model_with_inexact_packing_reads_one_sample_per_row(tmp_path: Path, kind: str) -> None:
    tiny_family(tmp_path, kind)
    proof = prove(tmp_path, SETTINGS, LONGEST, {})
    assert not proof.packed
    assert proof.packed_gap > 0.05
    assert max(proof.gap, proof.gradient) < BOUND


def test_longrope_is_packed_if_its_factors_cannot_change_in_the_run(tmp_path: Path) -> None:
    tiny_family(tmp_path, "longrope")
    config = read_config(tmp_path)
    config.original_max_position_embeddings = config.rope_parameters["original_max_position_embeddings"] = 200
    config.save_pretrained(tmp_path)
    assert prove(tmp_path, SETTINGS, 200, {}).packed
    assert not prove(tmp_path, SETTINGS, 201, {}).packed


def test_dynamic_rope_is_refused_with_the_length_that_avoids_it(tmp_path: Path) -> None:
    tiny_family(tmp_path, "dynamic")
    with pytest.raises(ModelError, match=r"learner and transformers differ .*set policy.max_model_len = 512"):
        prove(tmp_path, SETTINGS, 1024, {})
    assert prove(tmp_path, SETTINGS, 512, {}).packed


def test_recomputed_activations_are_proven(tmp_path: Path) -> None:
    tiny_family(tmp_path, "dropout")
    assert prove(tmp_path, SETTINGS.model_copy(update={"recompute": True}), LONGEST, {}).packed


def test_large_model_is_proven_with_layers_of_every_type(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    tiny_family(tmp_path, "softcap")
    config = read_config(tmp_path)
    config.num_hidden_layers, config.layer_types = 8, ["sliding_attention", "full_attention"] * 4
    assert shortened(config, LONGEST).num_hidden_layers == 8
    monkeypatch.setattr("learner.model_directory.WHOLE", 1000)
    small = shortened(config, LONGEST)
    assert (small.num_hidden_layers, small.layer_types) == (2, ["sliding_attention", "full_attention"])
    config.layer_types = ["sliding_attention"] * 5 + ["full_attention"] * 3
    assert shortened(config, LONGEST).num_hidden_layers == 6


def test_directory_without_weights_is_refused(tmp_path: Path) -> None:
    tiny_model(tmp_path)
    (tmp_path / "model.safetensors").unlink()
    with pytest.raises(ModelError, match="holds no weights, wanted"):
        prove(tmp_path, SETTINGS, LONGEST, {})


def test_truncated_or_incomplete_weights_are_refused(tmp_path: Path) -> None:
    from safetensors.torch import load_file, save_file

    tiny_model(tmp_path)
    weights = tmp_path / "model.safetensors"
    tensors = load_file(weights)
    del tensors["model.norm.weight"]
    save_file(tensors, weights, metadata={"format": "pt"})
    with pytest.raises(ModelError, match=r"the weights lack 1 of the model's tensors, such as model\.norm\.weight"):
        prove(tmp_path, SETTINGS, LONGEST, {})
    weights.write_bytes(weights.read_bytes()[:5000])
    with pytest.raises(ModelError, match="transformers cannot load it"):
        prove(tmp_path, SETTINGS, LONGEST, {})


def test_unknown_model_type_is_refused(tmp_path: Path) -> None:
    tiny_model(tmp_path)
    change_json(tmp_path / "config.json", model_type="llama-next", architectures=["LlamaNext"])
    with pytest.raises(ModelError, match=r"cannot read config\.json: .*llama-next"):
        prove(tmp_path, SETTINGS, LONGEST, {})
