"""Reads a multimodal critic's answer. What is not a whole, honest judgment is an AnswerFault, never a score."""

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from reward.multimodal.rubric import BEST, CHECKLIST_WEIGHT, CRITERIA, MET
from rollout.errors import AnswerFault
from rollout.parsing import MAX_SENTENCE_CHARS, MAX_SENTENCES
from rollout.prompts import END_FEEDBACK

FENCE = re.compile(r"```(?:json)?\s*(\{.*\})\s*```\s*$", re.DOTALL)
NO_TEXT = re.compile(r"[\x00-\x1f\x7f-\x9f\ud800-\udfff]")
"""Control characters, and halves of characters, which JSON can hold, but no file and no tokenizer takes."""
SHOWN = 160
"""Characters of a bad answer that its fault repeats."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Judgment:
    """What one answer says."""

    score: float
    """In [0, 1]."""
    parts: Mapping[str, float]
    """Each criterion, and `checklist` where the task has one, in [0, 1]."""
    feedback: tuple[str, ...]


def content(body: object) -> str:
    """The text of a chat completion. Raises AnswerFault when it was cut, refused, or is not there."""
    try:
        choice = body["choices"][0]  # type: ignore[index]
        message, finish = choice["message"], choice.get("finish_reason")
        text, refusal = message.get("content"), message.get("refusal")
    except (KeyError, IndexError, TypeError, AttributeError) as error:
        raise AnswerFault(f"not a chat completion: {_cut(body)}") from error
    if refusal or finish == "content_filter":
        raise AnswerFault(f"the judge refused: {_cut(refusal or finish)}")
    if finish != "stop":
        raise AnswerFault(f"the answer ended by {finish!r}, wanted 'stop': {_cut(text)}")
    if not isinstance(text, str) or not text.strip():
        raise AnswerFault(f"the answer has no text, got {_cut(text)}")
    return text


def tokens(body: object) -> int | None:
    """Tokens a chat completion cost; None when the server does not say."""
    usage = body.get("usage") if isinstance(body, dict) else None
    total = usage.get("total_tokens") if isinstance(usage, dict) else None
    return total if isinstance(total, int) and not isinstance(total, bool) and total >= 0 else None


def read(text: str, num_items: int) -> Judgment:
    """The judgment in an answer about a task with so many items on its checklist. Raises AnswerFault."""
    answer = read_object(text)
    scores = answer.get("scores")
    if not isinstance(scores, dict):
        raise AnswerFault(f"the answer has no scores: {_cut(text)}")
    parts = {name: _mark(scores.get(name), BEST, name) for name in CRITERIA}
    score = sum(weight * parts[name] for name, (weight, _) in CRITERIA.items())
    if num_items:
        parts["checklist"] = _checklist(answer.get("checklist"), num_items)
        score = (1.0 - CHECKLIST_WEIGHT) * score + CHECKLIST_WEIGHT * parts["checklist"]
    # Weights that sum to 1 in decimals need not in binary: full marks are exactly 1.
    score = 1.0 if all(part == 1.0 for part in parts.values()) else min(1.0, score)
    feedback = _feedback(answer.get("feedback"))
    if not feedback and score < 1.0:
        raise AnswerFault(f"a page with score {score:.2f} got no feedback, wanted one to five sentences")
    return Judgment(score=score, parts=parts, feedback=feedback)


def read_object(text: str) -> dict[str, Any]:
    """The JSON object that an answer is, alone or in a fence at its end. Raises AnswerFault."""
    fenced = FENCE.search(text)
    try:
        # Servers that constrain the form let control characters into strings, which JSON forbids.
        answer = json.loads(fenced[1] if fenced else text, strict=False)
    except (ValueError, RecursionError) as error:
        raise AnswerFault(f"the answer is not JSON ({error}): {_cut(text)}") from error
    if not isinstance(answer, dict):
        raise AnswerFault(f"the answer is not a JSON object: {_cut(text)}")
    return answer


def _mark(value: object, best: int, name: str) -> float:
    if not isinstance(value, int) or isinstance(value, bool) or not 0 <= value <= best:
        raise AnswerFault(f"{name} is {_cut(value)}, wanted a whole number from 0 to {best}")
    return value / best


def _checklist(values: object, num: int) -> float:
    if not isinstance(values, list) or len(values) != num:
        raise AnswerFault(f"the checklist is {_cut(values)}, wanted {num} numbers")
    return sum(_mark(value, MET, f"item {i}") for i, value in enumerate(values, start=1)) / num


def _feedback(sentences: object) -> tuple[str, ...]:
    if not isinstance(sentences, list) or not all(isinstance(sentence, str) for sentence in sentences):
        raise AnswerFault(f"the feedback is {_cut(sentences)}, wanted a list of sentences")
    # A sentence becomes one line of the policy's prompt and must not end the block it stands in.
    plain = (" ".join(NO_TEXT.sub(" ", sentence.replace(END_FEEDBACK, " ")).split()) for sentence in sentences)
    return tuple(sentence[:MAX_SENTENCE_CHARS] for sentence in plain if sentence)[:MAX_SENTENCES]


def _cut(value: object) -> str:
    shown = repr(value)
    return shown if len(shown) <= SHOWN else f"{shown[: SHOWN - 1]}…"
