"""WebGen-Bench (arXiv 2505.03733) for policies that write one page: a multimodal judge answers its UI checks.

The public benchmark builds projects with a scaffold, and an agent carries out each check. Here the answer is a single
page, its controls are operated once, and the judge reads pictures and log. It has a name of its own, because scores of
different scaffolds are not comparable.
"""

import asyncio
import hashlib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from actors.judge_api.chat import chat_body, data_address
from cluster.benchmarks.benchmark import Runner, Services, Writer
from cluster.benchmarks.records import Dataset, Item, Sampling, TestResult, Verdict
from cluster.training.metrics import mean
from reward.benchmarks.webgen import QUESTION, SCHEMA, chosen, log, messages, read
from reward.validity import complaint
from rollout.errors import AnswerFault, SettingsError, TaskFileError
from rollout.parsing import parse_page
from rollout.prompts import first
from rollout.records import Render, Task
from rollout.rows.fields import Row, id_of, list_of, object_of, show, text_of
from rollout.rows.file_rows import file_rows
from rollout.together import gather_or_cancel

SCORES = {"yes": 1.0, "partial": 0.5, "no": 0.0, "not_tried": 0.0}
EXPLORE = 15
"""Controls to operate; with the page as loaded, their pictures are as many as a judge gets by default."""
SHOWN = 80
"""Characters of a check in the name of its test."""


class WebGenSingleFile:
    """See `cluster.benchmarks.benchmark.Benchmark`. Every UI check of an instruction is a test."""

    name = "webgen-single-file"
    files = "test.jsonl of WebGen-Bench, or its Parquet file"
    repairs: tuple[str, ...] = (
        "the answer is one page of HTML; the public benchmark builds a project with a scaffold",
        "the controls of the page are operated once, and each check is a question about the pictures and the log; in "
        "the public benchmark an agent carries out each check",
        "a verdict is one JSON value, and is asked for again if it is not; the public harness searches the last answer "
        "for YES",
        "a check that could not be judged is a machine fault; the public harness counts it as failed",
        "the judge samples with the temperature of the settings, 0 by default; the public harness with 1",
    )
    sampling = Sampling(temperature=0.0, max_tokens=16_384)
    runner: Runner | None = None
    needs_judge = True
    explore = EXPLORE
    judge_prompt = QUESTION

    def __init__(self, faithful: bool) -> None:
        """Raises SettingsError with `faithful`: no public harness tests single pages."""
        if faithful:
            raise SettingsError(f"{self.name} is a variant without a public harness; leave out --faithful")
        self.faithful = faithful

    def load(self, source: Path) -> Dataset:
        """See `Benchmark`."""
        if not source.is_file():
            raise TaskFileError(f"{source}: no such file; wanted {self.files}")
        items: dict[str, Item] = {}
        for where, row in file_rows(source):
            item = _item(f"{source}, {where}", row)
            if item.id in items:
                raise TaskFileError(f"{source}, {where}: the id {show(item.id)} occurs twice; give the published file")
            items[item.id] = item
        if not items:
            raise TaskFileError(f"{source}: no item found; wanted {self.files}")
        return Dataset(items=tuple(items.values()), sha256=hashlib.sha256(source.read_bytes()).hexdigest())

    async def play(self, item: Item, writer: Writer, services: Services) -> list[TestResult]:
        """See `Benchmark`. Raises CriticFault when the judge does not answer; an answer without a verdict is a machine
        fault of its check alone."""
        page = parse_page((await writer.write(item.id, item.messages)).text or "")
        if page.html is None:
            detail = complaint(page, None)
            return [TestResult(test=test, verdict="no_answer", detail=detail) for test in item.tests]
        render = await services.renderer.render(page)
        if not render.valid:
            detail = complaint(page, render)
            picture = services.fetch(render.shots[-1].picture) if render.shots else None
            return [TestResult(test=test, verdict="fail", detail=detail, picture=picture) for test in item.tests]
        assert services.judge is not None, "the command does not start this benchmark without a judge"
        pictures = await asyncio.to_thread(_pictures, render, services)
        checks = zip(item.tests, item.data["checks"], strict=True)
        asked = (self._judged(test, item, check, render, pictures, services) for test, check in checks)
        return await gather_or_cancel(*asked)

    async def _judged(
        self,
        test: str,
        item: Item,
        check: Mapping[str, str],
        render: Render,
        pictures: Mapping[str, tuple[str, str, bytes]],
        services: Services,
    ) -> TestResult:
        assert services.judge is not None, "checked by `play`"
        judge = services.judge
        shown = [(caption, address) for caption, address, _ in pictures.values()]
        asked = messages(item.data["instruction"], check["task"], check["expected"], log(render, list(pictures)), shown)
        try:
            (verdict, reason), _ = await judge.ask(chat_body(judge.settings, asked, SCHEMA, 0), read)
        except AnswerFault as fault:
            return TestResult(test=test, verdict="machine_fault", detail=f"the judge gave no verdict: {fault}")
        passed: Verdict = "pass" if verdict == "yes" else "fail"
        return TestResult(
            test=test,
            verdict=passed,
            score=SCORES[verdict],
            detail=f"{verdict.replace('_', ' ')}: {reason}",
            values={name: float(name == verdict) for name in SCORES},
            picture=next((png for _, _, png in pictures.values()), None),
        )

    def scores(self, results: Mapping[str, Sequence[TestResult]]) -> dict[str, float]:
        """See `Benchmark`: (yes + partial / 2) / all, and the shares of `yes`, `partial` and `not_tried`."""
        tested = [one for tests in results.values() for one in tests if one.verdict != "machine_fault"]
        shares = {name: mean([one.values.get(name, 0.0) for one in tested]) for name in ("yes", "partial", "not_tried")}
        return {"score": mean([one.score for one in tested]), **shares}


def _pictures(render: Render, services: Services) -> dict[str, tuple[str, str, bytes]]:
    """Caption, data address and PNG of the pictures for the judge, by the label of the picture."""
    assert services.judge is not None, "pictures are for the judge"
    settings = services.judge.settings
    shots = chosen(render, settings.max_pictures)
    pngs = [services.fetch(shot.picture) for _, shot in shots]
    return {
        shot.label: (caption, data_address(settings, png, len(shots)), png)
        for (caption, shot), png in zip(shots, pngs, strict=True)
    }


def _item(where: str, row: Row) -> Item:
    instruction = text_of(where, row, "instruction")
    given = [object_of(where, one) for one in list_of(where, row, "ui_instruct")]
    if not given:
        raise TaskFileError(f"{where}: `ui_instruct` is missing or empty; wanted a row of WebGen-Bench's test set")
    checks = [_check(where, one) for one in given]
    name = id_of(where, row)
    name = name.zfill(6) if name.isdigit() else name  # the Parquet file has numbers
    return Item(
        id=name,
        messages=first(Task(id=name, brief=instruction)),
        tests=tuple(f"{number}. {check['task'][:SHOWN]}" for number, check in enumerate(checks, start=1)),
        data={"instruction": instruction, "checks": checks},
    )


def _check(where: str, row: Row) -> dict[str, Any]:
    return {"task": text_of(where, row, "task"), "expected": text_of(where, row, "expected_result")}
