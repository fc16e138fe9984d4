"""Test doubles: a policy with one decision that learns, a renderer that reads the page, a critic that compares levels.

The paper policy chooses one of LEVELS page qualities from a softmax; level 0 is a page that throws on load.
The paper learner applies the policy gradient of a batch to those logits. Nothing is scripted: with wrong
advantages from the loop, it does not learn.
"""

import asyncio
import hashlib
import json
import math
import random
from functools import partial
from pathlib import Path
from typing import Any

from cluster.distributed.worker import EpisodeWorker
from learner.checkpoint import verify, writing
from reward.score import score
from reward.settings import ScoreSettings
from rollout.edits import Edit, make
from rollout.errors import BrowserFault, CriticFault, PromptTooLong
from rollout.parsing import parse_page
from rollout.ports import EpisodeServices
from rollout.prompts import EDITS, REVIEW, answer, edit_answer, feedback_text
from rollout.records import (
    Batch,
    Comparison,
    Completion,
    ControlTrial,
    Critique,
    Page,
    Preference,
    Probe,
    Render,
    Request,
    Shot,
    Sync,
    Task,
    Update,
    VersionSpan,
    Viewport,
)

LEVELS = 5
PNG = b"\x89PNG paper"


class PaperPolicy:
    """Samples a page quality from a softmax over LEVELS logits; refuses more than `most_messages` messages."""

    def __init__(self, logits: list[float] | None = None, most_messages: int = 100) -> None:
        self.logits = list(logits or [0.0] * LEVELS)
        self.most_messages = most_messages
        self.version = 0
        self.requests: list[Request] = []

    def probabilities(self) -> list[float]:
        top = max(self.logits)
        weights = [math.exp(logit - top) for logit in self.logits]
        return [weight / sum(weights) for weight in weights]

    async def complete(self, request: Request) -> tuple[Completion, ...]:
        if len(request.messages) > self.most_messages:
            raise PromptTooLong(f"{len(request.messages)} messages, wanted {self.most_messages} at most")
        self.requests.append(request)
        await asyncio.sleep(0)
        return tuple(self._one(request, random.Random(f"{request.seed}/{index}")) for index in range(request.num))

    def _one(self, request: Request, draw: random.Random) -> Completion:
        probabilities = self.probabilities()
        level = draw.choices(range(LEVELS), probabilities)[0]
        text = answer(f"<p>level {level}</p>", "a plan")
        if EDITS in request.messages[0].content:
            shown = parse_page(request.messages[-2].content).html or ""
            same = Edit(search=(shown,), replace=(shown,))
            text = edit_answer(make(shown, f"<p>level {level}</p>") or (same,), "a plan")
        if request.messages[-1].content == REVIEW:
            text = feedback_text(("The level should be higher.",))
        return Completion(
            prompt_ids=(7, 8, 9),
            token_ids=(level,),
            logprobs=(math.log(probabilities[level]),),
            text=text,
            finish="stop",
            versions=(VersionSpan(version=self.version, start=0, end=1),),
            seconds=0.001,
        )


class PaperRenderer:
    """Reads the level from a page. Raises BrowserFault the first `faults` times."""

    def __init__(self, faults: int = 0) -> None:
        self.faults = faults
        self.pages: list[Page] = []

    async def render(self, page: Page, probes: tuple[Probe, ...] = (), viewports: tuple[Viewport, ...] = ()) -> Render:
        self.pages.append(page)
        await asyncio.sleep(0)
        if self.faults:
            self.faults -= 1
            raise BrowserFault("the paper browser tore")
        broken = "level 0" in (page.html or "")
        shots = () if broken else (Shot(at_ms=0, sha256=page.sha256, width=1, height=1, picture=PNG),)
        return Render(
            page_sha256=page.sha256,
            outcome="exception" if broken else "ok",
            detail="ReferenceError: paper" if broken else "",
            shots=shots,
            explored=(ControlTrial(control="button 'Level'", changed=True, thrown=("Error: torn",)),),
            renderer="paper",
        )


class PaperCritic:
    """Scores a page by level plus `shift`, prefers the higher level, raises CriticFault the first `faults` times."""

    def __init__(self, shift: float = 0.0, faults: int = 0) -> None:
        self.shift, self.faults = shift, faults
        self.fresh = 0
        self.compared: list[tuple[Page, Page]] = []

    async def judge(
        self, task: Task, page: Page, render: Render, reference: Render | None, *, fresh: bool = False
    ) -> Critique:
        self.fresh += fresh
        self._fail()
        score = min(1.0, _level(page) / (LEVELS - 1) + self.shift)
        return Critique(score=score, feedback=("The level should be higher.",), judge="paper-1")

    async def compare(
        self, task: Task, old: tuple[Page, Render], new: tuple[Page, Render], reference: Render | None
    ) -> Comparison:
        self._fail()
        self.compared.append((old[0], new[0]))
        answer: Preference = "new" if _level(new[0]) > _level(old[0]) else "old"
        return Comparison(answers=(answer, answer), judge="paper-1", tokens=2)

    def _fail(self) -> None:
        if self.faults:
            self.faults -= 1
            raise CriticFault("the paper critic is lost for words")


