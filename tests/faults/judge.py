"""A judge server in a separate process: `python judge.py PORT`. Its marks depend only on the page."""

import asyncio
import json
import re
import sys
from typing import Any

from judge_server import JudgeServer

from reward.multimodal.answer import read
from reward.multimodal.rubric import BEST, CRITERIA, material
from rollout.records import Page, Render, Task

THINKS_S = 0.3
"""Seconds per answer, long enough for a kill during a judgment."""


class Judge(JudgeServer):
    """Waits, then gives every criterion the mark of the page."""

    async def respond(self, how: str, body: dict[str, Any], writer: asyncio.StreamWriter) -> bool:
        await asyncio.sleep(THINKS_S)
        said = json.dumps(body["messages"][1])
        answer = preference(said) if _compares(body) else verdict(said, num=_checklist(body))
        return await super().respond(f"say {answer}", body, writer)


def score_of(task: Task, page: Page) -> float:
    """The judge's score of a page, as the critic reads it."""
    said = json.dumps(material(task, page, Render(page_sha256=page.sha256, outcome="ok"), lambda shot: ""))
    return read(verdict(said, num=len(task.checklist)), len(task.checklist)).score


def verdict(said: str, num: int) -> str:
    """The answer about the page in a conversation."""
    (marks, *_) = _marks(said)
    scores = dict.fromkeys(CRITERIA, marks)
    return json.dumps(
        {"observations": "", "scores": scores, "checklist": [marks % 3] * num, "feedback": ["More room."]}
    )


def preference(said: str) -> str:
    """The answer about the two pages in a conversation: the one with the higher mark is better."""
    first, second = _marks(said)
    better = "tie" if first == second else "A" if first > second else "B"
    return json.dumps({"observations": "", "better": better})


def _marks(said: str) -> list[int]:
    """Marks of the pages in a conversation, in order."""
    return [int(mark, 16) % (BEST + 1) for mark in re.findall(r"BEGIN PAGE (?:[AB] )?(\w{16})", said)]


def _compares(body: dict[str, Any]) -> bool:
    return "better" in body["response_format"]["json_schema"]["schema"]["properties"]


def _checklist(body: dict[str, Any]) -> int:
    properties = body["response_format"]["json_schema"]["schema"]["properties"]
    return int(properties["checklist"]["minItems"])


async def serve(port: int) -> None:
    """Serve until the process ends."""
    judge = Judge()
    judge.port = port
    async with judge:
        await asyncio.Event().wait()


if __name__ == "__main__":
    asyncio.run(serve(int(sys.argv[1])))
