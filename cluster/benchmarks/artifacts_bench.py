"""ArtifactsBench: a multimodal judge marks answers by a checklist, from their code and screenshots."""

import asyncio
import hashlib
from collections.abc import Mapping, Sequence
from pathlib import Path
from statistics import fmean, pstdev
from typing import Any

from actors.judge_api.chat import chat_body, data_address
from cluster.benchmarks.benchmark import Runner, Services, Writer
from cluster.benchmarks.records import Dataset, Item, Sampling, TestResult
from cluster.training.metrics import mean
from reward.benchmarks.artifacts import cut, is_web, messages, page_of, read, schema
from reward.validity import complaint
from rollout.errors import TaskFileError
from rollout.records import WHOLE_PAGE, Message, Page, Render
from rollout.rows.fields import id_of, list_of, object_of, text_of
from rollout.rows.json_rows import json_rows
from rollout.together import gather_or_cancel

TEST = "judgment"
RUNS = 3
"""Judgments of each answer, each with its own seed; their spread is reported."""


class ArtifactsBench:
    """See `cluster.benchmarks.benchmark.Benchmark`. Every item has one test, the mean of RUNS judgments."""

    name = "artifactsbench"
    files = "artifacts_bench.json, or artifacts_bench_lite.json"
    repairs: tuple[str, ...] = (
        "a page that does not render scores 0; the public harness judges its code without pictures",
        "a judgment that cannot be read is asked for again and then counted as a machine fault; the public harness "
        "leaves it out of the mean",
        "a drawing (SVG) without a page is rendered; the public harness renders it not at all",
        "all style and script blocks of an answer are part of its page; the public harness loses those that the page "
        "does not link",
        "the last whole document is the page; the public harness takes the first html block",
        "an answer that is too long for the judge loses its middle; the public harness cuts its end",
        "the score is the sum of the criteria; the public harness reads the sum that the judge states",
    )
    sampling = Sampling(temperature=0.0, max_tokens=16_384)
    runner: Runner | None = None
    needs_judge = True
    explore = 0
    judge_prompt = str(messages("", [], "", [])[0]["content"][0]["text"])

    def __init__(self, faithful: bool) -> None:
        self.faithful = faithful

    def load(self, source: Path) -> Dataset:
        """See `Benchmark`."""
        if not source.is_file():
            raise TaskFileError(f"{source}: no such file; wanted {self.files}")
        items = [_item(f"{source}, {where}", row) for where, row in json_rows(source)]
        if not items:
            raise TaskFileError(f"{source}: no item found; wanted {self.files}")
        return Dataset(items=tuple(items), sha256=hashlib.sha256(source.read_bytes()).hexdigest())

    async def play(self, item: Item, writer: Writer, services: Services) -> list[TestResult]:
        """See `Benchmark`. Raises CriticFault when the judge gives no judgment."""
        answer = (await writer.write(item.id, item.messages)).text
        html = page_of(answer, faithful=self.faithful) if answer is not None else None
        if answer is None or (html is None and not self.faithful):
            return [TestResult(test=TEST, verdict="no_answer", detail="the answer holds no page")]
        page = Page(html=html)
        render = await services.renderer.render(page) if html is not None else None
        shown = render is not None and render.valid
        picture = services.fetch(render.shots[-1].picture) if render is not None and render.shots else None
        if not shown and not self.faithful:
            return [TestResult(test=TEST, verdict="fail", detail=complaint(page, render), picture=picture)]
        scores = await self._judged(item, answer, render if shown else None, services)
        return [
            TestResult(
                test=TEST,
                verdict="pass" if fmean(scores) > 0.0 else "fail",
                score=fmean(scores),
                detail="" if shown else complaint(page, render),
                values={
                    **{f"judgment_{number}": score for number, score in enumerate(scores, start=1)},
                    "web": float(item.data["web"]),
                },
                picture=picture,
            )
        ]

    async def _judged(self, item: Item, answer: str, render: Render | None, services: Services) -> list[float]:
        assert services.judge is not None, "the command starts no ArtifactsBench without a judge"
        judge, checklist = services.judge, item.data["checklist"]
        pictures = await asyncio.to_thread(_pictures, render, services) if render is not None else []
        asked = messages(item.data["question"], checklist, cut(answer, faithful=self.faithful), pictures)
        maxima = [float(one["maxScore"]) for one in checklist]
        bodies = [chat_body(judge.settings, asked, schema(len(maxima)), seed) for seed in range(RUNS)]

        def mark(text: str) -> float:
            return read(text, maxima, faithful=self.faithful)

        return [score for score, _ in await gather_or_cancel(*(judge.ask(body, mark) for body in bodies))]

    def scores(self, results: Mapping[str, Sequence[TestResult]]) -> dict[str, float]:
        """See `Benchmark`: the mean, that of the questions that ask for a web page, and the spread of the judge's runs.

        The spread is the standard deviation of the means of the single runs.
        """
        tested = [one for tests in results.values() for one in tests if one.verdict != "machine_fault"]
        web = [one.score for one in tested if one.values.get("web", 1.0)]
        judged = [one for one in tested if "judgment_1" in one.values]
        runs = [mean([one.values[f"judgment_{number}"] for one in judged]) for number in range(1, RUNS + 1)]
        return {
            "score": mean([one.score for one in tested]),
            "web": mean(web),
            "spread": pstdev(runs),
        }


def _item(where: str, row: dict[str, Any]) -> Item:
    question = text_of(where, row, "question")
    checklist = [object_of(where, one) for one in list_of(where, row, "checklist")]
    for one in checklist:
        text_of(where, one, "title")
        if not isinstance(one.get("maxScore"), int | float) or one["maxScore"] <= 0:
            raise TaskFileError(f"{where}: a criterion has no positive maxScore; give the unchanged published file")
    if not checklist:
        raise TaskFileError(f"{where}: the checklist is empty; give the unchanged published file")
    return Item(
        id=id_of(where, {"id": row.get("index")}),
        messages=(Message(role="user", content=question),),
        tests=(TEST,),
        data={"question": question, "checklist": checklist, "web": is_web(question)},
    )


def _pictures(render: Render, services: Services) -> list[tuple[str, str]]:
    """Captions and data addresses of the timed screenshots and of the whole page."""
    assert services.judge is not None, "pictures are for the judge"
    shots = [shot for shot in render.shots if shot.label in ("", WHOLE_PAGE)]
    return [
        (
            f"{shot.label or 'the first screen'}, {shot.at_ms / 1000:g} s after loading:",
            data_address(services.judge.settings, services.fetch(shot.picture), len(shots)),
        )
        for shot in shots
    ]