def _level(page: Page) -> int:
    """The level in the page, else one computed from the length of the page."""
    html = page.html or ""
    return int(html.split("level ")[1][0]) if "level " in html else len(html) % LEVELS


class NoisyCritic:
    """Scores by content hash and a seed: arbitrary, but equal for equal pages."""

    def __init__(self, seed: int) -> None:
        self.seed = seed

    async def judge(
        self, task: Task, page: Page, render: Render, reference: Render | None, *, fresh: bool = False
    ) -> Critique:
        digest = hashlib.sha256(f"{self.seed}/{page.html}".encode()).digest()
        return Critique(score=digest[0] / 255, feedback=("Hm.",), judge="noise")

    async def compare(
        self, task: Task, old: tuple[Page, Render], new: tuple[Page, Render], reference: Render | None
    ) -> Comparison:
        draw = random.Random(f"{self.seed}/{old[0].html}/{new[0].html}")
        said: list[Preference] = [draw.choice(("old", "new", "new", "tie")) for _ in range(2)]
        return Comparison(answers=(said[0], said[1]), judge="noise", rubric="coin")


class PaperLearner:
    """Applies the policy gradient to the paper policy's logits."""

    def __init__(self, policy: PaperPolicy, lr: float = 1.0) -> None:
        self.policy, self.lr = policy, lr
        self.logits, self.version = list(policy.logits), policy.version
        self.batches: list[Batch] = []

    async def update(self, batch: Batch) -> Update:
        self.batches.append(batch)
        probabilities = self.policy.probabilities()
        gradient = [0.0] * LEVELS
        for sample in batch.samples:
            for level in range(LEVELS):
                hit = float(level == sample.token_ids[0])
                gradient[level] += sample.advantage * (hit - probabilities[level]) / len(batch.samples)
        self.logits = [logit + self.lr * slope for logit, slope in zip(self.logits, gradient, strict=True)]
        self.version += 1
        return Update(version=self.version, metrics={"loss": 0.0, "entropy": 1.0})

    async def sync(self) -> Sync:
        self.policy.logits, self.policy.version = list(self.logits), self.version
        return Sync(version=self.version, gap=0.0, bytes=8 * LEVELS, seconds=0.0)

    async def save(self, path: Path) -> None:
        with writing(path) as filling:
            (filling / "paper.json").write_text(json.dumps([self.version, self.logits]))

    async def load(self, path: Path) -> None:
        verify(path)
        self.version, self.logits = json.loads((path / "paper.json").read_text())

    async def export(self, path: Path) -> None:
        with writing(path) as filling:
            (filling / "champion.json").write_text(json.dumps(self.logits))


def task(identity: str = "t", **fields: Any) -> Task:
    """A task without a reference page."""
    return Task(id=identity, brief=f"Build {identity}.", **fields)


def services(**members: Any) -> EpisodeServices:
    """Episode services of the paper doubles; `members` replace some of them."""
    members = {"policy": PaperPolicy(), "renderer": PaperRenderer(), "critic": PaperCritic()} | members
    return EpisodeServices(**members, score=partial(score, settings=ScoreSettings()))


def worker(cast_: EpisodeServices, settings: Any, store: Any) -> EpisodeWorker:
    """An episode worker in this process."""
    return EpisodeWorker(cast_, settings, store)


class PaperCurriculum:
    """Tasks that differ only by name."""

    def task(self, step: int, place: int) -> Task:
        return task(f"train/{step}/{place}")

    def held_out(self, num: int) -> list[Task]:
        return [task(f"held_out/{place}") for place in range(num)]


class Notebook:
    """A run observer that records steps, exams and notes."""

    def __init__(self) -> None:
        self.steps: list[dict[str, float]] = []
        self.exams: list[Any] = []
        self.notes: list[str] = []

    def stage(self, text: str) -> None: ...

    def progress(self, done: int, total: int, text: str) -> None: ...

    def note(self, text: str) -> None:
        self.notes.append(text)

    def step(self, state: Any, groups: Any) -> None:
        self.steps.append(state.history[-1])

    def exam(self, exam: Any, state: Any) -> None:
        self.exams.append(exam)


class PaperTracker:
    """A tracker that records metrics and champions and ignores the rest."""

    def __init__(self) -> None:
        self.rows: list[dict[str, float]] = []
        self.champions: list[tuple[Any, ...]] = []

    def metrics(self, history: list[dict[str, float]], mark: str = "") -> None:
        self.rows = history

    def champion(self, *champion: Any) -> None:
        self.champions.append(champion)

    def data_sets(self, *_: Any) -> None: ...

    def episodes(self, *_: Any, upload: bool) -> None: ...

    def exam_pictures(self, steps: list[int]) -> None: ...

    def describe(self, text: str) -> None:
        self.note = text

    def final(self, *_: Any) -> None: ...

    def file(self, *_: Any) -> None: ...

    def folder(self, *_: Any) -> None: ...

    def reach(self) -> None: ...

    def finish(self, status: str) -> None: ...
