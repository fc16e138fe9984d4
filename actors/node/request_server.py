"""Answers the requests of tested pages from the library mirror, through a Unix socket of the run's folder."""

import asyncio
import json
from pathlib import Path

from actors.mirror.folder import Mirror

MAX_REFUSED = 100
MAX_ADDRESS_CHARS = 300
LONGEST_REQUEST = 1 << 20


class RequestServer:
    """Answers one request a connection; refuses addresses that the mirror lacks, and every method but GET."""

    def __init__(self, mirror: Mirror | None) -> None:
        self.mirror = mirror
        self._refused: dict[str, None] = {}
        self._server: asyncio.Server | None = None

    @property
    def refused(self) -> tuple[str, ...]:
        """Addresses of refused requests, each once, bounded in number and length."""
        return tuple(self._refused)

    async def start(self, socket: Path) -> None:
        """Listens at the path of a Unix socket."""
        self._server = await asyncio.start_unix_server(self._answer, socket, limit=LONGEST_REQUEST)

    async def stop(self) -> None:
        """Stops listening; open connections end with their clients."""
        if self._server is not None:
            self._server.close()

    async def _answer(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            method, address = map(str, json.loads(await reader.readline()))
            answer = None
            if self.mirror is not None and method == "GET":
                answer = await asyncio.to_thread(self.mirror.answer, address)
            if answer is None:
                self._refuse(address)
                writer.write(b"\n")
            else:
                writer.write(answer.media_type.encode("latin-1") + b"\n" + answer.body)
            await writer.drain()
        except (ValueError, OSError):  # the fence's side is untrusted, and may end at any time
            pass
        finally:
            writer.close()

    def _refuse(self, address: str) -> None:
        if len(self._refused) < MAX_REFUSED:
            self._refused[address[:MAX_ADDRESS_CHARS]] = None
