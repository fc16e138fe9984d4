"""Tests of the HTTP critic against a faulty real server: no judgment is lost or invented, no fault becomes a score."""

import asyncio
import json
import logging
import random
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from drawn_pages import OTHER, PAGE, SHOP, render
from judge_server import JudgeServer, mark_of, page_number, verdict

from actors.critic.critic import HttpCriticActor
from actors.critic.ensemble import CriticActor
from actors.judge_api.client import Address, JudgeClient
from actors.judge_api.concurrency_limiter import TRIP, ConcurrencyLimiter
from actors.judge_api.usage import total
from actors.settings import CriticSettings, CriticsSettings
from reward.multimodal.rubric import BEST
from rollout.errors import AnswerFault, BudgetSpent, CriticFault, SettingsError
from rollout.records import Critique, Page, Task

SEEN = render(SHOP)
MIRROR = {"old": "new", "new": "old", "tie": "tie"}


def settings(server: JudgeServer, **fields: Any) -> CriticSettings:
    quick = {"deadline_s": 30.0, "timeout_s": 5.0}
    return CriticSettings(kind="http", base_url=server.url, model="judge-1", **{**quick, **fields})


def task(number: int = 3) -> Task:
    return Task(id=f"t{number}", brief=f"Build page {number}.")


async def judge(critic: HttpCriticActor, number: int = 3) -> Critique:
    return await critic.judge(task(number), PAGE, SEEN, None)


async def once(chosen: CriticSettings, cache: Path) -> Critique:
    """One judgment by a new critic."""
    critic = HttpCriticActor(chosen, cache=cache)
    try:
        return await judge(critic)
    finally:
        await critic.stop()


async def test_judgment_has_the_score_and_feedback_of_the_answer() -> None:
    async with JudgeServer() as server:
        critic = HttpCriticActor(settings(server))
        assert await critic.ping() == "judge-1"
        critique = await judge(critic)
        await critic.stop()
    assert critique.score == pytest.approx(mark_of(3) / BEST)
    assert critique.feedback == ("Page 3 needs more room.",)
    assert (critique.judge, critique.rubric, critique.tokens) == ("judge-1", "page-3", 100)
    body = server.bodies[0]
    assert body["response_format"]["json_schema"]["schema"]["required"][-1] == "feedback"
    pictures = [part for part in body["messages"][1]["content"] if part["type"] == "image_url"]
    assert len(pictures) == 1  # three equal shots are sent once
    assert pictures[0]["image_url"]["url"].startswith("data:image/png;base64,iVBOR")


