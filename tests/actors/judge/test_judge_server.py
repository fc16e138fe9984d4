"""Tests of the judge server: a real vLLM server of a random vision model, killed, and behind a faulty connection."""

import os
from collections.abc import AsyncIterator
from pathlib import Path

import httpx
import psutil
import pytest
import pytest_asyncio
from bad_line import check, critic_of, survive
from drawn_pages import PAGE, SHOP, Paper, render
from tiny_vision import tiny_vision

from actors.judge.server import VLLMJudge
from actors.judge_settings import JudgeSettings
from reward.multimodal.rubric import SYSTEM
from rollout.records import Task

pytestmark = [pytest.mark.engine, pytest.mark.asyncio(loop_scope="module")]
MOVING = Paper(texts=SHOP.texts, fills=SHOP.fills, speed=40.0)
"""A page with three different screenshots."""


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("judge")
    tiny_vision(path / "model", [SYSTEM])
    return path


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def served(folder: Path) -> AsyncIterator[VLLMJudge]:
    settings = JudgeSettings(model=str(folder / "model"), max_num_seqs=32, kv_cache_gib=0.25)
    server, before = VLLMJudge(settings, "random-1", folder / "judge-0.log"), dict(os.environ)
    others = psutil.Process().children(recursive=True)
    await server.start()
    assert dict(os.environ) == before
    yield server
    await server.stop()
    assert [child for child in psutil.Process().children(recursive=True) if child not in others] == []


async def test_three_images_are_judged_in_the_rubric_format(served: VLLMJudge) -> None:
    critic = critic_of(served.address, retries=0)
    assert await critic.ping() == await served.ping() == "random-1"
    critique = await critic.judge(
        Task(id="t", brief="Build page 1.", checklist=("a lamp",)), PAGE, render(MOVING), None
    )
    await critic.stop()
    assert 0.0 <= critique.score <= 1.0
    assert critique.feedback
    assert set(critique.parts) > {"layout", "checklist"}
    assert critique.judge == "random-1"
    assert critique.tokens > 0


async def test_server_requires_its_key_and_serves_no_other_path(served: VLLMJudge, folder: Path) -> None:
    address = await served.address()
    body = {"model": "random-1", "messages": [{"role": "user", "content": "?"}], "max_tokens": 1}
    root = address.url.removesuffix("/v1")
    async with httpx.AsyncClient(trust_env=False) as client:
        assert (await client.get(f"{root}/health")).status_code == 200
        assert (await client.post(f"{root}/v1/chat/completions", json=body)).status_code == 401
        for path in ("invocations", "tokenize", "metrics", "openapi.json", "ping"):
            assert (await client.post(f"{root}/{path}", json=body, headers=address.headers)).status_code == 404
    server = psutil.Process(served.pid)
    everybody = [psutil.Process(), server, *server.children(recursive=True)]
    told = [" ".join(process.cmdline()) for process in everybody]
    assert len(told) > 1
    assert address.key not in repr(address) + repr(served.settings) + "".join(told)
    assert address.key not in "".join(path.read_text() for path in folder.glob("*.log*"))


async def test_many_judgments_survive_a_faulty_connection_and_a_killed_server(served: VLLMJudge) -> None:
    outcome = await survive(served, 200)
    print(outcome.show())
    check(outcome)
    assert [why for why in served.news() if "was lost (" in why]
    assert len({(critique.score, critique.feedback) for critique in outcome.judged}) > 20, "pages are told apart"
