"""Checks that no judgment is lost or invented: concurrent requests, a proxy that injects faults, a killed judge."""

import asyncio
import random
from dataclasses import dataclass
from typing import Any

import psutil
from drawn_pages import PAGE, SHOP, render
from judge_proxy import JudgeProxy

from actors.critic.critic import HttpCriticActor
from actors.judge.server import VLLMJudge
from actors.settings import CriticSettings
from reward.multimodal.answer import read
from rollout.records import Critique, Task

FAULTS = ("status 500", "later 0.2", "unready 0.2", "drop", "half", "break", "garble", "refuse", "slow 1.0")
SHARE = 0.3
"""Share of requests with an injected fault."""


@dataclass(frozen=True, kw_only=True)
class Outcome:
    """Results of the check."""

    judged: list[Critique]
    proxy: JudgeProxy

    def show(self) -> str:
        """A summary with counts."""
        asked, whole = sum(self.proxy.injected.values()), sum(map(len, self.proxy.said.values()))
        told = ", ".join(f"{name} {num}" for name, num in sorted(self.proxy.injected.items()))
        zeros = sum(critique.score == 0.0 for critique in self.judged)
        return (
            f"{len(self.judged)} judgments from {asked} requests ({told}), {whole} answers passed on whole, "
            f"{self.proxy.away} requests while the judge was dead, {zeros} zeros, "
            f"{len({critique.feedback for critique in self.judged})} different ones"
        )


def critic_of(find: Any, **fields: Any) -> HttpCriticActor:
    """A critic with long timeouts and many retries, for the judge whose address `find` returns."""
    patient = {"deadline_s": 300.0, "timeout_s": 60.0, "retries": 12, "max_tokens": 2048}
    return HttpCriticActor(CriticSettings(kind="http", model="random-1", **{**patient, **fields}), find=find)


async def judge(critic: HttpCriticActor, number: int) -> Critique:
    """A judgment of a page with unique content."""
    paper = SHOP.change(0, text=f"Velvet Lantern {number}")
    return await critic.judge(Task(id=f"t{number}", brief=f"Build page {number}."), PAGE, render(paper), None)


def server_of(served: VLLMJudge) -> psutil.Process:
    """The process of the server, a child of its watchdog."""
    leash = psutil.Process(served.pid)
    (server,) = [child for child in leash.children() if child.name() != leash.name()]
    return server


async def survive(served: VLLMJudge, num: int, seed: int = 1) -> Outcome:
    """Makes `num` judgments at once and kills the server with -9 once a third of them are done."""
    draw, before = random.Random(seed), served.pid

    def behave(number: int, body: dict[str, Any]) -> str:
        return draw.choice(FAULTS) if draw.random() < SHARE else "well"

    async with JudgeProxy(served.address, behave) as proxy:
        critic = critic_of(proxy.address)
        asked = [asyncio.create_task(judge(critic, number)) for number in range(num)]
        while sum(task.done() for task in asked) < num // 3:
            await asyncio.sleep(0.01)
        server_of(served).kill()
        judged = await asyncio.gather(*asked)
        await critic.stop()
    assert served.pid != before
    return Outcome(judged=judged, proxy=proxy)


def check(outcome: Outcome) -> None:
    """Checks that each judgment equals an answer of the server about this page, forwarded unchanged."""
    proxy = outcome.proxy
    assert proxy.away > 0, "some were asked of a server that was dead"
    assert set(proxy.injected) == {"well", *(fault.partition(" ")[0] for fault in FAULTS)}
    assert sorted(proxy.said) == list(range(len(outcome.judged)))
    for number, critique in enumerate(outcome.judged):
        honest = [read(text, 0) for text in proxy.said[number]]
        assert (critique.score, critique.feedback) in [(one.score, one.feedback) for one in honest]
