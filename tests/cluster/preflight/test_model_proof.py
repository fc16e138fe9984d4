"""Tests of the model proof in the driver: it runs in a separate process, once per model and settings."""

from pathlib import Path

import pytest
from tiny_families import tiny_family

from cluster.preflight.model_proof import prove_model
from cluster.settings import RunSettings
from rollout.errors import ModelError


async def test_proof_is_cached_until_the_model_changes(tmp_path: Path) -> None:
    run, model = settings_of(tmp_path, "recurrent")
    proof = await prove_model(run, model)
    assert (proof.model_type, proof.packed) == ("qwen3_next", False)
    assert "one sample a row with the model's own attention" in str(proof)
    kept = list((tmp_path / "cache" / "proofs").iterdir())
    assert len(kept) == 1
    kept[0].write_text(kept[0].read_text().replace("qwen3_next", "kept"))
    assert (await prove_model(run, model)).model_type == "kept"
    tiny_family(model, "llama")
    again = await prove_model(run, model)
    assert (again.model_type, again.packed) == ("llama", True)


async def test_unusable_model_is_refused_in_one_line(tmp_path: Path) -> None:
    run, model = settings_of(tmp_path, "llama")
    (model / "model.safetensors").unlink()
    with pytest.raises(ModelError, match=r"model: holds no weights, wanted .* copy the whole model directory$"):
        await prove_model(run, model)


async def test_crash_of_the_proof_process_is_reported_with_its_exit_code(tmp_path: Path) -> None:
    run, model = settings_of(tmp_path, "llama")
    (model / "tokenizer.json").write_text("{")
    with pytest.raises(ModelError, match=r"cannot use this model: its proof failed with exit code 1 \(.+\)"):
        await prove_model(run, model)


def settings_of(folder: Path, kind: str) -> tuple[RunSettings, Path]:
    model = folder / "model"
    tiny_family(model, kind)
    return RunSettings(model=str(model), cache=str(folder / "cache")), model
