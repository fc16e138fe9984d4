"""Client of an OpenAI-compatible judge server, with retries, hedging and a deadline.

Busy or unreachable servers are retried until the deadline, at a new address if they may move. Answers that are not
judgments are requested again a few times in other words. A request the server will never accept raises an error at once
that names the setting to change.
"""

import asyncio
import contextlib
import email.utils
import os
import random
import time
from collections import Counter, deque
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, TypeVar

import httpx

from actors.judge_api.address import is_local, key_headers, proxy_words, request_url
from actors.judge_api.concurrency_limiter import ConcurrencyLimiter, RequestSlot
from actors.judge_api.outage import Outage
from actors.judge_api.rejections import error_within, is_spent, refusal, spent
from actors.judge_api.server_identity import ServerIdentity
from actors.settings import CriticSettings
from reward.multimodal.answer import content, tokens
from reward.multimodal.request import again
from rollout.errors import AnswerFault, BudgetSpent, CriticFault, RelookError, SettingsError

Read = TypeVar("Read")

BUSY = frozenset({408, 409, 425, 429, 503, 529})
"""HTTP statuses that ask to retry later."""
BACKOFF_S, LONGEST_BACKOFF_S = 0.25, 20.0
LONGEST_REST_S = 120.0
"""Longest Retry-After obeyed, in seconds."""
SHORTEST_HEDGE_S = 1.0
HEDGE_FACTOR = 2.0
"""A request is slow after this multiple of the 95th percentile of recent latencies."""
KNOWN = 20
"""Latencies measured before slow requests are detected."""
TOKENS_PER_PICTURE = 1000
"""Estimated tokens of a picture, for servers that report no usage."""
SHOWN = 200


REFUSED = frozenset({401, 403})


@dataclass(frozen=True, slots=True, kw_only=True)
class Address:
    """Address of a server, such as `http://judge:8000/v1`."""

    url: str
    key: str = field(default="", repr=False)
    """API key; empty for none."""

    @property
    def headers(self) -> dict[str, str]:
        """Headers of every request."""
        return key_headers(self.url, self.key)

    def at(self, path: str) -> str:
        """URL of a request."""
        return request_url(self.url, path)


Find = Callable[[], Awaitable[Address]]
"""Returns a server's current address. Raises CriticFault while it has none."""


class Unanswered(Exception):
    """A request got no usable answer; a retry may succeed."""


