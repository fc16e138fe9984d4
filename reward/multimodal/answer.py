"""Parses answers of a multimodal critic. Incomplete or invalid judgments raise AnswerFault and never give a score."""

import json
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from reward.multimodal.rubric import BEST, CHECKLIST_WEIGHT, CRITERIA, MET
from rollout.errors import AnswerFault
from rollout.parsing import MAX_SENTENCE_CHARS, MAX_SENTENCES
from rollout.prompts import END_FEEDBACK

THOUGHT = re.compile(r".*(?:</think(?:ing)?>|\[/THINK\]|<\|channel\|>final<\|message\|>)", re.DOTALL | re.IGNORECASE)
"""The thinking part of a reasoning model; its opening mark may be in the chat template."""
OPEN_THOUGHT = re.compile(r"\s*(?:<think(?:ing)?>|\[THINK\]|<\|channel\|>analysis)", re.IGNORECASE)
TRAILING_COMMA = re.compile(r'("(?:[^"\\]|\\.)*+")|,(?=\s*+[}\]])', re.DOTALL)
REFUSALS = frozenset({"content_filter", "safety", "refusal", "prohibited_content", "recitation"})
CUT = frozenset({"length", "max_tokens", "max_output_tokens"})
TOOLS = frozenset({"tool_calls", "tool_use", "function_call"})
MARK = re.compile(r"([0-9]+)(?:\.0+)?(?:\s*/\s*([0-9]+))?")
MARKS = ("score", "mark", "value", "rating")
"""Keys that may hold a mark next to its reason."""
SPELLINGS = {"color": "colour", "fulfillment": "fulfilment"}
NO_TEXT = re.compile(r"[\x00-\x1f\x7f-\x9f\ud800-\udfff]")
"""Control characters and surrogates: JSON may contain them, but files and tokenizers reject them."""
SHOWN = 160
"""Characters of a bad answer that the AnswerFault quotes."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Judgment:
    """A parsed judgment."""

    score: float
    """In [0, 1]."""
    parts: Mapping[str, float]
    """Each criterion in [0, 1], and `checklist` if the task has one."""
    feedback: tuple[str, ...]


def content(body: object) -> str:
    """Text of a chat completion. Raises AnswerFault when it is truncated, refused or missing.

    Finish reasons of complete answers differ by server or are missing, so only known failures are rejected; a length
    limit is accepted if the text is a whole JSON object.
    """
    try:
        choice = body["choices"][0]  # type: ignore[index]
        message, finish = choice["message"], str(choice.get("finish_reason") or "").lower()
        said, refusal = message.get("content"), message.get("refusal")
    except (KeyError, IndexError, TypeError, AttributeError) as error:
        raise AnswerFault(f"not a chat completion: {_cut(body)}") from error
    text = _joined(said)
    if refusal or finish in REFUSALS:
        raise AnswerFault(f"the judge refused: {_cut(refusal or finish)}")
    if finish in TOOLS:
        raise _fault(f"the judge called a tool ({finish}), wanted an answer", "Call no tool; answer in text.")
    if finish in CUT and not _is_object(text):
        raise _fault(
            f"the answer was truncated (finish reason {finish!r}); raise critic.max_tokens: {_cut(said)}",
            "It was cut: be brief.",
        )
    if not text.strip():
        raise AnswerFault(f"the answer has no text, got {_cut(said)}")
    return text


def tokens(body: object) -> int | None:
    """Tokens of a chat completion; None if the server does not report them."""
    usage = body.get("usage") if isinstance(body, dict) else None
    total = usage.get("total_tokens") if isinstance(usage, dict) else None
    return total if isinstance(total, int) and not isinstance(total, bool) and total >= 0 else None


def read(text: str, num_items: int) -> Judgment:
    """Parses an answer about a task with `num_items` checklist items. Raises AnswerFault."""
    answer = read_object(text, "scores")
    scores = answer["scores"]
    if not isinstance(scores, dict):
        raise AnswerFault(f"the answer has no scores: {_cut(text)}")
    scores = _named(scores.items())
    parts = {name: _mark(scores.get(name), BEST, name) for name in CRITERIA}
    score = sum(weight * parts[name] for name, (weight, _) in CRITERIA.items())
    if num_items:
        parts["checklist"] = _checklist(answer.get("checklist"), num_items)
        score = (1.0 - CHECKLIST_WEIGHT) * score + CHECKLIST_WEIGHT * parts["checklist"]
    # Weights that sum to 1 in decimals need not in binary: full marks are exactly 1.
    score = 1.0 if all(part == 1.0 for part in parts.values()) else min(1.0, score)
    feedback = _feedback(answer.get("feedback"))
    if not feedback and score < 1.0:
        raise _fault(
            f"a page with score {score:.2f} got no feedback, wanted one to five sentences",
            "It had no feedback: give one to five sentences for a page without full marks.",
        )
    return Judgment(score=score, parts=parts, feedback=feedback)


def read_object(text: str, key: str) -> dict[str, Any]:
    """Returns the JSON object with the key `key`. Raises AnswerFault when there is none, or several that differ.

    Thinking before the object, text or a fence around it, and trailing commas are ignored.
    """
    thought = THOUGHT.match(text)
    said = text[thought.end() :] if thought else text
    if OPEN_THOUGHT.match(said):
        raise AnswerFault(f"the answer contains only unfinished thinking: {_cut(text)}")
    try:
        found = [one for one in _objects(TRAILING_COMMA.sub(lambda match: match[1] or "", said)) if key in one]
    except RecursionError as error:
        raise AnswerFault(f"the answer is not JSON ({error}): {_cut(text)}") from error
    if not found:
        raise AnswerFault(f"the answer contains no JSON object with {key!r}: {_cut(text)}")
    if any(one != found[0] for one in found):
        raise AnswerFault(f"the answer contains {len(found)} JSON objects that differ: {_cut(text)}")
    return found[0]


def _objects(text: str) -> list[dict[str, Any]]:
    """The outermost JSON objects in a text, in order."""
    # Servers with constrained decoding allow control characters in strings, which JSON forbids.
    decoder = json.JSONDecoder(object_pairs_hook=_named, strict=False)
    found, position = [], text.find("{")
    while position >= 0:
        try:
            value, end = decoder.raw_decode(text, position)
        except ValueError:
            end = position + 1
        else:
            found.append(value)
        position = text.find("{", end)
    return found


def _named(pairs: Iterable[tuple[str, Any]]) -> dict[str, Any]:
    """Normalises keys to the rubric's names. Raises AnswerFault when one name has two different values."""
    named: dict[str, Any] = {}
    for written, value in pairs:
        lower = written.strip().lower()
        name = SPELLINGS.get(lower, lower)
        if name in named and named[name] != value:
            raise AnswerFault(f"{name} is both {_cut(named[name])} and {_cut(value)}")
        named[name] = value
    return named


