"""Text of a completion in pieces, while it is generated."""

import asyncio
from collections.abc import AsyncIterator, Coroutine
from typing import Any

from rollout.records import Completion

PAUSE_S = 0.05
"""Shortest time between two pieces: every token as a message of its own would cost more than its generation."""


class TextStream:
    """Collects the growing text of one completion, and yields it in pieces."""

    def __init__(self) -> None:
        self._text = ""
        self._grown = asyncio.Event()

    def update(self, text: str) -> None:
        """Sets the text so far."""
        self._text = text
        self._grown.set()

    async def pieces(self, work: Coroutine[Any, Any, Completion]) -> AsyncIterator[str | Completion]:
        """Yields pieces of the text, then the completion that `work` returns. Their concatenation is its text.

        Raises what `work` raises; `work` is cancelled if the iterator is closed.
        """
        task = asyncio.ensure_future(work)
        task.add_done_callback(lambda _: self._grown.set())
        sent = 0
        try:
            while not task.done():
                await self._grown.wait()
                self._grown.clear()
                text = self._text  # it grows while a reader holds the piece
                if len(text) > sent:
                    yield text[sent:]
                    sent = len(text)
                await asyncio.wait({task}, timeout=PAUSE_S)
            completion = task.result()
            if rest := completion.text[sent:]:
                yield rest
            yield completion
        finally:
            task.cancel()
