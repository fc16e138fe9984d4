"""Drawn episodes: pages of several degrees of completeness with their screenshots, rewards and feedback."""

import hashlib
import io
import math
import random
from dataclasses import replace
from functools import cache
from typing import Any

from PIL import Image, ImageDraw

from cluster.report.evaluation import PlayedTask
from cluster.report.filmstrips import Film
from rollout.records import (
    Attempt,
    Comparison,
    Completion,
    Critique,
    Page,
    Preference,
    ProbeResult,
    Render,
    Reward,
    Shot,
    Task,
    Trajectory,
    Turn,
    VersionSpan,
)
from rollout.selfedit import Draft

BRIEFS = (
    "Build a pricing page with three plans, the middle one highlighted, and a button under each.",
    "A hero for a small bakery: a warm headline, one sentence, and two buttons side by side.",
    "A dashboard card row: four figures with a label, and a table of the last orders under it.",
    "A sign-up form with three labelled fields, a hint under the password and a wide submit button.",
)
PICTURES: dict[str, bytes] = {}


@cache
def picture(kind: int, level: int, step: int = 0) -> Shot:
    """A drawn page; `level` (0 to 4) is the completeness of its design."""
    draw_random = random.Random(kind)
    accent = [(37, 99, 235), (200, 90, 40), (20, 130, 100), (120, 70, 190)][kind % 4]
    image = Image.new("RGB", (1280, 800), (250, 250, 252) if level > 1 else (255, 255, 255))
    draw = ImageDraw.Draw(image)
    if level > 0:
        draw.rectangle((0, 0, 1280, 72), fill=accent if level > 2 else (230, 230, 230))
        draw.text((60, 24), "Northwind", fill="white" if level > 2 else "black", font_size=24)
    draw.text((60, 130), BRIEFS[kind % 4][:34], fill=(30, 30, 40), font_size=54 if level > 1 else 18)
    for place in range(3 if level > 0 else 0):
        x = 60 + place * 400 if level > 2 else 60
        y = 300 if level > 2 else 240 + place * 130
        draw.rounded_rectangle(
            (x, y, x + 360, y + (380 if level > 2 else 110)), 16, fill="white", outline=(210, 210, 220)
        )
        draw.rectangle((x + 30, y + 30, x + 120 + draw_random.randrange(150), y + 50), fill=accent)
        if level > 3:
            draw.rounded_rectangle((x + 30, y + 300, x + 330, y + 350), 10, fill=accent)
    if step:
        draw.rectangle((60, 760, 60 + 500 * step, 770), fill=accent)
    sink = io.BytesIO()
    image.save(sink, "PNG")
    sha256 = hashlib.sha256(sink.getvalue()).hexdigest()
    PICTURES[sha256] = sink.getvalue()
    return Shot(at_ms=1000 * step, sha256=sha256, width=1280, height=800)


def html(level: int) -> str:
    cards = "\n".join(f'  <article class="card">\n    <h2>Plan {n}</h2>\n  </article>' for n in range(level))
    return f"<!doctype html>\n<style>\n  body {{ margin: {level * 8}px }}\n</style>\n<main>\n{cards}\n</main>"


def attempt(kind: int, level: int, total: float, verdict: Any = "accepted", **fields: Any) -> Attempt:
    number, index, moves = fields.pop("round", 0), fields.pop("index", 0), fields.pop("moves", False)
    bad = level == 0
    shots = () if bad else tuple(picture(kind, level, step if moves else 0) for step in range(3))
    page = Page(html=html(level), thought="A bar on top, then three cards in a row with the accent colour.")
    detail = "ReferenceError: plans is not defined" if bad else ""
    made = Render(
        page_sha256=page.sha256,
        outcome="exception" if bad else "ok",
        detail=detail,
        shots=shots,
        probes=(ProbeResult(name="open", held=True),),
    )
    parts = {"blocks": total, "text": min(1.0, total + 0.1), "colour": total * 0.9, "layout": total * 0.8}
    critique = Critique(
        score=total,
        feedback=("The second card is missing.", "Make the headline bigger: 54 px, not 18 px."),
        parts=parts,
        judge="visual-1",
    )
    return replace(
        Attempt(
            round=number,
            index=index,
            completion=Completion(
                prompt_ids=(1,),
                token_ids=(1, 2),
                logprobs=(-0.1, -0.2),
                text="…",
                finish="stop",
                versions=(VersionSpan(version=0, start=0, end=2),),
            ),
            page=page,
            verdict=verdict,
            reward=Reward(total=0.0 if bad else total, gate=0 if bad else 1, visual=total, interaction=0.5, format=1.0)
            if not bad
            else Reward(total=0.0, gate=0, complaint=f"The page throws: {detail}"),
            render=made,
            critique=None if bad else critique,
        ),
        **fields,
    )


