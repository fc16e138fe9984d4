"""Tests of a critic actor with three critics, two of them on a real HTTP server: all of them judge, or none."""

from dataclasses import replace
from typing import Any

import pytest
from drawn_pages import OTHER, PAGE, SHOP, TASK, render
from judge_server import JudgeServer, verdict

from actors.critic.ensemble import CriticActor
from actors.settings import CriticsSettings
from reward.multimodal.rubric import BEST
from rollout.errors import AnswerFault, CriticFault
from rollout.records import Page, Task

PAGE_3 = Task(id="t3", brief="Build page 3.")
MINE, REFERENCE = render(OTHER), render(SHOP)


def settings(server: JudgeServer, **fields: Any) -> CriticsSettings:
    judge = {"kind": "http", "base_url": server.url, "model": "judge-1", "retries": 0, "weight": 0.25}
    strict = judge | {"model": "judge-2", "temperature": 0.5, "judgments": 2}
    return CriticsSettings.model_validate({"weight": 0.5, "also": {"kind": judge, "strict": strict}} | fields)


async def test_judgment_combines_all_critics_and_keeps_each_by_name() -> None:
    async with JudgeServer() as server:
        critic = CriticActor(settings(server))
        assert await critic.ping() == "visual-4 + judge-1 + judge-2"
        critique = await critic.judge(PAGE_3, PAGE, MINE, REFERENCE)
        alone = await CriticActor(CriticsSettings()).judge(PAGE_3, PAGE, MINE, REFERENCE)
        await critic.stop()
    looks, kind, strict = (critique.members[name] for name in ("visual", "kind", "strict"))
    assert replace(looks, seconds=0.0) == replace(alone, seconds=0.0)
    assert (kind.judge, kind.rubric, kind.temperature, kind.tokens) == ("judge-1", "page-3", 0.0, 100)
    assert (strict.judge, strict.temperature, strict.tokens, len(strict.scores)) == ("judge-2", 0.5, 200, 2)
    assert kind.score == strict.score == pytest.approx(4 / BEST)
    assert critique.score == pytest.approx(0.5 * alone.score + 0.5 * 4 / BEST)
    assert critique.tokens == 300
    assert critique.feedback[:2] == (alone.feedback[0], "Page 3 needs more room.")


async def test_fault_of_one_critic_fails_the_judgment() -> None:
    async with JudgeServer(lambda number, body: "refuse" if body["model"] == "judge-2" else "well") as server:
        critic = CriticActor(settings(server))
        with pytest.raises(AnswerFault, match="refused"):
            await critic.judge(PAGE_3, PAGE, MINE, REFERENCE)
        with pytest.raises(CriticFault, match="needs a reference page"):
            await critic.judge(PAGE_3, PAGE, MINE, None)
        await critic.stop()


async def test_critics_vote_on_two_pages_and_a_fault_of_one_fails_the_vote() -> None:
    old, new = (PAGE, render(OTHER)), (Page(html="<p>new</p>"), render(SHOP))

    def behave(number: int, body: dict[str, Any]) -> str:
        return 'say {"observations": "", "better": "A"}'

    async with JudgeServer(behave) as server:
        critic = CriticActor(settings(server))
        compared = await critic.compare(TASK, old, new, REFERENCE)
        assert compared.members["visual"].answers == ("new", "new")
        assert compared.members["kind"].answers == ("old", "new")
        assert compared.answers == ("tie", "new")  # half of the weight for, two quarters against
        assert not compared.won
        outvoted = CriticActor(settings(server, weight=0.6))
        assert (await outvoted.compare(TASK, old, new, REFERENCE)).won
        server.behaviour = lambda number, body: "say " + verdict(3)
        with pytest.raises(AnswerFault, match="no JSON object with 'better'"):
            await critic.compare(TASK, old, new, REFERENCE)
        await critic.stop()
        await outvoted.stop()


async def test_embedded_critic_prefers_the_page_closer_to_the_reference() -> None:
    critic = CriticActor(CriticsSettings())
    far, near = (PAGE, render(OTHER)), (PAGE, render(SHOP.change(0, x=80)))
    for old, new, wanted in ((far, near, "new"), (near, far, "old"), (near, near, "tie")):
        compared = await critic.compare(TASK, old, new, REFERENCE)
        assert (compared.answers, compared.judge, compared.tokens) == ((wanted, wanted), "visual-4", 0)
    with pytest.raises(CriticFault, match="needs a reference page"):
        await critic.compare(TASK, far, near, None)


def test_critic_settings_check_names_and_weights() -> None:
    with pytest.raises(ValueError, match="'visual' is the name of the first critic"):
        CriticsSettings.model_validate({"also": {"visual": {}}})
    with pytest.raises(ValueError, match="greater than 0"):
        CriticsSettings.model_validate({"also": {"looks": {"weight": 0.0}}})
    both = {"kind": "http", "base_url": "http://h/v1", "model": "m"}
    chosen = CriticsSettings.model_validate({**both, "in_flight": 8, "also": {"two": {**both, "in_flight": 4}}})
    assert (list(chosen.members), chosen.at_once, CriticsSettings().at_once) == (["http", "two"], 4, 1)
