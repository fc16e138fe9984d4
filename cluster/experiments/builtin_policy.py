"""Measures what the built-in policy can do on held-out designs: `python -m cluster.experiments.builtin_policy`.

First pages: how many render validly, and whether the valid ones have the texts, colours and numbers of their briefs.
Revisions, in both forms: a page with one to four wrong traits is rendered and judged, and revised after the critic's
feedback, and after the policy's own review of it; the score of the revision is compared with that of the page.
"""

import argparse
import asyncio
import json
import random
import re
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import mean
from typing import Any

from cluster.commands import program
from cluster.paths import resolve_path
from cluster.preflight.local_engines import launched_critic, tools
from cluster.preflight.warm_start import warm_start_blocking
from cluster.settings import RunSettings, check_settings
from reward.designs import FAMILIES, Draw, draw, vary
from reward.designs.palette import COLORS
from reward.score import score
from rollout import prompts
from rollout.errors import BadInput, RelookError
from rollout.parsing import parse_answer, parse_feedback, parse_page
from rollout.ports import Critic, Policy, Renderer
from rollout.records import Message, Page, Render, Request, Task
from rollout.seeds import seed_of
from rollout.selfedit import review_request
from rollout.settings import RevisionForm

DEFAULTS = {"episode": {"max_tokens": 512, "review_tokens": 160}}
VIEWPORT = {"viewport_width": 800, "viewport_height": 600}
FORMS: tuple[RevisionForm, ...] = ("page", "edits")


@dataclass(frozen=True, kw_only=True)
class Bench:
    """The services, and the settings of the samples."""

    policy: Policy
    renderer: Renderer
    critic: Critic
    settings: RunSettings

    async def write(self, messages: tuple[Message, ...], seed: int) -> str:
        """One sampled answer."""
        episode = self.settings.episode
        request = Request(
            messages=messages,
            max_tokens=episode.max_tokens,
            temperature=episode.temperature,
            seed=seed,
            stop=prompts.PAGE_STOP,
        )
        (completion,) = await self.policy.complete(request)
        return completion.text

    async def review(self, task: Task, page: Page, seed: int) -> tuple[str, ...]:
        """The policy's sampled review of a page."""
        (completion,) = await self.policy.complete(review_request(task, page, self.settings.episode, seed=seed))
        return parse_feedback(completion.text)

    async def judge(self, task: Task, page: Page) -> tuple[float, tuple[str, ...]]:
        """The reward of a page and the feedback on it; 0 and no feedback if it does not render validly."""
        if page.html is None:
            return 0.0, ()
        render = await self.renderer.render(page, task.probes)
        if not render.valid:
            return 0.0, ()
        critique = await self.critic.judge(task, page, render, await self._reference(task))
        return score(page, render, critique, task, self.settings.score).total, critique.feedback

    async def _reference(self, task: Task) -> Render:
        return await self.renderer.render(Page(html=task.reference_html), task.probes)


async def first_page(bench: Bench, design: Draw) -> dict[str, Any]:
    """Writes a first page: whether it is valid, and which texts, and which colours and numbers, it has."""
    text = await bench.write(prompts.first(design.task), seed_of(0, design.task.id, "first"))
    page = parse_page(text)
    reward, _ = await bench.judge(design.task, page)
    if page.html is None or reward == 0.0:
        return {"valid": False, "reward": reward}
    texts = [value for value in design.traits.values() if value[0].isupper()]
    values = [COLORS.get(value, value) for value in design.traits.values() if value in COLORS or value.isdigit()]
    return {
        "valid": True,
        "reward": reward,
        "texts": [text in page.html for text in texts],
        "values": [re.search(rf"(?<![0-9a-f]){value}(?![0-9a-f])", page.html) is not None for value in values],
    }


