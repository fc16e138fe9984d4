"""A proxy between a critic and a real judge that injects faults and records every answer that it forwards unchanged."""

import asyncio
import json
from collections import Counter, defaultdict
from typing import Any

import httpx
from judge_server import Behaviour, JudgeServer, completion, page_number, reply

from actors.judge_api.client import Address, Find
from rollout.errors import CriticFault

UNHEARD = {"status", "later", "unready", "drop"}
"""Faults injected before the request reaches the judge; with all others the judge answers."""


class JudgeProxy(JudgeServer):
    """Forwards chat requests about `page N` to the judge that `find` returns. Further faults than `JudgeServer`:

    `unready 0.1` (503 with Retry-After), `break` (the judgment's JSON is cut in two), `garble` (the body is no JSON).
    """

    def __init__(self, find: Find, behaviour: Behaviour) -> None:
        super().__init__(behaviour)
        self.said: dict[int, list[str]] = defaultdict(list)
        """The judge's answers by page that were forwarded unchanged."""
        self.injected: Counter[str] = Counter()
        self.away = 0
        """Requests that arrived while the judge was down."""
        self._find = find
        self._client = httpx.AsyncClient(timeout=120.0, trust_env=False)

    async def address(self) -> Address:
        """The address of the proxy for a critic."""
        return Address(url=self.url)

    async def close(self) -> None:
        await super().close()
        await self._client.aclose()

    async def respond(self, how: str, body: dict[str, Any], writer: asyncio.StreamWriter) -> bool:
        word, _, rest = how.partition(" ")
        self.injected[word] += 1
        if word == "unready":
            reply(writer, 503, {"error": {"message": "no"}}, f"Retry-After: {rest}\r\n")
            return True
        if word in UNHEARD:
            return await super().respond(how, body, writer)
        answer = await self._forward(body)
        if answer is None:
            self.away += 1
            return False
        return await self._pass_on(word, rest, answer, body, writer)

    async def _pass_on(
        self, word: str, rest: str, answer: dict[str, Any], body: dict[str, Any], writer: asyncio.StreamWriter
    ) -> bool:
        text = answer["choices"][0]["message"]["content"]
        if word in ("half", "refuse"):
            return await super().respond(word, body, writer)
        if word == "break":
            reply(writer, 200, completion(text[: len(text) // 2]))
        elif word == "garble":
            writer.write(b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 9\r\n\r\n<html>!?>")
        else:
            await asyncio.sleep(float(rest or 0.0))
            self.said[page_number(body)].append(text)
            reply(writer, 200, answer)
        await writer.drain()
        return True

    async def _forward(self, body: dict[str, Any]) -> dict[str, Any] | None:
        """The judge's answer; None if the judge is down."""
        try:
            address = await self._find()
            url = f"{address.url}/chat/completions"
            response = await self._client.post(url, json=body, headers=address.headers)
        except (httpx.HTTPError, CriticFault):
            return None
        if response.status_code >= 500:
            return None
        assert response.status_code == 200, response.text
        answer: dict[str, Any] = json.loads(response.text)
        return answer
