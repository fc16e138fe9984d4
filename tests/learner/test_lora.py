"""Tests of LoRA adapters on the real engine: they match a plain loop, keep the base, and are exported merged."""

from pathlib import Path
from typing import Any

import plain_torch
import pytest
import torch
from safetensors.torch import load as read_weights
from tiny_batches import LESSONS, samples
from tiny_model import tiny_model
from torch import Tensor

from learner.engine import Engine
from learner.settings import LearnerSettings
from rollout.errors import CheckpointError
from rollout.records import Batch

pytestmark = [
    pytest.mark.engine,
    # Warnings of DeepSpeed and torch.
    pytest.mark.filterwarnings("ignore::DeprecationWarning"),
    pytest.mark.filterwarnings("ignore::FutureWarning"),
    pytest.mark.filterwarnings("ignore::UserWarning"),
]
SETTINGS = LearnerSettings(
    lr=1e-2, token_budget=128, autocast=False, threads=1, lora_rank=4, lora_alpha=8, lora_targets=("q_proj", "up_proj")
)
IDS = samples(1)[0].prompt_ids + samples(1)[0].token_ids


@pytest.fixture(scope="module")
def tied(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model with tied embeddings, which no adapter may change."""
    folder = tmp_path_factory.mktemp("tied")
    tiny_model(folder, tied=True)
    return folder


def start(model: Path, meeting: str, **changes: Any) -> Engine:
    torch.set_num_threads(1)
    return Engine(model, SETTINGS.model_copy(update=changes), init_method=meeting)


def adapters(engine: Engine) -> dict[str, Tensor]:
    return {name: p.detach().clone() for name, p in engine.module.named_parameters() if p.requires_grad}


def plain_updates(model: Path, matrices: dict[str, Tensor], updates: int) -> dict[str, Tensor]:
    """All weights after updates on `samples()` in plain torch, for a model with weights W + 2 BA."""
    network = plain_torch.read(model).requires_grad_(False)
    matrices = {name: matrix.requires_grad_() for name, matrix in matrices.items()}

    def whole() -> dict[str, Tensor]:
        found = dict(network.named_parameters())
        for name, down in matrices.items():
            if ".lora_A." in name:
                owner = name.partition(".lora_A.")[0] + ".weight"
                found[owner] = found[owner] + 2 * matrices[name.replace(".lora_A.", ".lora_B.")] @ down
        return found

    optimizer = torch.optim.AdamW(list(matrices.values()), lr=SETTINGS.lr, betas=SETTINGS.betas, weight_decay=0)
    num = sum(len(sample.token_ids) for sample in samples())
    for _ in range(updates):
        optimizer.zero_grad()
        for sample in samples():
            adapted = lambda ids: torch.func.functional_call(network, whole(), (ids,))  # noqa: E731
            (plain_torch.policy_loss(adapted, sample, SETTINGS, 1.0) / num).backward()
        torch.nn.utils.clip_grad_norm_(matrices.values(), SETTINGS.grad_clip)
        optimizer.step()
    return {name: weight.detach() for name, weight in whole().items()}


@pytest.mark.parametrize("stage", [1, 2, 3])
def test_adapters_match_a_plain_loop_and_keep_the_base_weights(
    model: Path, tied: Path, meeting: str, stage: int, tmp_path: Path
) -> None:
    model = tied if stage == 3 else model
    drawn = adapters(start(model, meeting))
    engine = start(model, meeting, zero_stage=stage, recompute=stage == 2)
    before = plain_torch.read(model)
    first = read_weights(engine.weights())
    assert all(torch.equal(first[name], weight) for name, weight in before.named_parameters())
    for _ in range(3):
        engine.update(Batch(samples=samples()))
    found, wanted = read_weights(engine.weights()), plain_updates(model, drawn, 3)
    assert found.keys() == wanted.keys()
    for name, weight in before.named_parameters():
        adapted = name.split(".")[-2] in SETTINGS.lora_targets
        assert torch.equal(found[name], weight) is not adapted, name
        # AdamW's first steps follow the gradient's sign at any magnitude, so rounding shows where it is almost zero.
        assert (found[name] - wanted[name]).abs().max() < 1e-4, name
        assert (found[name] - wanted[name]).norm() <= 5e-5 * wanted[name].norm(), name  # processors round differently
    engine.export(tmp_path / "champion")
    with torch.no_grad():
        exported = plain_torch.read(tmp_path / "champion")(torch.tensor([IDS])).logits[0].log_softmax(-1)
    assert engine.logprobs(IDS) == pytest.approx([exported[i, t].item() for i, t in enumerate(IDS[1:])], abs=1e-5)
    assert not list((tmp_path / "champion").glob("adapter*"))
    assert start(tmp_path / "champion", meeting, lora_rank=0).logprobs(IDS) == pytest.approx(engine.logprobs(IDS))


@pytest.mark.parametrize("stage", [1, 2, 3])
def test_adapter_checkpoint_without_base_weights_resumes_identically(
    model: Path, meeting: str, stage: int, tmp_path: Path
) -> None:
    kind: dict[str, Any] = {"zero_stage": stage, "kl_weight": 0.5, "lora_rank": 1, "lora_targets": ("q_proj",)}
    engine = start(model, meeting, **kind)
    first, *then = (Batch(samples=samples(4, seed=seed), lessons=LESSONS[:1]) for seed in range(3))
    engine.update(first)
    engine.save(tmp_path / "step-1")
    at_one = engine.weights()
    ahead = [engine.update(batch).metrics["kl"] for batch in then]
    resumed = start(model, meeting, **kind)
    resumed.load(tmp_path / "step-1")
    assert (resumed.version, resumed.weights() == at_one) == (1, True)
    assert [resumed.update(batch).metrics["kl"] for batch in then] == ahead
    assert resumed.weights() == engine.weights()
    engine.load(tmp_path / "step-1")
    assert (engine.version, engine.weights() == at_one) == (1, True)
    kept = sum(path.stat().st_size for path in (tmp_path / "step-1").rglob("*.pt"))
    assert kept < (model / "model.safetensors").stat().st_size / 2


@pytest.mark.parametrize("stage", [1, 3])
def test_kl_reference_of_adapters_is_the_base_model(model: Path, meeting: str, stage: int) -> None:
    engine = start(model, meeting, zero_stage=stage, kl_weight=1e-9, kl_estimator="k2")
    assert engine.reference is None
    batch, (sample, *_) = Batch(samples=samples(1)), samples(1)
    metrics = [engine.update(batch).metrics["kl"] for _ in range(3)]
    written = slice(len(sample.prompt_ids) - 1, None)
    now = torch.tensor(engine.logprobs(IDS)[written])
    with torch.no_grad():
        logits = plain_torch.read(model)(torch.tensor([IDS])).logits[0, :-1].log_softmax(-1)
    base = logits.gather(-1, torch.tensor(IDS[1:])[:, None])[written, 0]
    assert metrics[0] == 0
    assert metrics[2] > metrics[1] > 0
    assert engine.update(batch).metrics["kl"] == pytest.approx(((now - base) ** 2 / 2).mean().item(), rel=1e-3)


def test_unknown_targets_and_incompatible_checkpoints_are_refused(model: Path, meeting: str, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="lora_targets must be among down_proj, .* in this model, got 'lm_head'"):
        start(model, meeting, lora_targets=("q_proj", "lm_head"))
    engine = start(model, meeting)
    engine.update(Batch(samples=samples()))
    engine.save(tmp_path / "step-1")
    with pytest.raises(CheckpointError, match=r"written with lora = \[4, 8.*\], but this run has \[4, 16"):
        start(model, meeting, lora_alpha=16.0).load(tmp_path / "step-1")
    with pytest.raises(CheckpointError, match="but this run has None"):
        start(model, meeting, lora_rank=0).load(tmp_path / "step-1")
    engine.export(tmp_path / "later")
    with pytest.raises(CheckpointError, match="resume with the initial model of that run"):
        start(tmp_path / "later", meeting).load(tmp_path / "step-1")