async def revision(bench: Bench, design: Draw, form: RevisionForm) -> dict[str, float] | None:
    """Rewards of a wrong page, of its revision after the critic's feedback, and after a review; None if it is right."""
    rng = random.Random(f"revision/{design.task.id}")
    wrong = Page(html=vary(design, rng, rng.randint(1, 4))[0])
    before, feedback = await bench.judge(design.task, wrong)
    if not feedback:
        return None
    review = await bench.review(design.task, wrong, seed_of(0, design.task.id, "review"))
    rewards = {"before": before}
    for name, told in (("told", feedback), ("reviewed", review)):
        messages = prompts.revise(design.task, wrong, told, as_edits=form == "edits")
        text = await bench.write(messages, seed_of(0, design.task.id, name))
        revised = parse_answer(text, wrong.html if form == "edits" else None)
        rewards[name], _ = await bench.judge(design.task, revised)
    return rewards


async def measure(settings: RunSettings, model: Path, num: int) -> dict[str, Any]:
    """All figures on `num` held-out designs, drawn from seeds of their own."""
    designs = [draw(7_000_000 + i, family=FAMILIES[i % len(FAMILIES)], split="held_out") for i in range(num)]
    async with tools(settings, model) as engines, launched_critic(settings) as critic:
        bench = Bench(policy=engines.policy, renderer=engines.renderer, critic=critic, settings=settings)
        limit = asyncio.Semaphore(settings.in_flight)

        async def bounded(work: Any) -> Any:
            async with limit:
                return await work

        first = await asyncio.gather(*(bounded(first_page(bench, design)) for design in designs))
        print(f"{len(first)} first pages", file=sys.stderr, flush=True)
        revised = {}
        for form in FORMS:
            rows = await asyncio.gather(*(bounded(revision(bench, design, form)) for design in designs))
            revised[form] = [row for row in rows if row is not None]
            print(f"{len(revised[form])} revisions as {form}", file=sys.stderr, flush=True)
    return {"first": summarize_first(first), **{form: summarize_revisions(rows) for form, rows in revised.items()}}


def summarize_first(rows: Sequence[dict[str, Any]]) -> dict[str, float]:
    """Share of valid pages and their mean reward; shares of texts and values, and of pages that have all of them."""
    valid = [row for row in rows if row["valid"]]
    found: dict[str, float] = {"pages": len(rows), "valid": len(valid) / max(1, len(rows))}
    if valid:
        found["reward_of_valid"] = mean(row["reward"] for row in valid)
        for name in ("texts", "values"):
            found[name] = mean(hit for row in valid for hit in row[name])
            found[f"pages_with_all_{name}"] = mean(all(row[name]) for row in valid)
    return {name: round(value, 4) for name, value in found.items()}


def summarize_revisions(rows: Sequence[dict[str, float]]) -> dict[str, float]:
    """Share of revisions that are better than the page, and mean gain, after feedback and after the policy's review."""
    found: dict[str, float] = {"pages": len(rows), "before": mean(row["before"] for row in rows)}
    for name in ("told", "reviewed"):
        found[f"{name}_better"] = mean(row[name] > row["before"] for row in rows)
        found[f"{name}_gain"] = mean(row[name] - row["before"] for row in rows)
    return {name: round(value, 4) for name, value in found.items()}


def main(argv: list[str] | None = None) -> int:
    """Runs the command. Returns its exit code."""
    parser = argparse.ArgumentParser(prog=program("experiments.builtin_policy"), description=__doc__.splitlines()[0])
    parser.add_argument("--model", type=Path, help="directory of a policy (default: the built-in one)")
    parser.add_argument("--num", type=int, default=102, help="held-out designs")
    parser.add_argument("--out", type=Path, help="file for the figures as JSON")
    options = parser.parse_args(argv)
    try:
        settings = check_settings(dict(DEFAULTS, browser=VIEWPORT), "settings")
        model = options.model or warm_start_blocking(settings)
        figures = asyncio.run(measure(settings, resolve_path(model), options.num))
    except RelookError as error:
        print(f"relook: {error}", file=sys.stderr)
        return 2 if isinstance(error, BadInput) else 1
    text = json.dumps(figures, indent=2)
    if options.out is not None:
        options.out.write_text(text + "\n", encoding="utf-8")
    print(text)
    return 0


if __name__ == "__main__":
    sys.exit(main())
