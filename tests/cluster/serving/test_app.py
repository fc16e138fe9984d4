"""Tests of the HTTP application with a small policy and a real browser, over a real port."""

import asyncio
import base64
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import httpx
import openai
import pytest
from doubles import PaperCritic, PaperRenderer
from served_app import served
from writing_policy import WritingPolicy

from actors.browser.renderer import ChromiumRenderer
from actors.critic.critic import VisualCriticActor
from actors.settings import BrowserSettings
from cluster.serving.limits import Limits
from cluster.serving.service import Service
from reward.settings import ScoreSettings
from rollout.errors import BrowserFault
from rollout.parsing import parse_page
from rollout.ports import Critic, Renderer
from rollout.settings import EpisodeSettings

ASK: list[Any] = [{"role": "user", "content": "a page for a bakery"}]
DESIGN = "<!doctype html><h1 style='color:#246'>Bakery</h1><p>Open daily from eight to six.</p>"
HOSTILE = "<!doctype html><h1>Mine</h1><script>while (true) {}</script>"


def service(
    policy: WritingPolicy | None = None, renderer: Renderer | None = None, critic: Critic | None = None, **more: Any
) -> Service:
    return Service(
        name="tiny",
        policy=policy or WritingPolicy(),
        renderer=renderer or PaperRenderer(),
        critic=critic,
        episode=EpisodeSettings(max_tokens=400),
        scoring=ScoreSettings(),
        needs_reference=isinstance(critic, VisualCriticActor),
        **more,
    )


@asynccontextmanager
async def clients(service: Service, limits: Limits | None = None) -> AsyncIterator[tuple[Any, httpx.AsyncClient]]:
    """The public client of OpenAI, and a plain one."""
    async with (
        served(service, limits) as url,
        openai.AsyncOpenAI(base_url=f"{url}/v1", api_key="none", max_retries=0) as public,
        httpx.AsyncClient(base_url=url, timeout=60) as http,
    ):
        yield public, http


@asynccontextmanager
async def chromium(tmp_path: Path) -> AsyncIterator[ChromiumRenderer]:
    renderer = ChromiumRenderer(BrowserSettings(cpu_budget_s=1.5), cache=tmp_path)
    await renderer.start()
    try:
        yield renderer
    finally:
        await renderer.stop()


async def test_the_public_client_gets_the_same_text_whole_and_streamed() -> None:
    async with clients(service()) as (public, _):
        whole = await public.chat.completions.create(model="tiny", messages=ASK, seed=5)
        options = {"include_usage": True}
        stream = await public.chat.completions.create(
            model="tiny", messages=ASK, seed=5, stream=True, stream_options=options
        )
        chunks = [chunk async for chunk in stream]
        assert [model.id async for model in public.models.list()] == ["tiny"]
    text = "".join(chunk.choices[0].delta.content or "" for chunk in chunks if chunk.choices)
    assert text == whole.choices[0].message.content
    assert parse_page(text).format_ok
    assert len(chunks) > 5
    assert chunks[-2].choices[0].finish_reason == whole.choices[0].finish_reason == "stop"
    assert chunks[-1].usage == whole.usage
    assert whole.usage.total_tokens > whole.usage.completion_tokens > 0


async def test_a_conversation_gets_the_system_message_of_training_unless_it_has_one() -> None:
    policy = WritingPolicy()
    async with clients(service(policy)) as (public, _):
        await public.chat.completions.create(model="tiny", messages=ASK, max_tokens=3, temperature=0)
        mine = [{"role": "system", "content": "Be brief."}, *ASK]
        cut = await public.chat.completions.create(model="tiny", messages=mine, max_completion_tokens=3, stop="</h1>")
    assert "self-contained" in policy.requests[0].messages[0].content
    assert (policy.requests[0].temperature, policy.requests[0].max_tokens) == (0.0, 3)
    assert policy.requests[1].messages[0].content == "Be brief."
    assert policy.requests[1].stop == ("</h1>",)
    assert cut.choices[0].finish_reason == "length"


@pytest.mark.parametrize(
    ("change", "status", "words"),
    [
        ({"model": "gpt-9"}, 404, "'gpt-9' is not served here"),
        ({"n": 2}, 400, "`n`"),
        ({"max_tokens": 100_000}, 400, "wanted 4096 at most"),
        ({"messages": []}, 400, "`messages`"),
        ({"extra_body": {"relook": {"self_edit": 9}}}, 400, "wanted 3 at most"),
        ({"extra_body": {"relook": {"selfedit": 1}}}, 400, "relook.selfedit"),
    ],
)
async def test_requests_that_cannot_be_answered_are_refused_in_one_line(
    change: dict[str, Any], status: int, words: str
) -> None:
    async with clients(service()) as (public, _):
        with pytest.raises(openai.APIStatusError) as refused:
            await public.chat.completions.create(**({"model": "tiny", "messages": ASK} | change))
    assert refused.value.status_code == status
    assert words in refused.value.message