def compared(old_first: Preference, new_first: Preference) -> Comparison:
    one = Comparison(answers=(old_first, new_first), judge="qwen", rubric="pair-1")
    other = replace(one, answers=("new", "new"))
    return replace(one, judge="visual-4 + qwen", members={"visual": other, "http": one})


def film(step: int, kind: int, start: int) -> Film:
    turns = [Turn(round=0, attempts=(attempt(kind, start, 0.2 + 0.1 * start),))]
    second = (
        attempt(kind, max(0, start - 1), 0.15, "not_better", round=1),
        attempt(kind, start + 1, 0.45 + 0.1 * start, round=1, index=1, moves=True),
        attempt(kind, 1, 0.3, "unused", round=1, index=2, reward=None, render=None, critique=None),
    )
    turns.append(Turn(round=1, attempts=second))
    turns.append(Turn(round=2, attempts=(attempt(kind, start, 0.3, "not_better", round=2),)))
    task = Task(id=f"{kind}", brief=BRIEFS[kind % 4])
    reference = Render(page_sha256="r", outcome="ok", shots=(picture(kind, 4),))
    return Film(
        step=step,
        trajectory=Trajectory(id=f"{kind}/{step}", task=task, turns=tuple(turns)),
        reference=reference,
    )


def played_task(kind: int, name: str = "plans") -> PlayedTask:
    """A task in the three modes of inference; its base decode throws because `name` is not defined."""
    episode = film(1, kind, 2)
    page = Page(html=html(2))
    shot = picture(kind, 2)
    good = Render(page_sha256=page.sha256, outcome="ok", shots=(replace(shot, picture=PICTURES[shot.sha256]),))
    torn = replace(good, outcome="exception", detail=f"ReferenceError: {name} is not defined", shots=())
    drafts = [
        Draft(round=number, page=page, render=render, tokens=100, seconds=1.0)
        for number, render in enumerate((torn, good))
    ]
    return PlayedTask(
        task=episode.trajectory.task,
        drafts=drafts,
        rewards=(0.0, 0.61),
        trajectory=episode.trajectory,
        reference=episode.reference,
    )


def history(steps: int) -> list[dict[str, float]]:
    draw = random.Random(1)
    rows = []
    for step in range(1, steps + 1):
        learnt = 1 - math.exp(-step / (steps / 3))
        valid = 0.38 + 0.46 * learnt + draw.uniform(-0.06, 0.06)
        rows.append(
            {
                "step": step,
                "valid_render_rate": valid,
                "reward_first": 0.22 + 0.25 * learnt + draw.uniform(-0.02, 0.02),
                "reward_best": 0.33 + 0.28 * learnt + draw.uniform(-0.02, 0.02),
                "accept_rate": 0.31 + 0.05 * learnt + draw.uniform(-0.05, 0.05),
                "round_accept_rate": 0.52 + draw.uniform(-0.05, 0.05),
                "entropy": 1.1 - 0.5 * learnt + draw.uniform(-0.03, 0.03),
                "logprob_gap_max": 0.002 * draw.uniform(0.4, 4),
                "sync_gap": 1e-6 * draw.uniform(0.5, 2.5),
                "seconds_generate": 6 + draw.random(),
                "seconds_render": 3 + draw.random(),
                "seconds_judge": 0.6,
                "seconds_learn": 4.4,
                "seconds_sync": 0.4,
                "pages_per_s": 6 + draw.random() * 2,
                "distill_loss": 2.2 - 1.2 * learnt,
                "outcome_ok": valid,
                "outcome_exception": (1 - valid) * 0.6,
                "outcome_blank": (1 - valid) * 0.25,
                "outcome_no_page": (1 - valid) * 0.15,
            }
        )
    return rows
