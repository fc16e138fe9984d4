"""The judge that a run serves: a real vLLM server of a random vision model, killed, and asked through a bad line."""

import asyncio
import os
import random
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import httpx
import psutil
import pytest
import pytest_asyncio
from drawn_pages import PAGE, SHOP, Paper, render
from judge_proxy import JudgeProxy
from tiny_vision import tiny_vision

from actors.child import Child
from actors.critic import HttpCriticActor
from actors.judge import VLLMJudge
from actors.judge_settings import JudgeSettings
from actors.settings import CriticSettings
from reward.multimodal.answer import read
from reward.multimodal.rubric import SYSTEM
from rollout.errors import CriticFault, SettingsError
from rollout.records import Critique, Task

pytestmark = [pytest.mark.engine, pytest.mark.asyncio(loop_scope="module")]
NUM = 200
MOVING = Paper(texts=SHOP.texts, fills=SHOP.fills, speed=40.0)
"""Three pictures that differ."""
FAULTS = ("status 500", "later 0.2", "unready 0.2", "drop", "half", "break", "garble", "refuse", "slow 1.0")


def critic_of(find: Any, **fields: Any) -> HttpCriticActor:
    patient = {"deadline_s": 300.0, "timeout_s": 60.0, "retries": 12, "max_tokens": 2048}
    return HttpCriticActor(CriticSettings(kind="http", model="random-1", **{**patient, **fields}), find=find)


async def judge(critic: HttpCriticActor, number: int) -> Critique:
    paper = SHOP.change(0, text=f"Velvet Lantern {number}")
    return await critic.judge(Task(id=f"t{number}", brief=f"Build page {number}."), PAGE, render(paper), None)


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


async def test_three_pictures_are_judged_by_the_rubric_s_form(served: VLLMJudge) -> None:
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


async def test_its_doors_are_locked(served: VLLMJudge, folder: Path) -> None:
    address = await served.address()
    body = {"model": "random-1", "messages": [{"role": "user", "content": "?"}], "max_tokens": 1}
    root = address.url.removesuffix("/v1")
    async with httpx.AsyncClient(trust_env=False) as client:
        assert (await client.get(f"{root}/health")).status_code == 200
        assert (await client.post(f"{root}/v1/chat/completions", json=body)).status_code == 401
        for path in ("invocations", "tokenize", "metrics", "openapi.json", "ping"):
            assert (await client.post(f"{root}/{path}", json=body, headers=address.headers)).status_code == 404
    everybody = [psutil.Process(), *psutil.Process().children(recursive=True)]
    told = [" ".join(process.cmdline()) for process in everybody]
    assert len(told) > 1
    assert address.key not in repr(address) + repr(served.settings) + "".join(told)
    assert address.key not in "".join(path.read_text() for path in folder.glob("*.log*"))


async def test_two_hundred_judgments_survive_a_bad_line_and_the_server_s_death(served: VLLMJudge) -> None:
    """None lost, none invented: each is what the server said of that page, and passed the proxy whole."""
    draw = random.Random(1)

    def behave(number: int, body: dict[str, Any]) -> str:
        return draw.choice(FAULTS) if draw.random() < 0.3 else "well"

    before = served.pid
    async with JudgeProxy(served.address, behave) as proxy:
        critic = critic_of(proxy.address)
        asked = [asyncio.create_task(judge(critic, number)) for number in range(NUM)]
        while sum(task.done() for task in asked) < NUM // 3:
            await asyncio.sleep(0.05)
        psutil.Process(before).kill()
        judged = await asyncio.gather(*asked)
        await critic.stop()
    assert served.pid != before
    assert proxy.away > 0, "some were asked of a server that was dead"
    assert set(proxy.injected) == {"well", *(fault.partition(" ")[0] for fault in FAULTS)}
    assert [why for why in served.news() if "was lost (" in why]
    assert sorted(proxy.said) == list(range(NUM))
    for number, critique in enumerate(judged):
        honest = [read(text, 0) for text in proxy.said[number]]
        assert (critique.score, critique.feedback) in [(one.score, one.feedback) for one in honest]
    assert len({critique.feedback for critique in judged}) > NUM // 2, "pages are told apart"


async def test_what_cannot_be_served_is_said_in_one_line(folder: Path, tmp_path: Path) -> None:
    def refusal(model: Path, **fields: Any) -> VLLMJudge:
        return VLLMJudge(JudgeSettings(model=str(model), kv_cache_gib=0.1, **fields), "j", tmp_path / "log")

    with pytest.raises(SettingsError, match=r"holds no config\.json"):
        await refusal(tmp_path).start()
    with pytest.raises(CriticFault, match="cannot start: .*max_model_len") as fault:
        await refusal(folder / "model", max_model_len=100_000).start()
    assert "\n" not in str(fault.value)


async def test_what_a_child_prints_is_kept_within_bounds_and_ends_with_its_family(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("actors.child.LOG_BYTES", 20_000)
    loud = "import os\nfor i in range(9000): print(i, 'x' * 40)\nraise ValueError('enough')"
    child = Child(["python3", "-c", loud], {}, tmp_path / "log")
    while child.alive:
        await asyncio.sleep(0.01)
    await child.end()
    assert child.reason() == "ValueError: enough (exit code 1)"
    assert sum(path.stat().st_size for path in tmp_path.iterdir()) < 50_000
    parent = Child(["sh", "-c", "sleep 600 & sleep 600; true"], {}, tmp_path / "log")
    while len(found := psutil.Process(parent.pid).children()) < 2:
        await asyncio.sleep(0.01)
    await parent.end()
    assert psutil.wait_procs(found, timeout=10)[1] == []