async def test_self_edit_answers_with_the_last_page_and_its_rounds() -> None:
    async with clients(service()) as (public, _):
        extra = {"relook": {"self_edit": 2}}
        whole = await public.chat.completions.create(model="tiny", messages=ASK, seed=5, extra_body=extra)
        stream = await public.chat.completions.create(model="tiny", messages=ASK, seed=5, stream=True, extra_body=extra)
        chunks = [chunk async for chunk in stream]
    assert "<footer>" in whole.choices[0].message.content
    assert [row["round"] for row in whole.relook["rounds"]] == [0, 1, 2]
    assert whole.relook["rounds"][1]["feedback"] == ["The heading needs more space.", "Add a footer."]
    text = "".join(chunk.choices[0].delta.content or "" for chunk in chunks)
    assert text == whole.choices[0].message.content
    assert [row["round"] for chunk in chunks for row in getattr(chunk, "relook", {"rounds": []})["rounds"]] == [0, 1, 2]


async def test_a_lost_engine_costs_a_retry_and_then_a_clear_answer() -> None:
    async with clients(service(WritingPolicy(faults=1))) as (public, _):
        stream = await public.chat.completions.create(model="tiny", messages=ASK, seed=5, stream=True)
        text = "".join([chunk.choices[0].delta.content or "" async for chunk in stream])
    assert parse_page(text).format_ok
    async with clients(service(WritingPolicy(faults=2))) as (public, http):
        with pytest.raises(openai.InternalServerError) as lost:
            await public.chat.completions.create(model="tiny", messages=ASK)
        assert lost.value.status_code == 503
        assert lost.value.response.headers["Retry-After"] == "5"
        assert "policy-0 lost its engine" in lost.value.message
    async with clients(service(WritingPolicy(faults=2))) as (_, http):
        answer = await http.post("/v1/chat/completions", json={"model": "tiny", "messages": ASK, "stream": True})
        assert answer.text.splitlines()[-3] == "event: error", "the status was sent before the engine was lost"


async def test_an_answer_that_takes_too_long_is_given_up() -> None:
    policy = WritingPolicy(pause_s=0.2)
    async with clients(service(policy), Limits(timeout_s=0.5)) as (_, http):
        answer = await http.post("/v1/chat/completions", json={"model": "tiny", "messages": ASK})
        assert answer.status_code == 503
        assert answer.json()["error"]["message"] == "there was no answer in time"
        streamed = await http.post("/v1/chat/completions", json={"model": "tiny", "messages": ASK, "stream": True})
        assert "there was no answer in time" in streamed.text
    assert policy.running == 0


async def test_a_client_that_leaves_stops_its_completion() -> None:
    policy = WritingPolicy(pause_s=0.05)
    async with clients(service(policy), Limits(running=1, waiting=0)) as (public, http):
        stream = await public.chat.completions.create(model="tiny", messages=ASK, stream=True)
        await anext(aiter(stream))
        busy = await http.post("/v1/chat/completions", json={"model": "tiny", "messages": ASK})
        assert busy.status_code == 429
        await stream.close()
        async with asyncio.timeout(20):
            while policy.running:
                await asyncio.sleep(0.02)
        assert (await http.post("/v1/chat/completions", json={"model": "tiny", "messages": ASK})).status_code == 200


async def test_health_is_that_of_the_pools() -> None:
    healthy = {"policy": 2, "browser": 1}
    async with clients(service(health=lambda: healthy)) as (_, http):
        assert (await http.get("/healthz")).json() == {"status": "ok", "healthy": healthy}
        healthy["browser"] = 0
        assert (await http.get("/healthz")).status_code == 503
        assert (await http.post("/healthz", json={})).status_code == 405
        assert (await http.get("/nothing")).status_code == 404


async def test_a_server_without_critic_judges_nothing() -> None:
    async with clients(service()) as (_, http):
        answer = await http.post("/judge", json={"brief": "b", "html": "<p>level 2</p>"})
    assert answer.status_code == 501


