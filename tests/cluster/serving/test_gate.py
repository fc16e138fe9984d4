"""Tests of keys, rates, sizes, hosts and the queue."""

import asyncio
from typing import Any

import httpx
import pytest
from doubles import PaperRenderer
from writing_policy import WritingPolicy

from cluster.serving.api_keys import ApiKeys
from cluster.serving.app import application
from cluster.serving.limits import Limits
from cluster.serving.rate_limit import CLIENTS, RateLimit
from cluster.serving.refusal import Refusal
from cluster.serving.request_queue import RequestQueue
from cluster.serving.service import Service
from reward.settings import ScoreSettings
from rollout.settings import EpisodeSettings

PAGE = {"html": "<p>level 3</p>"}


def client(limits: Limits | None = None, keys: str = "", host: str = "127.0.0.1") -> httpx.AsyncClient:
    service = Service(
        name="tiny",
        policy=WritingPolicy(),
        renderer=PaperRenderer(),
        critic=None,
        episode=EpisodeSettings(max_tokens=400),
        scoring=ScoreSettings(),
        needs_reference=False,
    )
    app: Any = application(service, limits=limits or Limits(), keys=ApiKeys.of(keys), host="127.0.0.1")
    return httpx.AsyncClient(transport=httpx.ASGITransport(app=app), base_url=f"http://{host}")


def message(answer: httpx.Response) -> str:
    text: str = answer.json()["error"]["message"]
    assert "\n" not in text
    return text


async def test_a_key_is_needed_where_keys_are_set_and_is_compared_as_a_whole() -> None:
    async with client(keys="first, second", host="relook.example") as http:
        for header in ({}, {"Authorization": "Bearer firs"}, {"Authorization": "first"}, {"Authorization": "Bearer "}):
            answer = await http.post("/render", json=PAGE, headers=header)
            assert answer.status_code == 401
            assert "RELOOK_SERVE_KEYS" in message(answer)
        for key in ("first", "second"):
            answer = await http.post("/render", json=PAGE, headers={"Authorization": f"Bearer {key}"})
            assert answer.status_code == 200
        assert (await http.get("/v1/models")).status_code == 401
        assert (await http.get("/healthz")).status_code == 200


def test_only_hashes_of_keys_are_kept() -> None:
    assert "first" not in repr(ApiKeys.of("first"))
    assert ApiKeys.of(" , ").digests == ()


async def test_without_keys_other_host_names_are_refused() -> None:
    async with client(host="rebound.example") as http:
        assert (await http.post("/render", json=PAGE)).status_code == 403
        assert (await http.get("/")).status_code == 403
    async with client(host="localhost") as http:
        assert (await http.post("/render", json=PAGE)).status_code == 200


async def test_a_body_is_json_of_bounded_size() -> None:
    async with client(Limits(body_bytes=200, html_chars=50)) as http:
        plain = await http.post("/render", content='{"html": ""}', headers={"Content-Type": "text/plain"})
        assert plain.status_code == 415
        assert (await http.post("/render", json={"html": "x" * 500})).status_code == 413

        async def pieces() -> Any:
            for _ in range(10):
                yield b"x" * 100

        chunked = await http.post("/render", content=pieces(), headers={"Content-Type": "application/json"})
        assert chunked.status_code == 413
        assert (await http.post("/render", json={"html": "x" * 60})).status_code == 413
        assert (
            await http.post("/render", content="{", headers={"Content-Type": "application/json"})
        ).status_code == 400


async def test_a_client_that_asks_too_often_is_told_when_to_come_back() -> None:
    async with client(Limits(per_minute=20)) as http:
        answers = [await http.post("/render", json=PAGE) for _ in range(3)]
    assert [answer.status_code for answer in answers] == [200, 200, 429]
    assert int(answers[2].headers["Retry-After"]) >= 1


def test_rates_are_those_of_a_token_bucket_per_client() -> None:
    now = 0.0
    rate = RateLimit(60, clock=lambda: now)
    for _ in range(6):
        rate.admit("a")
    with pytest.raises(Refusal, match="60 requests a minute"):
        rate.admit("a")
    rate.admit("b")
    now = 1.0
    rate.admit("a")
    with pytest.raises(Refusal):
        rate.admit("a")
    for number in range(2 * CLIENTS):
        rate.admit(str(number))
    assert len(rate._left) == CLIENTS


async def test_a_full_queue_refuses_and_frees_turns_after_errors_and_cancellations() -> None:
    queue = RequestQueue(running=1, waiting=1)
    release = asyncio.Event()

    async def hold() -> None:
        async with queue.turn():
            await release.wait()

    held = [asyncio.create_task(hold()) for _ in range(2)]
    await asyncio.sleep(0)
    with pytest.raises(Refusal) as refused:
        async with queue.turn():
            pass
    assert (refused.value.status, queue.entered) == (429, 2)
    held[1].cancel()
    await asyncio.wait([held[1]])
    assert queue.entered == 1
    release.set()
    await held[0]
    with pytest.raises(ZeroDivisionError):
        async with queue.turn():
            _ = 1 / 0
    assert queue.entered == 0
