"""Tests of the stage-by-stage baseline: only one stage runs at a time, and every call is answered."""

import asyncio
from collections import Counter

from cluster.experiments.bench.training_loop.stage_by_stage import Ask, Stages

EPISODES, ROUNDS = 7, 3


async def test_one_stage_runs_at_a_time_with_all_episodes() -> None:
    stages, inside, log = Stages(), Counter[str](), list[str]()

    def port(stage: str) -> Ask:
        async def ask(number: int) -> int:
            inside[stage] += 1
            log.append(stage)
            for _ in range(1 + number):
                await asyncio.sleep(0)
                assert [name for name, num in inside.items() if num] == [stage]
            inside[stage] -= 1
            return number

        return stages.only(stage, ask)

    generate, render = port("generate"), port("render")

    async def episode(number: int) -> None:
        for _ in range(ROUNDS):
            assert await generate(number) == number
            assert await render(number) == number

    await asyncio.gather(*map(episode, range(EPISODES)))
    assert log == (["generate"] * EPISODES + ["render"] * EPISODES) * ROUNDS


async def test_failed_call_leaves_its_stage() -> None:
    stages = Stages()

    async def fail() -> None:
        raise ValueError("its own")

    async def answer() -> str:
        return "well"

    failing, well = stages.only("generate", fail), stages.only("render", answer)
    results = await asyncio.gather(failing(), well(), return_exceptions=True)
    assert isinstance(results[0], ValueError)
    assert results[1] == "well"
