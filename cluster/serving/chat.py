"""Chat completions in the form of OpenAI's API: requests and answers."""

import secrets
import time
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field

from cluster.serving.limits import Limits
from cluster.serving.refusal import Refusal, invalid
from rollout import prompts
from rollout.records import Completion, Message, Request
from rollout.selfedit import Draft
from rollout.settings import EpisodeSettings


class TextPart(BaseModel):
    """A part of a message's content; only texts are supported."""

    type: Literal["text"]
    text: str


class ChatMessage(BaseModel):
    """One message of the conversation."""

    role: Literal["system", "user", "assistant"]
    content: str | list[TextPart]

    @property
    def text(self) -> str:
        """The content as one text."""
        if isinstance(self.content, str):
            return self.content
        return "".join(part.text for part in self.content)


class StreamOptions(BaseModel):
    """Options of a streamed answer."""

    include_usage: bool = False


class RelookOptions(BaseModel):
    """Options beyond OpenAI's API."""

    model_config = ConfigDict(extra="forbid")
    self_edit: int = Field(default=0, ge=0)
    """Rounds in which the policy reviews and revises its page before it answers."""


class ChatRequest(BaseModel):
    """A request for a chat completion; fields that are not listed are ignored."""

    model: str
    messages: list[ChatMessage] = Field(min_length=1)
    max_tokens: int | None = Field(default=None, ge=1)
    max_completion_tokens: int | None = Field(default=None, ge=1)
    temperature: float | None = Field(default=None, ge=0.0, le=2.0)
    seed: int | None = None
    stop: str | list[str] | None = None
    n: Annotated[int, Field(ge=1, le=1)] = 1
    stream: bool = False
    stream_options: StreamOptions = StreamOptions()
    relook: RelookOptions = RelookOptions()

    @property
    def brief(self) -> str:
        """The last message of the user. Raises Refusal (400) without one."""
        for message in reversed(self.messages):
            if message.role == "user":
                return message.text
        raise invalid("`messages` has no message of the user, wanted one with the brief")

    def seed_or_random(self) -> int:
        """The seed, or a random one."""
        return self.seed if self.seed is not None else secrets.randbelow(2**31)


def request_of(chat: ChatRequest, episode: EpisodeSettings, limits: Limits, libraries: tuple[str, ...]) -> Request:
    """The generation request of a chat. A conversation without system message gets the one of training.

    Raises Refusal (400) for too many tokens.
    """
    tokens = chat.max_completion_tokens or chat.max_tokens or min(episode.max_tokens, limits.max_tokens)
    if tokens > limits.max_tokens:
        raise invalid(f"`max_tokens` is {tokens}, wanted {limits.max_tokens} at most")
    messages = tuple(Message(role=message.role, content=message.text) for message in chat.messages)
    if messages[0].role != "system":
        messages = (prompts.system(libraries), *messages)
    stop = (chat.stop,) if isinstance(chat.stop, str) else tuple(chat.stop or prompts.PAGE_STOP)
    return Request(
        messages=messages,
        max_tokens=tokens,
        temperature=episode.temperature if chat.temperature is None else chat.temperature,
        seed=chat.seed_or_random(),
        stop=stop,
    )


def check_model(model: str, name: str) -> None:
    """Raises Refusal (404) when a request asks for another model."""
    if model != name:
        raise Refusal(404, f"model {model[:80]!r} is not served here, wanted {name!r}", kind="invalid_request_error")


class ChatAnswer:
    """The answer to one chat request, whole or in chunks, under one id."""

    def __init__(self, model: str) -> None:
        self.head = {"id": f"chatcmpl-{secrets.token_hex(12)}", "created": int(time.time()), "model": model}

    def whole(self, content: str, finish: str, usage: dict[str, int], **more: Any) -> dict[str, Any]:
        """A `chat.completion` object."""
        message = {"role": "assistant", "content": content}
        choice = {"index": 0, "message": message, "finish_reason": finish, "logprobs": None}
        return self.head | {"object": "chat.completion", "choices": [choice], "usage": usage} | more

    def chunk(self, content: str | None = None, finish: str | None = None, **more: Any) -> dict[str, Any]:
        """A `chat.completion.chunk` object with a piece of the content."""
        delta = {} if content is None else {"role": "assistant", "content": content}
        choice = {"index": 0, "delta": delta, "finish_reason": finish, "logprobs": None}
        return self.head | {"object": "chat.completion.chunk", "choices": [choice]} | more

    def usage_chunk(self, usage: dict[str, int]) -> dict[str, Any]:
        """The last chunk of a stream with `include_usage`."""
        return self.head | {"object": "chat.completion.chunk", "choices": [], "usage": usage}


def usage_of(completion: Completion) -> dict[str, int]:
    """Numbers of tokens of a completion."""
    return tokens_of(len(completion.prompt_ids), len(completion.token_ids))


def tokens_of(prompt: int, completion: int) -> dict[str, int]:
    """Numbers of tokens in the form of OpenAI's API."""
    return {"prompt_tokens": prompt, "completion_tokens": completion, "total_tokens": prompt + completion}


def round_of(draft: Draft) -> dict[str, Any]:
    """A round of self-edit for the field `relook` of an answer."""
    return {
        "round": draft.round,
        "valid": draft.valid,
        "kept": draft.kept,
        "feedback": list(draft.feedback),
        "tokens": draft.tokens,
        "seconds": round(draft.seconds, 3),
    }


def content_of(draft: Draft) -> str:
    """The answer with a draft's page; empty if no page was written."""
    return prompts.answer(draft.page.html) if draft.page.html is not None else ""
