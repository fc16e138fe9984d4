"""The gate in front of the server's routes: host, key, rate, size, and a turn in the queue for every request."""

import json
from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any

from starlette.datastructures import Headers
from starlette.responses import JSONResponse

from cluster.live.host_header import names_server
from cluster.serving.api_keys import VARIABLE, ApiKeys
from cluster.serving.limits import Limits
from cluster.serving.rate_limit import RateLimit
from cluster.serving.refusal import Refusal, invalid
from cluster.serving.request_queue import RequestQueue

Scope = MutableMapping[str, Any]
Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
App = Callable[[Scope, Receive, Send], Awaitable[None]]
OPEN = frozenset({"/", "/preview", "/healthz"})
"""Paths that need no key: they show nothing of the model, and a browser sends no key with them."""


class Gate:
    """ASGI application that admits requests to another one, and answers the others with a refusal.

    A POST request holds its turn in the queue until its answer has ended, also while it is streamed.
    """

    def __init__(self, app: App, *, keys: ApiKeys, limits: Limits, host: str) -> None:
        """`host` is the name of the server; without keys, requests under other names are refused."""
        self.app, self.keys, self.limits = app, keys, limits
        self.names = {host.lower(), "localhost"}
        self.rate = RateLimit(limits.per_minute)
        self.queue = RequestQueue(running=limits.running, waiting=limits.waiting)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Handles one connection in the manner of ASGI."""
        if scope["type"] != "http":
            return await self.app(scope, receive, send)
        headers = Headers(scope=scope)
        try:
            client = self._client(scope, headers)
            if scope["method"] != "POST":
                return await self.app(scope, receive, send)
            self._check(headers)
            self.rate.admit(client)
            async with self.queue.turn():
                return await self.app(scope, self._bounded(receive), send)
        except Refusal as refusal:
            await refused(refusal)(scope, receive, send)

    def _client(self, scope: Scope, headers: Headers) -> str:
        """Name of the client for its rate. Raises Refusal (401, 403)."""
        if not self.keys.digests:
            if not names_server(headers.get("host", ""), self.names):
                raise invalid("this host name is not the server's", 403)
            return str((scope.get("client") or ("?",))[0])
        client = self.keys.client(headers.get("authorization", ""))
        if client is None and scope["path"] not in OPEN:
            raise Refusal(401, f"no valid key: send `Authorization: Bearer` and a key of {VARIABLE}", kind="auth_error")
        return client or "?"

    def _check(self, headers: Headers) -> None:
        """Raises Refusal (413, 415).

        Browsers send JSON to another origin only after a preflight request, which this server does not answer.
        """
        if headers.get("content-type", "").partition(";")[0].strip().lower() != "application/json":
            raise invalid("the body is not JSON, wanted `Content-Type: application/json`", 415)
        length = headers.get("content-length", "0")
        if not length.isdecimal() or int(length) > self.limits.body_bytes:
            raise self._too_large()

    def _bounded(self, receive: Receive) -> Receive:
        """Receives a body piece by piece. Raises Refusal (413) when it is too large, whatever its headers say."""
        size = 0

        async def bounded() -> Message:
            nonlocal size
            message = await receive()
            size += len(message.get("body", b""))
            if size > self.limits.body_bytes:
                raise self._too_large()
            return message

        return bounded

    def _too_large(self) -> Refusal:
        return invalid(f"the body is too large, wanted {self.limits.body_bytes:,} bytes at most", 413)


def refused(refusal: Refusal) -> JSONResponse:
    """The answer to a refused request."""
    headers = {"Cache-Control": "no-store"}
    if refusal.retry_s is not None:
        headers["Retry-After"] = str(round(refusal.retry_s))
    return JSONResponse(error_body(refusal), status_code=refusal.status, headers=headers)


def error_body(refusal: Refusal) -> dict[str, Any]:
    """The body of a refusal, in the form of OpenAI's API."""
    return {"error": {"message": str(refusal), "type": refusal.kind, "code": refusal.status, "param": None}}


def json_body(data: bytes) -> Any:
    """The JSON value of a body. Raises Refusal (400)."""
    try:
        return json.loads(data)
    except (ValueError, RecursionError) as error:
        raise invalid(f"the body is not JSON: {error}") from None
