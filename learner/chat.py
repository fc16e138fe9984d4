"""Applies the model's chat template and tokenizes conversations, identically in rollout engines and learner."""

import re
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

from rollout.errors import ModelError
from rollout.prompts import END_FEEDBACK, GET_FEEDBACK, REVIEW
from rollout.records import Message

TODAY = datetime(2025, 1, 1, tzinfo=UTC)
"""Date for templates that print the current time. It is fixed because siblings and resumed runs need identical prompts.
"""
MARKS = (GET_FEEDBACK, REVIEW, "<feedback>", END_FEEDBACK, "<think>", "</think>")
"""Marks that this project writes into conversations; a tokenizer may have special tokens for them."""
CONVERSATION = (
    Message(role="system", content="Write pages."),
    Message(role="user", content="A page."),
    Message(role="assistant", content="It is written."),
    Message(role="user", content="Write it again."),
)
"""The longest sequence of roles that a run sends."""


class Chat:
    """A tokenizer whose chat template supports the conversations of a run."""

    def __init__(self, tokenizer: Any, arguments: Mapping[str, Any] | None = None) -> None:
        """`arguments` are passed to the template, such as `enable_thinking`. Raises ModelError when the template is
        missing or rejects a conversation."""
        self.tokenizer = tokenizer
        self.arguments = {"strftime_now": TODAY.strftime, **(arguments or {})}
        special = {str(token) for token in tokenizer.added_tokens_decoder.values() if token.special}
        self.special = sorted(special - set(MARKS), key=lambda token: (-len(token), token))
        self.takes_system = True
        if not tokenizer.chat_template:
            raise ModelError(
                "the model's tokenizer has no chat template, wanted one that turns messages into a prompt: "
                "take an instruction-tuned model, or put a chat_template.jinja into the model's directory"
            )
        if refusal := self._refusal():
            self.takes_system = False
            if self._refusal():
                raise ModelError(
                    f"the model's chat template refuses a conversation of system, user, assistant and user messages "
                    f"({refusal}): correct the template, or set policy.template_arguments"
                )

    def prompt_ids(self, messages: Sequence[Message]) -> list[int]:
        """[P] token ids of a conversation, ending with the generation prompt.

        Special-token text inside messages (briefs, pages, critiques) is tokenized as plain text, except the project's
        `MARKS`; all else as the tokenizer does it.
        """
        messages = messages if self.takes_system else system_in_brief(messages)
        found = re.compile("|".join(map(re.escape, self.special))) if self.special else None
        if found is None or not any(found.search(message.content) for message in messages):
            return self._ids(self._render(messages))
        contents = "".join(message.content for message in messages)
        mark = next(char for char in map(chr, range(0xE000, 0xF900)) if char not in contents)
        texts: list[str] = []

        def hide(match: re.Match[str]) -> str:
            texts.append(match.group())
            return f"{mark}{len(texts) - 1}{mark}"

        hidden = [Message(role=message.role, content=found.sub(hide, message.content)) for message in messages]
        parts = re.split(f"{mark}(\\d+){mark}", self._render(hidden))
        ids = [self._ids(texts[int(part)], as_text=True) if i % 2 else self._ids(part) for i, part in enumerate(parts)]
        return [token for part in ids for token in part]

    def _ids(self, text: str, *, as_text: bool = False) -> list[int]:
        options = {"split_special_tokens": True} if as_text else {}
        return list(self.tokenizer(text, add_special_tokens=False, **options)["input_ids"]) if text else []

    def _render(self, messages: Sequence[Message]) -> str:
        conversation = [{"role": message.role, "content": message.content} for message in messages]
        return str(
            self.tokenizer.apply_chat_template(
                conversation, add_generation_prompt=True, tokenize=False, **self.arguments
            )
        )

    def _refusal(self) -> str:
        """Error of the template for the conversations of a run; empty when it accepts them."""
        from jinja2 import TemplateError

        try:
            for length in (2, 4):
                messages = CONVERSATION[:length]
                self._render(messages if self.takes_system else system_in_brief(messages))
        except (TemplateError, TypeError) as error:
            return " ".join(str(error).split())[:200] or type(error).__name__
        return ""


def system_in_brief(messages: Sequence[Message]) -> list[Message]:
    """Moves the system message into the first user message, before that message's text."""
    first, *rest = messages
    if first.role != "system" or not rest:
        return list(messages)
    return [Message(role=rest[0].role, content=f"{first.content}\n\n{rest[0].content}"), *rest[1:]]
