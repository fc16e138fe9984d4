"""What is exported is what a plain vLLM loads, and it gives the learner's log-probs."""

import os
from pathlib import Path

import pytest
from tiny_batches import address, samples
from tiny_model import tiny_model

from learner.engine import Engine
from learner.settings import LearnerSettings
from rollout.records import Batch

pytestmark = [
    pytest.mark.engine,
    # What DeepSpeed, torch and vLLM say of themselves.
    pytest.mark.filterwarnings("ignore::DeprecationWarning"),
    pytest.mark.filterwarnings("ignore::FutureWarning"),
    pytest.mark.filterwarnings("ignore::UserWarning"),
    pytest.mark.filterwarnings("ignore:.*Context.__del__:pytest.PytestUnraisableExceptionWarning"),
]
IDS = samples(1)[0].prompt_ids + samples(1)[0].token_ids


def test_plain_vllm_serves_a_champion_with_the_learners_log_probs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    tiny_model(tmp_path / "model")
    settings = LearnerSettings(lr=1e-2, token_budget=128, autocast=False, threads=1, zero_stage=3, lora_rank=4)
    engine = Engine(tmp_path / "model", settings, init_method=address())
    first = engine.logprobs(IDS)
    for _ in range(3):
        engine.update(Batch(samples=samples()))
    engine.export(tmp_path / "champion")
    learnt = engine.logprobs(IDS)
    assert max(abs(now - before) for now, before in zip(learnt, first, strict=True)) > 0.1
    assert served(tmp_path / "champion", monkeypatch) == pytest.approx(learnt, abs=1e-4)


def served(folder: Path, monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """vLLM's log-prob of each token after the first."""
    for name, value in {"VLLM_CPU_KVCACHE_SPACE": "1", "VLLM_LOGGING_LEVEL": "ERROR"}.items():
        monkeypatch.setitem(os.environ, name, value)
    from vllm import LLM, SamplingParams
    from vllm.inputs import TokensPrompt

    model = LLM(str(folder), dtype="float32", enforce_eager=True, max_model_len=256, max_num_seqs=1)
    wanted = SamplingParams(max_tokens=1, temperature=0, prompt_logprobs=0)
    (answer,) = model.generate([TokensPrompt(prompt_token_ids=list(IDS))], wanted, use_tqdm=False)
    told = answer.prompt_logprobs or []
    return [entry[token].logprob for entry, token in zip(told[1:], IDS[1:], strict=True) if entry is not None]
