"""The sources of answers to a benchmark's prompts, and the file that keeps every answer.

| class | answers come from |
|---|---|
| `PolicyWriter` | policy engines: a run's champion, or a Hugging Face directory |
| `EndpointWriter` | an OpenAI-compatible server |
| `FileWriter` | a file of existing answers |
| `FixedWriter` | a fixed text: the benchmark's reference, or an empty page |
"""

import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from actors.judge_api.client import JudgeClient
from cluster.benchmarks.benchmark import Writer
from cluster.benchmarks.json_lines import append_line, read_lines
from cluster.benchmarks.records import Answer, Sampling
from rollout.errors import AnswerFault, PromptTooLong, TaskFileError
from rollout.ports import Policy
from rollout.records import Message, Request
from rollout.rows.fields import show, text_of
from rollout.rows.json_rows import json_rows
from rollout.seeds import seed_of

FIELDS = ("answer", "text", "response", "output", "completion")
"""Names under which public files of answers hold the text."""
NAMED = 3
"""Unknown ids that an error names."""


class PolicyWriter:
    """Answers by policy engines."""

    def __init__(self, policy: Policy, sampling: Sampling, seed: int) -> None:
        self.policy, self.sampling, self.seed = policy, sampling, seed

    async def write(self, key: str, messages: Sequence[Message]) -> Answer:
        """See `Writer`. A prompt that leaves no room for an answer has none."""
        seed = seed_of(self.seed, key)
        request = Request(
            messages=tuple(messages),
            max_tokens=self.sampling.max_tokens,
            temperature=self.sampling.temperature,
            seed=seed,
        )
        started = time.monotonic()
        try:
            (completion,) = await self.policy.complete(request)
        except PromptTooLong as error:
            return Answer(text=None, detail=str(error), seed=seed)
        return Answer(
            text=completion.text,
            seed=seed,
            tokens=len(completion.token_ids),
            cut=completion.finish == "length",
            seconds=time.monotonic() - started,
        )


class EndpointWriter:
    """Answers by an OpenAI-compatible server."""

    def __init__(self, client: JudgeClient, sampling: Sampling, seed: int) -> None:
        self.client, self.sampling, self.seed = client, sampling, seed

    async def write(self, key: str, messages: Sequence[Message]) -> Answer:
        """See `Writer`. Raises CriticFault when the server gives no answer before the client's deadline."""
        settings, seed = self.client.settings, seed_of(self.seed, key)
        body: dict[str, Any] = {
            "model": settings.model,
            "messages": [asdict(message) for message in messages],
            settings.tokens_field: self.sampling.max_tokens,
            "temperature": self.sampling.temperature,
            "seed": seed,
        }
        started = time.monotonic()
        text, cut, tokens = _content(await self.client.complete(body))
        return Answer(text=text, seed=seed, tokens=tokens, cut=cut, seconds=time.monotonic() - started)


class FileWriter:
    """Answers from a file that exists already."""

    def __init__(self, answers: Mapping[str, str]) -> None:
        self.answers = answers

    async def write(self, key: str, messages: Sequence[Message]) -> Answer:
        """See `Writer`."""
        text = self.answers.get(key)
        return Answer(text=text, detail="" if text is not None else "the file has no answer to this prompt")


class FixedWriter:
    """The same answer for all prompts of an item: its reference solution, or an empty page."""

    def __init__(self, text: str) -> None:
        self.text = text

    async def write(self, key: str, messages: Sequence[Message]) -> Answer:
        """See `Writer`."""
        return Answer(text=self.text)


class StoredWriter:
    """Writes every answer to a JSON lines file, and asks no prompt twice: a resumed benchmark reads them there."""

    def __init__(self, writer: Writer, path: Path) -> None:
        self.writer, self.path = writer, path
        self.answers = {row.pop("key"): Answer(**row) for row in read_lines(path)}

    async def write(self, key: str, messages: Sequence[Message]) -> Answer:
        """See `Writer`. Raises StorageFault."""
        if key not in self.answers:
            answer = await self.writer.write(key, messages)
            append_line(self.path, {"key": key, **asdict(answer)})
            self.answers[key] = answer
        return self.answers[key]


def read_answers(path: Path, keys: Sequence[str]) -> dict[str, str]:
    """Reads a file of answers, JSON lines with `id` and one of FIELDS. `keys` are those of the benchmark's prompts.

    Raises TaskFileError for a missing or unreadable file, and for ids that the benchmark does not have.
    """
    if not path.is_file():
        raise TaskFileError(f"{path}: no such file; wanted JSON lines with `id` and `answer`")
    found = dict[str, str]()
    for where, row in json_rows(path):
        key = text_of(f"{path}, {where}", {"id": str(row.get("id", ""))}, "id")
        field = next((name for name in FIELDS if row.get(name) is not None), None)
        if field is None:
            raise TaskFileError(f"{path}, {where}: no answer; wanted the text under one of {', '.join(FIELDS)}")
        if key in found:
            raise TaskFileError(f"{path}, {where}: the id {show(key)} occurs twice; keep one answer for each id")
        found[key] = str(row[field])
    known = set(keys)
    strange = [key for key in found if key not in known]
    if strange:
        named = ", ".join(map(show, strange[:NAMED]))
        raise TaskFileError(
            f"{path}: {len(strange)} of {len(found)} ids are not of this benchmark ({named}); give the answers to "
            f"its own ids, such as {show(keys[0])}"
        )
    return found


def _content(answer: Any) -> tuple[str, bool, int]:
    """Text of a chat completion, whether it was cut, and its tokens. Raises AnswerFault when it has no text."""
    try:
        choice = answer["choices"][0]
        text, finish = choice["message"].get("content"), choice.get("finish_reason")
        tokens = (answer.get("usage") or {}).get("completion_tokens")
    except (KeyError, IndexError, TypeError, AttributeError) as error:
        raise AnswerFault(f"not a chat completion: {show(answer)}") from error
    return str(text or ""), finish == "length", tokens if isinstance(tokens, int) else 0