async def test_a_critic_without_reference_scores_pages_and_compares_them() -> None:
    async with clients(service(critic=PaperCritic())) as (_, http):
        judged = (await http.post("/judge", json={"brief": "b", "html": "<p>level 2</p>"})).json()
        torn = (await http.post("/judge", json={"brief": "b", "html": "<p>level 0</p>"})).json()
        pair = {"brief": "b", "html": "<p>level 1</p>", "other_html": "<p>level 3</p>"}
        compared = (await http.post("/judge", json=pair)).json()
        broken = (await http.post("/judge", json=pair | {"other_html": "<p>level 0</p>"})).json()
    assert (judged["score"], judged["valid"], judged["feedback"]) == (0.5, True, ["The level should be higher."])
    assert 0 < judged["reward"] <= 1
    assert (torn["score"], torn["reward"], torn["gate"]) == (0.0, 0.0, 0)
    assert "ReferenceError" in torn["feedback"][0]
    assert compared == {"preferred": "other_html", "answers": ["other_html", "other_html"], "judge": "paper-1"}
    assert broken["preferred"] == "html"


@pytest.mark.browser
async def test_pages_are_rendered_in_the_browser_of_training(tmp_path: Path) -> None:
    probe = {"name": "buy", "steps": [{"kind": "expect_text", "selector": "h1", "value": "Bakery"}]}
    async with chromium(tmp_path) as renderer, clients(service(renderer=renderer)) as (_, http):
        shown = (await http.post("/render", json={"html": DESIGN, "probes": [probe], "viewports": ["mobile"]})).json()
        hostile = (await http.post("/render", json={"html": HOSTILE, "screenshots": False})).json()
        loads = DESIGN + "<script src='https://example.org/x.js'></script>"
        refused = (await http.post("/render", json={"html": loads, "screenshots": False})).json()
        misspelt = await http.post("/render", json={"html": DESIGN, "probe": []})
        empty = await http.post("/render", json={"brief": "b"})
    assert (shown["outcome"], shown["valid"]) == ("ok", True)
    assert shown["probes"] == [{"name": "buy", "verdict": "pass", "detail": ""}]
    assert base64.b64decode(shown["screenshots"][0]["png"]).startswith(b"\x89PNG")
    assert shown["screenshots"][0]["width"] == 390
    assert hostile["outcome"] in ("timeout", "too_heavy")
    assert not hostile["valid"]
    assert hostile["feedback"]
    assert "screenshots" not in hostile
    assert "example.org" in refused["feedback"][0]
    assert misspelt.status_code == 400
    assert "did you mean 'probes'?" in misspelt.json()["error"]["message"]
    assert "`html` is missing" in empty.json()["error"]["message"]


@pytest.mark.browser
async def test_the_visual_critic_judges_against_a_reference(tmp_path: Path) -> None:
    async with (
        chromium(tmp_path) as renderer,
        clients(service(renderer=renderer, critic=VisualCriticActor())) as (_, http),
    ):
        task = {"brief": "a bakery", "reference_html": DESIGN}
        same = (await http.post("/judge", json=task | {"html": DESIGN})).json()
        other = (await http.post("/judge", json=task | {"html": "<h1>Garage</h1>"})).json()
        pair = task | {"html": "<h1>Garage</h1>", "other_html": DESIGN}
        compared = (await http.post("/judge", json=pair)).json()
        bare = await http.post("/judge", json={"brief": "a bakery", "html": DESIGN})
        broken = await http.post("/judge", json=task | {"html": DESIGN, "reference_html": "<p>"})
    assert same["score"] > 0.95
    assert other["score"] < 0.6
    assert other["feedback"]
    assert compared["preferred"] == "other_html"
    assert bare.status_code == broken.status_code == 400
    assert "`reference_html` is missing" in bare.json()["error"]["message"]
    assert "reference_html does not render: blank" in broken.json()["error"]["message"]


@pytest.mark.browser
async def test_a_killed_browser_costs_a_restart_and_no_answer(tmp_path: Path) -> None:
    async with chromium(tmp_path) as renderer, clients(service(renderer=renderer)) as (_, http):
        first = (await http.post("/render", json={"html": DESIGN})).json()
        assert renderer.supervisor.browser is not None
        await renderer.supervisor.browser.end()
        again = (await http.post("/render", json={"html": DESIGN + "<!-- again -->"})).json()
    assert first["valid"]
    assert [shot["sha256"] for shot in again["screenshots"]] == [shot["sha256"] for shot in first["screenshots"]]


async def test_a_browser_that_stays_lost_is_one_clear_line() -> None:
    async with clients(service(renderer=PaperRenderer(faults=2))) as (_, http):
        answer = await http.post("/render", json={"html": "<p>level 2</p>"})
    assert answer.status_code == 503
    assert answer.json()["error"]["message"] == (
        f"the server cannot answer now: {BrowserFault.__name__}: the paper browser tore"
    )
