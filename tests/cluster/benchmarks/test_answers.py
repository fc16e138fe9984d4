"""Tests of the sources of answers: files, servers, engines, and the file that keeps every answer."""

import json
from pathlib import Path

import pytest
from judge_server import JudgeServer

from actors.judge_api.client import JudgeClient
from cluster.benchmarks.answers import EndpointWriter, FileWriter, PolicyWriter, StoredWriter, read_answers
from cluster.benchmarks.records import Sampling
from cluster.benchmarks.source import of_endpoint, of_model
from rollout.errors import BadInput, PromptTooLong, TaskFileError
from rollout.records import Completion, Message, Request, VersionSpan

ASKED = (Message(role="system", content="You write pages."), Message(role="user", content="page 3"))
SAMPLING = Sampling(temperature=0.0, max_tokens=100)


class Policy:
    """Writes the seed of each request, and has no room for long prompts."""

    async def complete(self, request: Request) -> tuple[Completion, ...]:
        if len(request.messages[-1].content) > 100:
            raise PromptTooLong("the prompt has 101 tokens of 100; raise policy.max_model_len")
        text = f"seed {request.seed}"
        spans = (VersionSpan(version=0, start=0, end=2),)
        return (
            Completion(
                prompt_ids=(1,), token_ids=(1, 2), logprobs=(0.0, 0.0), text=text, finish="length", versions=spans
            ),
        )


def rows(path: Path, *values: object) -> Path:
    path.write_text("".join(json.dumps(value) + "\n" for value in values))
    return path


def test_answers_are_read_under_the_usual_names(tmp_path: Path) -> None:
    path = rows(tmp_path / "a.jsonl", {"id": "one", "answer": "A"}, {"id": 2, "response": "B", "model": "m"})
    assert read_answers(path, ["one", "2", "three"]) == {"one": "A", "2": "B"}


def test_answers_to_further_attempts_have_the_keys_of_the_benchmark(tmp_path: Path) -> None:
    path = rows(tmp_path / "a.jsonl", {"id": "one", "text": "A"}, {"id": "one/2", "text": "B"})
    assert read_answers(path, ["one", "one/2"]) == {"one": "A", "one/2": "B"}
    with pytest.raises(TaskFileError, match="1 of 2 ids are not of this benchmark"):
        read_answers(path, ["one"])


@pytest.mark.parametrize(
    ("values", "words"),
    [
        ([{"id": "x", "answer": "A"}], "1 of 1 ids are not of this benchmark ('x'); give the answers to its own ids"),
        ([{"id": "one"}], "line 1: no answer; wanted the text under one of answer, text"),
        ([{"answer": "A"}], "`id`"),
        ([{"id": "one", "answer": "A"}] * 2, "line 2: the id 'one' occurs twice"),
    ],
)
def test_unusable_answers_are_named(tmp_path: Path, values: list[object], words: str) -> None:
    with pytest.raises(TaskFileError) as caught:
        read_answers(rows(tmp_path / "a.jsonl", *values), ["one"])
    assert words in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_missing_file_of_answers_is_named(tmp_path: Path) -> None:
    with pytest.raises(TaskFileError, match="no such file; wanted JSON lines"):
        read_answers(tmp_path / "a.jsonl", ["one"])


async def test_a_prompt_without_an_answer_has_none() -> None:
    answer = await FileWriter({}).write("one", ASKED)
    assert answer.text is None
    assert answer.detail == "the file has no answer to this prompt"


async def test_engines_sample_each_prompt_with_its_own_seed() -> None:
    writer = PolicyWriter(Policy(), SAMPLING, seed=1)
    one, other = await writer.write("one", ASKED), await writer.write("two", ASKED)
    assert one.text != other.text
    assert one == await PolicyWriter(Policy(), SAMPLING, seed=1).write("one", ASKED) or one.seconds
    assert (one.tokens, one.cut) == (2, True)


async def test_a_prompt_that_is_too_long_has_no_answer() -> None:
    answer = await PolicyWriter(Policy(), SAMPLING, seed=1).write("one", (Message(role="user", content="x" * 101),))
    assert answer.text is None
    assert "policy.max_model_len" in answer.detail


async def test_servers_answer_with_the_sampling_of_the_benchmark() -> None:
    def behave(number: int, body: object) -> str:
        return "status 500" if number == 0 else "cut"

    async with JudgeServer(behave) as server:
        source = of_endpoint(server.url, "model-1", "")
        assert source.endpoint is not None
        client = JudgeClient(source.endpoint)
        answer = await EndpointWriter(client, SAMPLING, seed=1).write("one", ASKED)
        await client.close()
    assert answer.text
    assert answer.cut  # a cut answer is an answer
    body = server.bodies[-1]
    assert (body["model"], body["temperature"], body["max_tokens"]) == ("model-1", 0.0, 100)
    assert body["messages"] == [{"role": one.role, "content": one.content} for one in ASKED]


def test_a_server_needs_a_model_name_and_a_directory_a_model(tmp_path: Path) -> None:
    with pytest.raises(BadInput, match="--endpoint needs --name"):
        of_endpoint("http://127.0.0.1:1/v1", "", "")
    with pytest.raises(BadInput, match=r"there is no config\.json"):
        of_model(tmp_path, "m")


async def test_stored_answers_are_asked_once_and_survive_an_interrupted_write(tmp_path: Path) -> None:
    path = tmp_path / "answers.jsonl"
    first = StoredWriter(FileWriter({"one": "A", "two": "B"}), path)
    await first.write("one", ASKED)
    await first.write("two", ASKED)
    path.write_bytes(path.read_bytes()[:-9])  # killed while the second line was written
    again = StoredWriter(FileWriter({"one": "changed", "two": "C"}), path)
    assert (await again.write("one", ASKED)).text == "A"
    assert (await again.write("two", ASKED)).text == "C"
    assert [json.loads(line)["key"] for line in path.read_text().splitlines()] == ["one", "two"]
