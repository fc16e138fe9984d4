"""Tests that engine and learner agree on model families with special kernels."""

from pathlib import Path

import pytest
from tiny_families import tiny_family
from tiny_policy import CANARY, VLLM_WARNINGS

from actors.policy.engine import VLLMPolicy
from actors.settings import PolicySettings
from learner.engine import Engine
from learner.settings import LearnerSettings
from rollout.errors import ModelError
from rollout.records import Batch, Message, Request, Sample

pytestmark = [
    pytest.mark.engine,
    *VLLM_WARNINGS,
    # Warnings of DeepSpeed and torch.
    pytest.mark.filterwarnings("ignore::DeprecationWarning"),
    pytest.mark.filterwarnings("ignore::FutureWarning"),
    pytest.mark.filterwarnings("ignore::UserWarning"),
]
ASK = Request(messages=(Message(role="user", content="a page"),), num=4, max_tokens=60, seed=5)


@pytest.mark.parametrize(("kind", "stage"), [("experts", 3), ("softcap", 1), ("state", 1)])
async def test_engine_matches_the_learner_after_updates(tmp_path: Path, kind: str, stage: int) -> None:
    from safetensors.torch import load, load_file

    tiny_family(tmp_path, kind)
    settings = LearnerSettings(lr=1e-2, autocast=False, threads=1, zero_stage=stage)
    packed = kind != "state"
    learner = Engine(tmp_path, settings, init_method=f"file://{tmp_path}/meeting", packed=packed)
    policy = VLLMPolicy(str(tmp_path), PolicySettings(kv_cache_gib=0.05), seed=7, follows=True)
    await policy.start()
    try:
        # Before the first sync, both hold the weights of the same files.
        first = learner.logprobs(CANARY)
        assert await policy.prove_model(CANARY, first, 1e-3) < 1e-3
        with pytest.raises(ModelError, match=r"differ on this \w+ model by 1 nats before any update"):
            await policy.prove_model(CANARY, tuple(logprob - 1 for logprob in first), 1e-3)
        for version in range(2):
            wanted = learner.logprobs(CANARY)
            await policy.update_weights(learner.weights(), version)
            await policy.prove(version, CANARY, wanted, 1e-3)
            written = await policy.complete(ASK)
            learnt = tuple(
                Sample(prompt_ids=one.prompt_ids, token_ids=one.token_ids, logprobs=one.logprobs, advantage=place - 1.5)
                for place, one in enumerate(written)
            )
            assert learner.update(Batch(samples=learnt)).metrics["logprob_gap_max"] < 1e-3
        assert await policy.prove_model(CANARY, learner.logprobs(CANARY), 0.0) == 0.0
    finally:
        await policy.stop()
    assert max(abs(now - before) for now, before in zip(learner.logprobs(CANARY), first, strict=True)) > 0.1
    learner.export(tmp_path / "champion")
    exported, sent = load_file(tmp_path / "champion" / "model.safetensors"), load(learner.weights())
    assert exported.keys() == sent.keys() == load_file(tmp_path / "model.safetensors").keys()
