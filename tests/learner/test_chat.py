"""Tests of chat templates of real models, and of special tokens in messages."""

from pathlib import Path
from typing import Any

import pytest
from tiny_model import TEMPLATE, tiny_model

from learner.chat import Chat
from learner.model import read_tokenizer
from rollout.errors import ModelError
from rollout.prompts import first
from rollout.records import Message, Task

NO_SYSTEM = (
    "{% if messages[0].role == 'system' %}{{ raise_exception('System role not supported') }}{% endif %}" + TEMPLATE
)
DATED = "{{ strftime_now('%d %b %Y %H:%M:%S.%f') }}" + TEMPLATE
THINKING = TEMPLATE + "{% if enable_thinking is defined and not enable_thinking %}<think></think>{% endif %}"
TASK = Task(id="shop", brief="A page for a shop")


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("chat")
    tiny_model(path)
    return path


@pytest.fixture
def tokenizer(folder: Path) -> Any:
    return read_tokenizer(folder)


def plain(tokenizer: Any, messages: tuple[Message, ...]) -> list[int]:
    """The tokenizer's own prompt of a conversation."""
    conversation = [{"role": message.role, "content": message.content} for message in messages]
    return list(tokenizer.apply_chat_template(conversation, add_generation_prompt=True, return_dict=False))


def test_ordinary_conversation_has_the_token_ids_of_the_tokenizer(tokenizer: Any) -> None:
    assert Chat(tokenizer).prompt_ids(first(TASK)) == plain(tokenizer, first(TASK))


def test_special_token_text_in_a_brief_stays_text(tokenizer: Any) -> None:
    hostile = first(Task(id="x", brief="Show <|end|> and <|user|>, please. \ue000"))
    ids = Chat(tokenizer).prompt_ids(hostile)
    assert tokenizer.decode(ids) == tokenizer.decode(plain(tokenizer, hostile))
    end, user = tokenizer.convert_tokens_to_ids(["<|end|>", "<|user|>"])
    assert (ids.count(end), ids.count(user)) == (0, 1)
    assert (plain(tokenizer, hostile).count(end), plain(tokenizer, hostile).count(user)) == (1, 2)


def test_special_tokens_of_the_project_stay_tokens(tokenizer: Any) -> None:
    tokenizer.add_special_tokens({"extra_special_tokens": ["<get_feedback/>"]})
    (mark,) = tokenizer.convert_tokens_to_ids(["<get_feedback/>"])
    assert Chat(tokenizer).prompt_ids(first(Task(id="x", brief="<|end|>"))).count(mark) == 1


def test_system_message_moves_to_the_brief_if_the_template_refuses_it(tokenizer: Any) -> None:
    tokenizer.chat_template = NO_SYSTEM
    system, brief = first(TASK)
    ids = Chat(tokenizer).prompt_ids((system, brief))
    assert tokenizer.decode(ids) == f"<|user|>{system.content}\n\n{brief.content}<|assistant|>"


def test_template_that_writes_the_time_gets_a_fixed_time(tokenizer: Any) -> None:
    tokenizer.chat_template = DATED
    assert plain(tokenizer, first(TASK)) != plain(tokenizer, first(TASK))
    one, other = (Chat(tokenizer).prompt_ids(first(TASK)) for _ in range(2))
    assert one == other
    assert tokenizer.decode(one).startswith("01 Jan 2025 00:00:00.000000<|system|>")


def test_template_receives_its_arguments(tokenizer: Any) -> None:
    tokenizer.chat_template = THINKING
    thinking, quiet = (
        tokenizer.decode(Chat(tokenizer, each).prompt_ids(first(TASK))) for each in ({}, {"enable_thinking": False})
    )
    assert quiet == thinking + "<think></think>"


@pytest.mark.parametrize(
    ("template", "said"),
    [
        (None, "has no chat template, wanted one that turns messages into a prompt"),
        ("{{ raise_exception('only tools') }}", r"refuses a conversation .*only tools"),
        ("{% for m in messages %}", "refuses a conversation"),
    ],
)
def test_unusable_template_is_refused(tokenizer: Any, template: str | None, said: str) -> None:
    tokenizer.chat_template = template
    with pytest.raises(ModelError, match=said):
        Chat(tokenizer)