class JudgeClient:
    """Client of one model at one server, for one event loop."""

    def __init__(
        self,
        settings: CriticSettings,
        cost: Counter[str] | None = None,
        copies: int = 1,
        find: Find | None = None,
    ) -> None:
        """`cost` is the usage so far, updated in place; `copies` clients share `max_total_tokens`.

        `find` looks up the server without a `base_url`, which may move whenever it does not answer.
        """
        self.settings, self.copies, self._find = settings, copies, find
        self.name = settings.base_url or f"the judge {settings.model}"
        self.limiter = ConcurrencyLimiter(settings.in_flight)
        self.cost: Counter[str] = Counter() if cost is None else cost
        """`requests`, `retries`, `hedges` and `tokens`, see `actors.judge_api.usage`."""
        self._key = os.environ.get(settings.key_env, "") if settings.key_env else ""
        self._address = None if find else Address(url=settings.base_url, key=self._key)
        self._client: httpx.AsyncClient | None = None
        self._took: deque[float] = deque(maxlen=200)
        self._draw = random.Random()
        self._served = False
        self._told: set[str] = set()
        self.identity = ServerIdentity(settings.model)
        self.news: list[str] = []
        """Messages about outages, recoveries and refusals of the server."""
        self._outage = Outage(self.name, lambda words: self.news.append(words))

    async def check(self) -> None:
        """Raises SettingsError for a missing or rejected key, CriticFault when the server cannot be reached."""
        address = await self._where()
        if self.settings.key_env and not address.key:
            raise SettingsError(f"critic.key_env: {self.settings.key_env} is not set in this node's environment")
        try:
            response = await self._ready().get(address.at("/models"), headers=address.headers)
        except httpx.HTTPError as error:
            self._forget()
            raise CriticFault(f"{self.name} cannot be reached: {error!r}{proxy_words(address.url)}") from error
        if response.status_code in REFUSED:
            key = f"the key of {self.settings.key_env}" if self.settings.key_env else "requests without a key"
            raise SettingsError(
                f"critic.key_env: {self.name} rejects {key} with status {response.status_code}; set the correct key"
            )
        with contextlib.suppress(ValueError):
            self.identity.listed(response.json())

    async def ask(self, body: dict[str, Any], read: Callable[[str], Read]) -> tuple[Read, int]:
        """Sends a chat request with retries. Returns what `read` parses from the answer, and the tokens.

        Raises CriticFault, or BudgetSpent when the token budget is spent.
        """
        asked, failures = body, list[str]()
        unread = cost = 0
        try:
            async with asyncio.timeout(self.settings.deadline_s):
                while True:
                    try:
                        answer = await self._answered(asked, failures)
                        cost += _cost(answer, asked)
                        return read(content(answer)), cost
                    except AnswerFault as fault:
                        unread += 1
                        if unread > self.settings.retries:
                            raise
                        # Same question and seed give the same answer.
                        asked = again(body, fault.hint, unread)
                        await self._rest(failures, fault)
        except TimeoutError:
            raise _late(self.settings, failures) from None

    async def complete(self, body: dict[str, Any]) -> Any:
        """The server's answer to a chat request, as decoded JSON. Raises CriticFault or BudgetSpent, as `ask` does."""
        failures = list[str]()
        try:
            async with asyncio.timeout(self.settings.deadline_s):
                return await self._answered(body, failures)
        except TimeoutError:
            raise _late(self.settings, failures) from None

    async def _answered(self, body: dict[str, Any], failures: list[str]) -> Any:
        """Repeats a request until the server answers, and appends every failure."""
        while True:
            try:
                return await self._hedged(body)
            except Unanswered as fault:
                await self._rest(failures, fault)

    async def _rest(self, failures: list[str], fault: Exception) -> None:
        """Waits before a request is repeated, longer after each failure."""
        failures.append(str(fault))
        # Full jitter, so that clients that failed together do not retry together.
        longest_s = min(LONGEST_BACKOFF_S, BACKOFF_S * 2.0 ** min(len(failures), 10))
        await asyncio.sleep(self._draw.uniform(0.0, longest_s))
        self.cost["retries"] += 1

    async def close(self) -> None:
        """Closes all connections."""
        client, self._client = self._client, None
        if client is not None:
            await client.aclose()

    async def _hedged(self, body: dict[str, Any]) -> Any:
        """One answer; a slow request is sent twice and the first answer counts."""
        turns = [await self.limiter.enter()]
        running = {asyncio.create_task(self._send(body, turns[0]))}
        try:
            done, _ = await asyncio.wait(running, timeout=self._patience())
            if not done and (second := self._hedge()) is not None:
                turns.append(second)
                running.add(asyncio.create_task(self._send(body, second)))
            while True:
                done, rest = await asyncio.wait(running, return_when=asyncio.FIRST_COMPLETED)
                for task in done:
                    if task.exception() is None or not rest:
                        return task.result()
                running = rest
        finally:
            for task in running:
                task.cancel()
            await asyncio.gather(*running, return_exceptions=True)
            for turn in turns:
                turn.end("void")

    async def _send(self, body: dict[str, Any], turn: RequestSlot) -> Any:
        """Sends one request, returns the decoded answer. Raises Unanswered, AnswerFault or CriticFault."""
        self._budget()
        self.cost["requests"] += 1
        try:
            address = await self._where()
            url = address.at("/chat/completions")
            response = await self._ready().post(url, json=body, headers=address.headers)
        except (httpx.HTTPError, CriticFault) as error:
            turn.end("down")
            self._forget()
            self._outage.unanswered(self._plain(repr(error)))
            raise Unanswered(self._plain(repr(error))) from error
        self._outage.answered()
        answer = self._sift(response, turn)
        self.identity.answered(answer)
        self.cost["tokens"] += _cost(answer, body)
        self._took.append(self.limiter.now() - turn.started)
        return answer

    def _sift(self, response: httpx.Response, turn: RequestSlot) -> Any:
        """JSON of a good response; raises for others. Reports the outcome to the limiter."""
        status, said, answer = response.status_code, response.text, None
        if status == 200:
            answer = self._decoded(response, turn)
            if (inner := error_within(answer)) is not None:
                status, said = inner
        said = self._plain(said)
        if status in REFUSED and self._find is not None:
            turn.end("down")
            self._forget()
            raise Unanswered(f"status {status}: another server uses its address")
        wait = response.headers.get("retry-after", "")
        if is_spent(status, said, bool(wait)):
            turn.end("answered")
            raise spent(status, said, self.settings.model)
        if status in BUSY:
            turn.end("busy", min(LONGEST_REST_S, _retry_after(wait)))
            raise Unanswered(f"status {status}: {said}")
        if status >= 500:
            turn.end("down")
            raise Unanswered(f"status {status}: {said}")
        turn.end("answered")
        if status == 0:
            raise AnswerFault(f"the server answers with an error: {said}")
        if status != 200:
            location = self._plain(response.headers.get("location", ""))
            raise self._refused(refusal(status, said, location, self.name, self.settings.model))
        self._served = True
        return answer

    def _decoded(self, response: httpx.Response, turn: RequestSlot) -> Any:
        """The JSON of a response with status 200."""
        try:
            return response.json()
        except ValueError as error:
            turn.end("answered")
            if response.headers.get("content-type", "").startswith("text/html"):
                page = f"{self.name} answers with a web page instead of JSON: {self._plain(response.text)}"
                fix = "set critic.base_url to the address of its API"
                raise self._refused(SettingsError(f"critic.base_url: {page}; {fix}")) from error
            raise AnswerFault(f"the response is not JSON: {self._plain(response.text)}") from error

    def _refused(self, error: RelookError) -> RelookError:
        """The error for a refusal that a retry cannot fix; kinds that do not stop the run are reported once.

        After earlier successes the settings are correct, so a refusal is a CriticFault.
        """
        fault = CriticFault(str(error)) if self._served and isinstance(error, SettingsError) else error
        if isinstance(fault, CriticFault) and (kind := str(fault).partition(": ")[0]) not in self._told:
            self._told.add(kind)
            self.news.append(str(fault))
        return fault

    def _budget(self) -> None:
        most, spent = self.settings.max_total_tokens, self.cost["tokens"]
        if most is not None and spent >= most / self.copies:
            raise BudgetSpent(
                f"critic.max_total_tokens: {self.settings.model} has used {spent} tokens, this critic's share of "
                f"{most} is {most / self.copies:g}; raise the limit in run.json, then --resume"
            )

    def _patience(self) -> float | None:
        """Seconds after which a request is slow; None until enough latencies are measured."""
        if len(self._took) < KNOWN or not self.settings.hedge_share:
            return None
        return max(SHORTEST_HEDGE_S, HEDGE_FACTOR * sorted(self._took)[int(0.95 * len(self._took))])

    def _hedge(self) -> RequestSlot | None:
        """A slot for a second request, if the hedge share and the server have room."""
        if self.cost["hedges"] >= self.settings.hedge_share * self.cost["requests"]:
            return None
        turn = self.limiter.try_enter()
        self.cost["hedges"] += turn is not None
        return turn

    async def _where(self) -> Address:
        """The server's address. Raises CriticFault while it has none."""
        if self._address is None:
            assert self._find is not None, "a client without a base_url has a `find` function"
            self._address = await self._find()
            self._key = self._address.key
        return self._address

    def _forget(self) -> None:
        """Discards an address that may change, so that it is looked up again."""
        if self._find is not None:
            self._address = None

    def _ready(self) -> httpx.AsyncClient:
        if self._client is None:
            most, timeout_s = 2 * self.settings.in_flight, self.settings.timeout_s
            self._client = httpx.AsyncClient(
                # The run's own judge, or one on this machine, needs no proxy.
                trust_env=self._find is None and not is_local(self.settings.base_url),
                timeout=httpx.Timeout(timeout_s, connect=min(10.0, timeout_s)),
                limits=httpx.Limits(max_connections=most, max_keepalive_connections=most),
            )
        return self._client

    def _plain(self, text: str) -> str:
        """Server message, shortened and with the key masked."""
        text = " ".join(text.split())[:SHOWN]
        return text.replace(self._key, "***") if self._key else text


def _late(settings: CriticSettings, failures: Sequence[str]) -> CriticFault:
    """The fault of a request without an answer at its deadline."""
    last = failures[-1] if failures else None
    return CriticFault(
        f"{settings.model} gave no answer in {settings.deadline_s:g} s ({len(failures)} failures, the last: {last})"
    )


def _cost(answer: Any, body: dict[str, Any]) -> int:
    """Tokens of one request: the server's count, or an estimate."""
    told = tokens(answer)
    if told is not None:
        return told
    parts = [part for message in body["messages"] for part in message["content"] if isinstance(part, dict)]
    letters = sum(len(part.get("text", "")) for part in parts)
    return letters // 4 + TOKENS_PER_PICTURE * sum(part["type"] == "image_url" for part in parts)


def _retry_after(value: str) -> float:
    """Seconds from a Retry-After header (a number or a date); 0 for anything else."""
    try:
        return max(0.0, float(value))
    except ValueError:
        pass
    try:
        return max(0.0, email.utils.parsedate_to_datetime(value).timestamp() - time.time())
    except ValueError:
        return 0.0
