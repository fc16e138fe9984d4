"""The route of chat completions: whole or streamed, of one completion or of a page after self-edit."""

from collections.abc import AsyncIterator
from typing import Any

from starlette.responses import JSONResponse, Response

from cluster.serving import sse
from cluster.serving.answers import in_time, parsed, streamed
from cluster.serving.chat import (
    ChatAnswer,
    ChatRequest,
    check_model,
    content_of,
    request_of,
    round_of,
    tokens_of,
    usage_of,
)
from cluster.serving.limits import Limits
from cluster.serving.refusal import invalid
from cluster.serving.retried import Restart
from cluster.serving.service import Service
from cluster.serving.writing import Text
from rollout.errors import EngineFault
from rollout.records import Completion, Request
from rollout.selfedit import Draft


class ChatCompletions:
    """Answers chat requests."""

    def __init__(self, service: Service, limits: Limits) -> None:
        self.service, self.limits = service, limits

    async def answer(self, body: Any) -> Response:
        """The response to a request's body. Raises Refusal."""
        chat = parsed(ChatRequest, body)
        check_model(chat.model, self.service.name)
        if chat.relook.self_edit > self.limits.max_rounds:
            raise invalid(f"`relook.self_edit` is {chat.relook.self_edit}, wanted {self.limits.max_rounds} at most")
        answer = ChatAnswer(self.service.name)
        if chat.relook.self_edit:
            return await self._edit(chat, answer)
        asked = request_of(chat, self.service.episode, self.limits, self.service.libraries)
        if chat.stream:
            return await streamed(self._chunks(chat, asked, answer), self.limits.timeout_s)
        (completion,) = await in_time(self.service.policy.complete(asked), self.limits.timeout_s)
        return JSONResponse(answer.whole(completion.text, completion.finish, usage_of(completion)))

    async def _edit(self, chat: ChatRequest, answer: ChatAnswer) -> Response:
        if chat.stream:
            return await streamed(self._edited_chunks(chat, answer), self.limits.timeout_s)
        drafts = await in_time(self._drafts(chat), self.limits.timeout_s)
        usage = tokens_of(0, drafts[-1].tokens)
        rounds = [round_of(draft) for draft in drafts]
        return JSONResponse(answer.whole(content_of(drafts[-1]), "stop", usage, relook={"rounds": rounds}))

    async def _drafts(self, chat: ChatRequest) -> list[Draft]:
        return [one async for one in self._events(chat) if isinstance(one, Draft)]

    def _events(self, chat: ChatRequest) -> AsyncIterator[Text | Draft]:
        if len(chat.brief) > self.limits.brief_chars:
            raise invalid(f"the brief has more than {self.limits.brief_chars:,} characters")
        return self.service.write(chat.brief, rounds=chat.relook.self_edit, seed=chat.seed_or_random())

    async def _chunks(self, chat: ChatRequest, asked: Request, answer: ChatAnswer) -> AsyncIterator[bytes]:
        """Events of one completion. Raises EngineFault when a repeated call writes another text: what was sent
        cannot be taken back."""
        sent = False
        async for piece in self.service.policy.stream(asked):
            if isinstance(piece, Restart):
                if sent:
                    raise EngineFault("the engine was lost while it wrote; ask again")
            elif isinstance(piece, Completion):
                yield sse.event(answer.chunk(finish=piece.finish))
                if chat.stream_options.include_usage:
                    yield sse.event(answer.usage_chunk(usage_of(piece)))
            else:
                sent = True
                yield sse.event(answer.chunk(piece))
        yield sse.DONE

    async def _edited_chunks(self, chat: ChatRequest, answer: ChatAnswer) -> AsyncIterator[bytes]:
        """Events of a page after self-edit: a chunk without content for each round, then the page as a whole."""
        last: Draft | None = None
        async for one in self._events(chat):
            if isinstance(one, Draft):
                last = one
                yield sse.event(answer.chunk(relook={"rounds": [round_of(one)]}))
        assert last is not None, "there is a first draft"
        yield sse.event(answer.chunk(content_of(last)))
        yield sse.event(answer.chunk(finish="stop"))
        if chat.stream_options.include_usage:
            yield sse.event(answer.usage_chunk(tokens_of(0, last.tokens)))
        yield sse.DONE