def _is_object(text: str) -> bool:
    try:
        return isinstance(json.loads(text, strict=False), dict)
    except (ValueError, RecursionError):
        return False


def _joined(said: object) -> str:
    """Text of a message, which may be a list of parts; parts that are not text, such as thinking, are dropped."""
    if not isinstance(said, list):
        return said if isinstance(said, str) else ""
    parts = [part for part in said if isinstance(part, dict) and part.get("type") in ("text", "output_text")]
    return "".join(part["text"] for part in parts if isinstance(part.get("text"), str))


def _fault(message: str, hint: str) -> AnswerFault:
    fault = AnswerFault(message)
    fault.hint = f"{hint} {AnswerFault.hint}"
    return fault


def _mark(value: object, best: int, name: str) -> float:
    """Converts a mark to [0, 1]: a whole number from 0 to `best`, also written as 4.0, "4" or "4/5", or next to its
    reason."""
    given = value
    if isinstance(value, dict):
        numbers = [value[key] for key in MARKS if key in value]
        given = numbers[0] if len(numbers) == 1 else None
    plain = isinstance(given, int | float | str) and not isinstance(given, bool)
    match = MARK.fullmatch(str(given).strip()) if plain else None
    if match is None or int(match[1]) > best or (match[2] and int(match[2]) != best):
        raise _fault(
            f"{name} is {_cut(value)}, wanted a whole number from 0 to {best}",
            f"Give {name} a whole number from 0 to {best}.",
        )
    return int(match[1]) / best


def _checklist(values: object, num: int) -> float:
    if not isinstance(values, list) or len(values) != num:
        raise AnswerFault(f"the checklist is {_cut(values)}, wanted {num} numbers")
    return sum(_mark(value, MET, f"item {i}") for i, value in enumerate(values, start=1)) / num


def _feedback(sentences: object) -> tuple[str, ...]:
    sentences = [] if sentences is None else sentences
    if not isinstance(sentences, list) or not all(isinstance(sentence, str) for sentence in sentences):
        raise AnswerFault(f"the feedback is {_cut(sentences)}, wanted a list of sentences")
    # A sentence becomes one line of the policy's prompt and must not close the feedback block.
    plain = (" ".join(NO_TEXT.sub(" ", sentence.replace(END_FEEDBACK, " ")).split()) for sentence in sentences)
    return tuple(sentence[:MAX_SENTENCE_CHARS] for sentence in plain if sentence)[:MAX_SENTENCES]


def _cut(value: object) -> str:
    shown = repr(value)
    return shown if len(shown) <= SHOWN else f"{shown[: SHOWN - 1]}…"
