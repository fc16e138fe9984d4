"""A small HTTP server that answers as a judge, with faults that a test selects; the HTTP client is not mocked."""

import asyncio
import json
import re
from collections.abc import Callable
from typing import Any

from reward.multimodal.rubric import BEST, CRITERIA

Behaviour = Callable[[int, dict[str, Any]], str]
"""Request number and body to behaviour, see `JudgeServer.respond`."""


ACCEPTING_TURNS = 5
"""Turns of the event loop between an accepted connection and the call of its handler, at most."""


def mark_of(number: int) -> int:
    """The mark of page `number` in every criterion."""
    return number % BEST + 1


class JudgeServer:
    """Answers chat requests whose brief says `page N`. Use it as an async context manager."""

    def __init__(self, behaviour: Behaviour = lambda number, body: "well") -> None:
        self.behaviour = behaviour
        self.bodies: list[dict[str, Any]] = []
        self.headers: list[str] = []
        self.running = self.most_running = 0
        self.port = 0
        self._server: asyncio.Server | None = None
        self._guests: set[asyncio.Task[None] | None] = set()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}/v1"

    async def __aenter__(self) -> "JudgeServer":
        await self.open()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()

    async def open(self) -> None:
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", self.port, backlog=512)
        self.port = self._server.sockets[0].getsockname()[1]

    async def close(self) -> None:
        """Stops listening and drops every connection, like a server that dies."""
        assert self._server is not None
        self._server.close()
        for _ in range(ACCEPTING_TURNS):  # a connection that was just accepted begins to be served
            await asyncio.sleep(0)
        for guest in self._guests:
            assert guest is not None
            guest.cancel()
        await asyncio.gather(*filter(None, self._guests), return_exceptions=True)
        await asyncio.sleep(0)  # aborted transports close their sockets

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        guest = asyncio.current_task()
        self._guests.add(guest)
        try:
            while await self._one(reader, writer):
                pass
        except (asyncio.IncompleteReadError, asyncio.CancelledError, ConnectionError):
            pass
        finally:
            self._guests.discard(guest)
            writer.transport.abort()

    async def _one(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bool:
        head = (await reader.readuntil(b"\r\n\r\n")).decode()
        self.headers.append(head)
        length = re.search(r"content-length: (\d+)", head, re.IGNORECASE)
        raw = await reader.readexactly(int(length[1])) if length else b""
        if not raw:  # GET /models
            reply(writer, 200, {"object": "list", "data": []})
            return True
        body = json.loads(raw)
        number = len(self.bodies)
        self.bodies.append(body)
        self.running += 1
        self.most_running = max(self.most_running, self.running)
        try:
            return await self.respond(self.behaviour(number, body), body, writer)
        finally:
            self.running -= 1

    async def respond(self, how: str, body: dict[str, Any], writer: asyncio.StreamWriter) -> bool:
        """Answers as `how` says: `well`, `raw {"status": 400, "body": {…}, "headers": {…}}` (a text as `body` is sent
        as HTML), `slow 2.0`, `status 500`, `later 0.1` (429), `drop`, `half`, `say TEXT`, `cut`, `refuse`."""
        word, _, rest = how.partition(" ")
        if word == "slow":
            await asyncio.sleep(float(rest))
        if word == "drop":
            return False
        if word == "raw":
            raw = json.loads(rest)
            extra = "".join(f"{name}: {value}\r\n" for name, value in raw.get("headers", {}).items())
            reply(writer, raw["status"], raw["body"], extra)
        elif word in ("status", "later"):
            extra = f"Retry-After: {rest}\r\n" if word == "later" else ""
            reply(writer, 429 if word == "later" else int(rest), {"error": {"message": "no"}}, extra)
        elif word == "half":
            writer.write(b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 900\r\n\r\n{")
            await writer.drain()
            await asyncio.sleep(0.01)
            return False
        else:
            finish = {"cut": "length", "refuse": "content_filter"}.get(word, "stop")
            text = rest if word == "say" else verdict(page_number(body))
            reply(writer, 200, completion(text[:20] if word == "cut" else text, finish))
        await writer.drain()
        return True


def page_number(body: dict[str, Any]) -> int:
    """The number of the page in a request."""
    found = re.search(r"page (\d+)", json.dumps(body["messages"][1]))
    assert found is not None
    return int(found[1])


def verdict(number: int) -> str:
    """A valid judgment of page `number`."""
    mark = mark_of(number)
    said = [] if mark == BEST else [f"Page {number} needs more room."]
    return json.dumps(
        {"observations": "A page.", "scores": dict.fromkeys(CRITERIA, mark), "checklist": [], "feedback": said}
    )


def completion(text: str, finish: str = "stop") -> dict[str, Any]:
    """A chat completion."""
    message = {"role": "assistant", "content": text}
    return {
        "choices": [{"index": 0, "message": message, "finish_reason": finish}],
        "usage": {"prompt_tokens": 90, "completion_tokens": 10, "total_tokens": 100},
    }


def reply(writer: asyncio.StreamWriter, status: int, value: Any, extra: str = "") -> None:
    """Writes a JSON response, or an HTML response if `value` is a string."""
    payload = (value if isinstance(value, str) else json.dumps(value)).encode()
    kind = "text/html" if isinstance(value, str) else "application/json"
    head = f"HTTP/1.1 {status} X\r\nContent-Type: {kind}\r\n{extra}Content-Length: {len(payload)}\r\n\r\n"
    writer.write(head.encode() + payload)
