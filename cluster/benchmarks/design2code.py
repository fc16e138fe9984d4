"""Design2Code (arXiv 2403.03163): pages written from the texts of web pages, compared with those pages.

The public benchmark shows the policy a screenshot; here the brief lists the page's own texts, because the policies of
this project read text. Four of its five terms are computed; CLIP is left out.
"""

import asyncio
import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path

from actors.critic.critic import Fetch
from cluster.benchmarks.benchmark import Runner, Services, Writer
from cluster.benchmarks.records import Dataset, Item, Sampling, TestResult
from reward.benchmarks.design2code_terms import Terms, blocks_of, compare
from reward.validity import complaint
from reward.visual.critic import VisualCritic
from rollout.parsing import parse_page
from rollout.prompts import answer, first
from rollout.records import Page, Render, Task
from rollout.task_sets.public import read_task_set

TEST = "page"
MEANS = ("block", "text", "position", "color", "visual")
"""Measurements whose means are reported beside the score."""


class Design2Code:
    """See `cluster.benchmarks.benchmark.Benchmark`. Every item has one test, with partial credit."""

    name = "design2code"
    files = "a folder of <id>.html pages, such as the test set's folder"
    repairs: tuple[str, ...] = (
        "a page that does not render validly scores 0; the public harness compares a white page",
        "text, position and colour count in the share of matched blocks; the public harness averages over matched "
        "blocks only, so a page with one right word can score 1 in each",
    )
    sampling = Sampling(temperature=0.0, max_tokens=4096)
    runner: Runner | None = None
    needs_judge = False
    explore = 0
    judge_prompt = ""

    def __init__(self, faithful: bool) -> None:
        self.faithful = faithful
        self.critic = VisualCritic()

    def load(self, source: Path) -> Dataset:
        """See `Benchmark`."""
        tasks = read_task_set("design2code", source)
        digest = hashlib.sha256()
        for task in tasks:
            digest.update(f"{task.id}\0{task.reference_html}\0".encode())
        return Dataset(items=tuple(map(_item, tasks)), sha256=digest.hexdigest())

    async def play(self, item: Item, writer: Writer, services: Services) -> list[TestResult]:
        """See `Benchmark`. A reference page that throws is compared as far as it is shown."""
        task: Task = item.data["task"]
        page = parse_page((await writer.write(item.id, item.messages)).text or "")
        if page.html is None:
            return [TestResult(test=TEST, verdict="no_answer", detail=complaint(page, None))]
        render, reference = await asyncio.gather(
            services.renderer.render(page), services.renderer.render(Page(html=task.reference_html))
        )
        return [await asyncio.to_thread(self._result, task, page, render, reference, services)]

    def _result(self, task: Task, page: Page, render: Render, reference: Render, services: Services) -> TestResult:
        picture = services.fetch(render.shots[-1].picture) if render.shots else None
        if not render.valid and not self.faithful:
            return TestResult(test=TEST, verdict="fail", detail=complaint(page, render), picture=picture)
        terms = compare(blocks_of(render), blocks_of(reference))
        visual = 0.0
        if render.valid and reference.valid:
            shots = [timed_pictures(one, services.fetch) for one in (render, reference)]
            visual = self.critic.judge(task, page, render, reference, *shots).score
        score = terms.mean if self.faithful else gated(terms)
        return TestResult(
            test=TEST,
            verdict="pass" if score > 0.0 else "fail",
            score=score,
            values={**asdict(terms), "visual": visual},
            picture=picture,
            seconds=render.seconds,
        )

    def scores(self, results: Mapping[str, Sequence[TestResult]]) -> dict[str, float]:
        """See `Benchmark`: the mean score, and the mean of each term over all pages."""
        tested = [one for tests in results.values() for one in tests if one.verdict != "machine_fault"]
        num = max(1, len(tested))
        means = {name: sum(one.values.get(name, 0.0) for one in tested) / num for name in MEANS}
        return {"score": sum(one.score for one in tested) / num, **means}


def gated(terms: Terms) -> float:
    """Mean of the four terms, where text, position and colour count in the share of matched blocks."""
    return terms.block * (1.0 + terms.text + terms.position + terms.color) / 4


def timed_pictures(render: Render, fetch: Fetch) -> tuple[bytes, ...]:
    """The PNGs of the timed screenshots."""
    return tuple(fetch(shot.picture) for shot in render.shots if not shot.label)


def _item(task: Task) -> Item:
    return Item(
        id=task.id,
        messages=first(task),
        tests=(TEST,),
        reference=answer(task.reference_html or ""),
        data={"task": task},
    )
