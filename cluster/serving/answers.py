"""Answers of routes: results in time, streams of events, and the refusals that faults become."""

import asyncio
from collections.abc import AsyncIterator, Awaitable
from typing import Any, TypeVar

from pydantic import BaseModel, ValidationError
from starlette.responses import StreamingResponse

from cluster.serving import sse
from cluster.serving.gate import error_body
from cluster.serving.refusal import Refusal, invalid, unavailable
from rollout.errors import BudgetSpent, MachineError, PromptTooLong, fault_line

T = TypeVar("T")
Body = TypeVar("Body", bound=BaseModel)
FAULTS = (Refusal, MachineError, PromptTooLong, BudgetSpent, TimeoutError)
"""Exceptions that become refusals; any other one is a bug."""


def parsed(kind: type[Body], body: Any) -> Body:
    """Validates a body. Raises Refusal (400) that names the first invalid field."""
    try:
        return kind.model_validate(body)
    except ValidationError as error:
        first = error.errors()[0]
        field = ".".join(str(part) for part in first["loc"]) or "the body"
        raise invalid(f"`{field}`: {first['msg']}") from None


def refusal_of(error: Exception) -> Refusal:
    """The refusal for one of FAULTS."""
    if isinstance(error, Refusal):
        return error
    if isinstance(error, PromptTooLong):
        return invalid("the messages leave no room for an answer in the model's context; shorten them")
    if isinstance(error, MachineError):
        return unavailable(f"the server cannot answer now: {fault_line(error)}")
    if isinstance(error, BudgetSpent):
        return unavailable("the budget of the critic is used up")
    return unavailable("there was no answer in time")


async def in_time(work: Awaitable[T], seconds: float) -> T:
    """The result of `work`. Raises Refusal when it fails with one of FAULTS, or takes longer."""
    try:
        async with asyncio.timeout(seconds):
            return await work
    except FAULTS as error:
        raise refusal_of(error) from error


async def streamed(events: AsyncIterator[bytes], seconds: float) -> StreamingResponse:
    """A response that sends events. Raises Refusal when there is not even a first one; later faults are an event."""
    items = _until(events, asyncio.get_running_loop().time() + seconds)
    try:
        first = await anext(items)
    except FAULTS as error:
        raise refusal_of(error) from error

    async def body() -> AsyncIterator[bytes]:
        try:
            yield first
            async for item in items:
                yield item
        except FAULTS as error:
            yield sse.event(error_body(refusal_of(error)), "error")

    return StreamingResponse(body(), media_type="text/event-stream", headers=sse.HEADERS)


async def _until(events: AsyncIterator[bytes], end: float) -> AsyncIterator[bytes]:
    """Yields events until the loop's time `end`. Raises TimeoutError."""
    while True:
        # Within one step only: the steps of a stream may run in different tasks.
        async with asyncio.timeout_at(end):
            try:
                item = await anext(events)
            except StopAsyncIteration:
                return
        yield item