async def test_api_key_comes_from_the_environment_and_is_never_shown(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    async with JudgeServer(lambda number, body: "status 400") as server:
        monkeypatch.delenv("JUDGE_KEY", raising=False)
        with pytest.raises(SettingsError, match="JUDGE_KEY is not set"):
            await HttpCriticActor(settings(server, key_env="JUDGE_KEY")).ping()
        monkeypatch.setenv("JUDGE_KEY", "sk-very-secret")
        critic = HttpCriticActor(settings(server, key_env="JUDGE_KEY"))
        with pytest.raises(CriticFault, match="status 400") as fault:
            await judge(critic)
        await critic.stop()
    assert "Bearer sk-very-secret" in server.headers[-1]
    assert len(server.bodies) == 1  # a refused request is not sent again
    assert "secret" not in str(fault.value) + caplog.text + repr(critic.settings)


BAD = [
    "cut",
    "refuse",
    "say I'm sorry, I cannot judge this.",
    "say [1, 2]",
    "say " + verdict(3).replace("4", "7"),
    "say " + verdict(3).replace("4", "-1"),
    "say " + verdict(3).replace("4", "true"),
    "say " + verdict(3).replace('"finish"', '"gloss"'),
    "say " + verdict(3).replace('["Page 3 needs more room."]', "[]"),
]


@pytest.mark.parametrize("bad", BAD)
async def test_malformed_answer_is_requested_again_and_then_a_fault(bad: str) -> None:
    async with JudgeServer(lambda number, body: bad) as server:
        critic = HttpCriticActor(settings(server, retries=1))
        with pytest.raises(AnswerFault):
            await judge(critic)
        assert len(server.bodies) == 2
        server.behaviour = lambda number, body: bad if number == 2 else "well"
        assert (await judge(critic)).score == pytest.approx(0.8)
        await critic.stop()


@pytest.mark.parametrize("bad", ["status 500", "drop", "half", "later 0.05", "status 503"])
async def test_busy_or_failing_server_is_retried(bad: str) -> None:
    async with JudgeServer(lambda number, body: bad if number < 3 else "well") as server:
        critic = HttpCriticActor(settings(server, retries=0))
        assert (await judge(critic)).score == pytest.approx(0.8)
        await critic.stop()


async def test_server_that_keeps_failing_is_a_critic_fault() -> None:
    async with JudgeServer(lambda number, body: "status 500") as server:
        critic = HttpCriticActor(settings(server, deadline_s=0.5))
        with pytest.raises(CriticFault, match="no answer in 0.5 s"):
            await judge(critic)
        await critic.stop()


async def test_two_hundred_judgments_survive_mixed_faults() -> None:
    """Slow answers, faults of every kind, and a server that stops and restarts."""
    draw = random.Random(0)
    kinds = ["status 500", "drop", "half", "later 0.02", "cut", "refuse", "say {}", "slow 0.2"]

    def behave(number: int, body: dict[str, Any]) -> str:
        return draw.choice(kinds) if draw.random() < 0.25 else "slow 0.01"

    async with JudgeServer(behave) as server:
        critic = HttpCriticActor(settings(server, retries=8, deadline_s=60.0))
        asked = [asyncio.create_task(judge(critic, number)) for number in range(200)]
        while len(server.bodies) < 100:
            await asyncio.sleep(0.01)
        await server.close()
        await asyncio.sleep(0.3)
        await server.open()
        judged = await asyncio.gather(*asked)
        await critic.stop()
    for number, critique in enumerate(judged):
        assert critique.score == pytest.approx(mark_of(number) / BEST)
        assert critique.feedback == (() if critique.score == 1.0 else (f"Page {number} needs more room.",))
    assert critic.endpoint.limiter.running == 0


async def test_equal_questions_are_asked_once_and_cached_on_disk(tmp_path: Path) -> None:
    async with JudgeServer(lambda number, body: "slow 0.05") as server:
        critic = HttpCriticActor(settings(server), cache=tmp_path)
        first, second = await asyncio.gather(judge(critic), judge(critic))
        third = await once(settings(server), tmp_path)
        assert len(server.bodies) == 1
        assert first == second == replace(third, tokens=100, seconds=first.seconds)
        assert third.tokens == 0  # a cached judgment costs nothing
        await critic.judge(task(), PAGE, render(OTHER), None)  # other pixels
        await once(settings(server, judgments=2), tmp_path)  # another mode
        assert len(server.bodies) == 4
        for path in tmp_path.rglob("*.json"):
            path.write_text("{")
        assert (await once(settings(server), tmp_path)).score == first.score
        assert len(server.bodies) == 5
        await critic.stop()


async def test_faults_are_not_cached(tmp_path: Path) -> None:
    async with JudgeServer(lambda number, body: "refuse" if number == 0 else "well") as server:
        critic = HttpCriticActor(settings(server, retries=0), cache=tmp_path)
        with pytest.raises(AnswerFault):
            await judge(critic)
        assert (await judge(critic)).score == pytest.approx(0.8)
        await critic.stop()


async def test_score_is_the_mean_of_several_judgments() -> None:
    def behave(number: int, body: dict[str, Any]) -> str:
        return "say " + verdict(int(body["seed"]))  # marks 1, 2, 3, 4

    async with JudgeServer(behave) as server:
        critic = HttpCriticActor(settings(server, judgments=4, temperature=0.7))
        critique = await judge(critic)
        await critic.stop()
    assert critique.score == pytest.approx(2.5 / BEST)
    assert critique.parts["layout"] == pytest.approx(2.5 / BEST)
    assert (critique.tokens, critique.temperature) == (400, 0.7)
    assert critique.scores == pytest.approx([mark / BEST for mark in (1, 2, 3, 4)])


async def test_one_malformed_judgment_of_several_is_a_fault() -> None:
    async with JudgeServer(lambda number, body: "refuse" if body["seed"] == 2 else "well") as server:
        critic = HttpCriticActor(settings(server, judgments=4, retries=0))
        with pytest.raises(AnswerFault, match="refused"):
            await judge(critic)
        await critic.stop()


async def test_slow_request_is_hedged_with_a_second_one() -> None:
    async with JudgeServer() as server:
        critic = HttpCriticActor(settings(server, hedge_share=0.5, timeout_s=60.0))
        await asyncio.gather(*(judge(critic, number) for number in range(30)))
        server.behaviour = lambda number, body: "slow 50" if number == 30 else "well"
        assert (await judge(critic, 99)).score == 1.0
        await critic.stop()
    assert len(server.bodies) == 32
    assert critic.endpoint.cost["hedges"] == 1
    assert critic.endpoint.limiter.running == 0


async def test_token_budget_ends_judging() -> None:
    async with JudgeServer() as server:
        critic = HttpCriticActor(settings(server, max_total_tokens=250))
        for number in range(3):
            await judge(critic, number)
        with pytest.raises(BudgetSpent, match="max_total_tokens: judge-1 has used 300 tokens"):
            await judge(critic, 4)
        await critic.stop()
    assert critic.endpoint.cost == {"judgments": 3, "requests": 3, "tokens": 300}


async def test_spent_tokens_are_counted_across_restarts(tmp_path: Path) -> None:
    async with JudgeServer(lambda number, body: "status 500" if number == 0 else "well") as server:
        chosen = CriticsSettings(**settings(server, max_total_tokens=450).model_dump() | {"count": 2})
        seen = SEEN, None
        for number in range(3):
            critic = CriticActor(chosen, ledger=tmp_path / "critic-0.json")
            await critic.judge(task(number), PAGE, *seen)
            await critic.stop()
        critic = CriticActor(chosen, ledger=tmp_path / "critic-0.json")
        with pytest.raises(BudgetSpent, match="300 tokens, this critic's share of 450 is 225"):
            await critic.judge(task(4), PAGE, *seen)
        other = CriticActor(chosen, ledger=tmp_path / "critic-1.json")
        await other.judge(task(4), PAGE, *seen)
        await other.stop()
    assert total(tmp_path.glob("*.json")) == {"judgments": 4, "requests": 5, "retries": 1, "tokens": 400}


OLD, NEW = (PAGE, render(OTHER)), (Page(html="<p>better</p>"), render(SHOP))


@pytest.mark.parametrize("favourite", ["A", "B", "tie", "new"])
async def test_two_pages_are_compared_in_both_orders(favourite: str, tmp_path: Path) -> None:
    def behave(number: int, body: dict[str, Any]) -> str:
        shown = json.dumps(body["messages"][1])
        newest_first = shown.index("<p>better</p>") < shown.index("<p>paper</p>")
        better = ("A" if newest_first else "B") if favourite == "new" else favourite
        return "say " + json.dumps({"observations": "", "better": better})

    async with JudgeServer(behave) as server:
        critic = HttpCriticActor(settings(server), cache=tmp_path)
        compared = await critic.compare(task(), OLD, NEW, None)
        wanted = {"A": ("old", "new"), "B": ("new", "old"), "tie": ("tie", "tie"), "new": ("new", "new")}
        assert compared.answers == wanted[favourite]
        assert compared.won == (favourite == "new")  # a judge with position bias prefers neither page
        assert (compared.judge, compared.rubric, compared.tokens) == ("judge-1", "pair-3", 200)
        again = await critic.compare(task(), OLD, NEW, None)
        assert replace(again, seconds=0.0) == replace(compared, seconds=0.0, tokens=0)
        assert len(server.bodies) == 2
        back = await critic.compare(task(), NEW, OLD, None)  # the same two questions
        assert (back.answers, len(server.bodies)) == (tuple(MIRROR[said] for said in reversed(compared.answers)), 2)
        await critic.stop()
    assert critic.endpoint.cost["comparisons"] == 1
    marks = [part["text"] for part in server.bodies[0]["messages"][1]["content"] if "BEGIN" in part.get("text", "")]
    assert [mark.split()[3] for mark in marks] == ["A", "B"]


@pytest.mark.parametrize("bad", ["refuse", "cut", 'say {"better": "C"}', 'say {"better": null}'])
async def test_fault_in_one_order_fails_the_comparison(bad: str, tmp_path: Path) -> None:
    async with JudgeServer(lambda number, body: 'say {"better": "B"}' if number == 0 else bad) as server:
        critic = HttpCriticActor(settings(server, retries=0), cache=tmp_path)
        with pytest.raises(AnswerFault):
            await critic.compare(task(), OLD, NEW, None)
        await critic.stop()


async def test_fresh_judgment_bypasses_the_cache(tmp_path: Path) -> None:
    async with JudgeServer() as server:
        critic = HttpCriticActor(settings(server), cache=tmp_path)
        first = await judge(critic)
        server.behaviour = lambda number, body: "say " + verdict(1)
        fresh = await critic.judge(task(), PAGE, SEEN, None, fresh=True)
        assert fresh.score == pytest.approx(mark_of(1) / BEST)
        assert (await judge(critic)).score == first.score == pytest.approx(mark_of(3) / BEST)
        assert len(server.bodies) == 2
        await critic.stop()


async def test_concurrency_limit_adapts_to_the_capacity_of_the_server() -> None:
    """The server rejects a fifth concurrent request; the limit soon settles near four."""
    server = JudgeServer()
    server.behaviour = lambda number, body: "later 0.05" if server.running > 4 else "slow 0.1"
    async with server:
        critic = HttpCriticActor(settings(server))
        await asyncio.gather(*(judge(critic, number) for number in range(60)))
        assert 1 <= critic.endpoint.limiter.limit <= 9
        await critic.stop()


async def test_circuit_opens_for_a_lost_server_and_tries_one_request() -> None:
    clock = [0.0]
    limiter = ConcurrencyLimiter(64, lambda: clock[0])
    turns = [limiter.try_enter() for _ in range(TRIP + 2)]
    for turn in turns[:TRIP]:
        assert turn is not None
        clock[0] += 0.01
        turn.end("down")
        turn.end("answered")  # a second end has no effect
    assert limiter.try_enter() is None
    clock[0] += 60.0
    assert limiter.running == 2
    for late in turns[TRIP:]:
        assert late is not None
        late.end("down")  # started before the circuit opened: ignored
    probe = limiter.try_enter()
    assert probe is not None
    assert limiter.try_enter() is None
    probe.end("answered")
    assert limiter.running == 0
    assert limiter.try_enter() is not None
    assert limiter.try_enter() is not None or limiter.limit < 2


async def test_cancelled_waiter_does_not_block_the_next_one() -> None:
    limiter = ConcurrencyLimiter(1)
    turn = limiter.try_enter()
    assert turn is not None
    first, second = asyncio.create_task(limiter.enter()), asyncio.create_task(limiter.enter())
    await asyncio.sleep(0)
    turn.end("answered")
    first.cancel()
    assert (await asyncio.wait_for(second, 5)).limiter is limiter


def test_invalid_critic_settings_are_refused() -> None:
    with pytest.raises(ValueError, match=r"critic\.base_url must be"):
        CriticSettings(kind="http", model="m", base_url="judge:8000")
    with pytest.raises(ValueError, match="must not hold a password"):
        CriticSettings(kind="http", model="m", base_url="http://me:pw@host/v1")
    with pytest.raises(ValueError, match=r"critic\.model"):
        CriticSettings(kind="http", base_url="http://host/v1")


async def test_server_with_a_new_address_is_found_again() -> None:
    """The server stops; another server at its address refuses the key; the server restarts at another address."""
    first, stranger, second = JudgeServer(), JudgeServer(lambda number, body: "status 401"), JudgeServer()
    places: list[Address | None] = []

    async def find() -> Address:
        place = places.pop(0) if len(places) > 1 else places[0]
        if place is None:
            raise CriticFault("it is starting")
        return place

    moving = CriticSettings(kind="http", model="judge-1", deadline_s=30.0, retries=0)
    async with first, stranger, second:
        places += [Address(url=server.url, key="k") for server in (first, stranger)]
        places.insert(1, None)
        places.append(Address(url=second.url, key="sk-very-secret"))
        critic = HttpCriticActor(moving, find=find)
        assert (await judge(critic, 1)).score == pytest.approx(mark_of(1) / BEST)
        await first.close()
        assert (await judge(critic, 2)).score == pytest.approx(mark_of(2) / BEST)
        assert [len(server.bodies) for server in (first, stranger, second)] == [1, 1, 1]
        assert "Bearer sk-very-secret" in second.headers[-1]
        assert critic.news()[-1].startswith("the judge judge-1 answers again")
        await critic.stop()
        await first.open()


async def test_unreachable_address_is_a_fault_at_startup() -> None:
    server = JudgeServer()
    await server.open()
    await server.close()
    with pytest.raises(CriticFault, match="cannot be reached"):
        await JudgeClient(settings(server)).check()


def test_test_server_reads_page_numbers() -> None:
    assert page_number({"messages": [{}, {"content": "page 17"}]}) == 17
    assert json.loads(verdict(4))["feedback"] == []
