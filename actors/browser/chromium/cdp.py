"""Chrome DevTools Protocol client over a socket: commands, answers and events."""

import asyncio
import contextlib
import json
import socket
from collections.abc import Callable
from typing import Any

LARGEST_MESSAGE = 1 << 28
Event = Callable[[dict[str, Any]], None]
Answer = asyncio.Future[dict[str, Any]]


class BrowserLost(Exception):
    """The browser closed the connection."""


class CommandRefused(Exception):
    """The browser answered a command with an error."""


class CdpPipe:
    """JSON messages that end in a zero byte; a reader task passes answers to futures, events to handlers."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader = reader
        self.writer = writer
        self.lost = False
        self._sent = 0
        self._waiting: dict[int, Answer] = {}
        self._handlers: dict[tuple[str, str], Event] = {}
        self._task = asyncio.create_task(self._read())

    @classmethod
    async def open(cls, end: socket.socket) -> "CdpPipe":
        """Takes one end of a socket pair; the browser has the other as descriptors 3 and 4."""
        reader, writer = await asyncio.open_connection(sock=end, limit=LARGEST_MESSAGE)
        return cls(reader=reader, writer=writer)

    def post(self, method: str, params: dict[str, Any] | None = None, session: str = "") -> Answer:
        """Sends a command; its future raises CommandRefused or BrowserLost, and need not be awaited."""
        answer: Answer = asyncio.get_running_loop().create_future()
        answer.add_done_callback(_retrieve)
        if self.lost:
            answer.set_exception(BrowserLost(f"cannot send {method}: the connection to the browser is closed"))
            return answer
        self._sent += 1
        self._waiting[self._sent] = answer
        message: dict[str, Any] = {"id": self._sent, "method": method, "params": params or {}}
        if session:
            message["sessionId"] = session
        self.writer.write(json.dumps(message).encode() + b"\0")
        return answer

    def on(self, session: str, method: str, handler: Event) -> None:
        """Calls `handler` with each such event's parameters, in order."""
        self._handlers[session, method] = handler

    def forget(self, session: str) -> None:
        """Removes a session's handlers."""
        for key in [key for key in self._handlers if key[0] == session]:
            del self._handlers[key]

    async def close(self) -> None:
        """Stops the reader and closes the socket. Raises a handler's exception, which is a bug."""
        self._task.cancel()
        try:
            await self._task
        except asyncio.CancelledError:
            pass
        finally:
            self.writer.close()
            with contextlib.suppress(ConnectionError):  # the browser may have closed first
                await self.writer.wait_closed()

    async def _read(self) -> None:
        try:
            while True:
                self._deliver(_parse((await self.reader.readuntil(b"\0"))[:-1]))
        except (asyncio.IncompleteReadError, ConnectionError):
            pass
        finally:
            self.lost = True
            for number, answer in self._waiting.items():
                if not answer.done():
                    lost = f"the browser closed the connection before it answered command {number}"
                    answer.set_exception(BrowserLost(lost))
            self._waiting.clear()

    def _deliver(self, message: dict[str, Any]) -> None:
        if "id" not in message:
            handler = self._handlers.get((message.get("sessionId", ""), message["method"]))
            if handler is not None:
                handler(message["params"])
            return
        answer = self._waiting.pop(message["id"], None)
        if answer is None or answer.done():
            return
        if "error" in message:
            answer.set_exception(CommandRefused(message["error"].get("message", "the browser gives no reason")))
        else:
            answer.set_result(message.get("result", {}))


class CdpSession:
    """The connection, bound to one attached target."""

    def __init__(self, pipe: CdpPipe, id: str) -> None:
        self.pipe = pipe
        self.id = id

    def post(self, method: str, **params: Any) -> Answer:
        """Sends a command to the target and returns the future of its answer."""
        return self.pipe.post(method, params, self.id)

    def on(self, method: str, handler: Event) -> None:
        """Calls `handler` with the parameters of each such event of the target."""
        self.pipe.on(self.id, method, handler)


def _retrieve(answer: Answer) -> None:
    """Marks an answer's exception as retrieved, as commands need not be awaited."""
    if not answer.cancelled():
        answer.exception()


def _parse(message: bytes) -> dict[str, Any]:
    """Parses a message. Replaces unpaired surrogates, which files and databases reject."""
    parsed: dict[str, Any] = json.loads(message)
    if b"\\ud" in message or b"\\uD" in message:
        parsed = json.loads(json.dumps(parsed, ensure_ascii=False).encode("utf-8", "replace"))
    return parsed
