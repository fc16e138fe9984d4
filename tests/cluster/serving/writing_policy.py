"""A small policy without a model: it writes a page about the brief, reviews it and improves it."""

import asyncio
import random
from collections.abc import AsyncIterator

from rollout.errors import EngineFault
from rollout.prompts import REVIEW, answer, feedback_text
from rollout.records import Completion, Request, VersionSpan

COLOURS = ("#7a1f3d", "#1f4e7a", "#2f6b2a", "#6b4a1f")
PIECE = 24
"""Characters of one piece of a stream; a token of this policy is one piece."""


class WritingPolicy:
    """Writes the same text for the same request.

    Its first `faults` completions fail after half of their text; `pause_s` is the time of one piece.
    """

    def __init__(self, *, faults: int = 0, pause_s: float = 0.0, script: str = "") -> None:
        self.faults, self.pause_s, self.script = faults, pause_s, script
        self.requests: list[Request] = []
        self.running = 0
        self.cancelled = 0

    async def complete(self, request: Request) -> tuple[Completion, ...]:
        """See `rollout.ports.Policy`."""
        pieces = [piece async for piece in self.stream(request)]
        return (pieces[-1],) if isinstance(pieces[-1], Completion) else ()

    async def stream(self, request: Request) -> AsyncIterator[str | Completion]:
        """See `cluster.serving.retried.StreamingPolicy`."""
        self.requests.append(request)
        text = self.text(request)
        pieces = [text[start : start + PIECE] for start in range(0, len(text), PIECE)]
        finish = len(pieces) <= request.max_tokens
        pieces = pieces[: request.max_tokens]
        fails, self.faults = self.faults > 0, max(0, self.faults - 1)
        self.running += 1
        try:
            for number, piece in enumerate(pieces):
                if fails and number >= len(pieces) // 2:
                    raise EngineFault("policy-0 lost its engine")
                await asyncio.sleep(self.pause_s)
                yield piece
        except (asyncio.CancelledError, GeneratorExit):
            self.cancelled += 1
            raise
        finally:
            self.running -= 1
        yield Completion(
            prompt_ids=tuple(range(10)),
            token_ids=tuple(range(len(pieces))),
            logprobs=(-0.5,) * len(pieces),
            text="".join(pieces),
            finish="stop" if finish else "length",
            versions=(VersionSpan(version=0, start=0, end=len(pieces)),),
        )

    def text(self, request: Request) -> str:
        """The whole text of the answer to a request."""
        last = request.messages[-1].content
        if last == REVIEW:
            return feedback_text(("The heading needs more space.", "Add a footer."))
        brief = next(message.content for message in request.messages if message.role == "user")
        colour = random.Random(f"{request.seed}/{brief}").choice(COLOURS)
        revised = "<footer>Written to order.</footer>" if len(request.messages) > 2 else ""
        html = (
            f"<!doctype html>\n<title>{brief[:40]}</title>\n<style>body {{ font-family: sans-serif; margin: 40px }}\n"
            f"h1 {{ color: {colour} }}</style>\n<h1>{brief}</h1>\n<button>Buy</button>\n{revised}\n"
            f"<script>document.title = 'ran'; {self.script}</script>"
        )
        return answer(html, "A heading and a button.")
