"""Read-only HTTP server of the live page.

    /  /N/              the document: all runs, or run N alone (?before=STEP-PLACE&all=1 chooses episodes)
    /N/digests          names and digests of the run's parts, as JSON
    /N/item?item=NAME   one part
    /shots/SHA256       a screenshot, as a smaller JPEG

Pages of a policy are never sent as HTML: only their screenshots and, escaped, their source. No path of a file is built
from an address except from a content hash, and requests under another host name are refused, because a page elsewhere
could have its own name resolve to this machine.
"""

import json
import re
import socket
import threading
from collections.abc import Callable, Sequence
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, TypeVar
from urllib.parse import parse_qs, urlsplit

from cluster.live.host_header import names_server
from cluster.live.page import page
from cluster.live.run_page import Query, RunPage
from cluster.report.filmstrips import thumbnail
from rollout.errors import RelookError

T = TypeVar("T")
HEADERS = {
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Resource-Policy": "same-origin",
}
BARE = "default-src 'none'; sandbox"
"""Content-Security-Policy of everything except the document, which has its own."""
IMMUTABLE = "private, max-age=31536000, immutable"
SHA256 = re.compile(r"[0-9a-f]{64}")


class NotFound(Exception):
    """The address names nothing."""


class LiveServer(ThreadingHTTPServer):
    """Serves the pages of some runs. Raises OSError when the port is taken."""

    daemon_threads = True

    def __init__(self, runs: Sequence[RunPage], host: str, port: int) -> None:
        self.runs = runs
        self.names = {host.lower(), "localhost"}
        self.address_family = socket.AF_INET6 if ":" in host else socket.AF_INET
        self.lock = threading.Lock()
        """Held while a run's page is built: run pages are not thread-safe, and a second browser finds their caches."""
        super().__init__((host, port), Handler)

    def allows(self, host: str) -> bool:
        """Whether a request's Host header names this server; see `cluster.live.host_header`."""
        return names_server(host, self.names)


class Handler(BaseHTTPRequestHandler):
    """Answers one GET or HEAD request; each has its own connection."""

    server: LiveServer
    timeout = 60

    def do_GET(self) -> None:
        """Answers a request."""
        if not self.server.allows(self.headers.get("Host", "")):
            return self._send(HTTPStatus.FORBIDDEN, b"this host name is not the server's\n", "text/plain")
        try:
            address = urlsplit(self.path)
            self._answer(address.path, parse_qs(address.query))
        except (NotFound, ValueError):
            self._send(HTTPStatus.NOT_FOUND, b"not found\n", "text/plain")
        except RelookError as error:
            self._send(HTTPStatus.INTERNAL_SERVER_ERROR, f"{error}\n".encode(), "text/plain")
        except ConnectionError:
            self.close_connection = True

    do_HEAD = do_GET

    def log_message(self, format: str, *args: Any) -> None:
        """Logs no requests."""

    def _answer(self, path: str, asked: dict[str, list[str]]) -> None:
        match path.strip("/").split("/"):
            case [""]:
                self._document(range(len(self.server.runs)), asked)
            case ["shots", sha256]:
                self._shot(sha256)
            case [number]:
                self._document([self._place(number)], asked)
            case [number, "digests"]:
                items = self._built(self._place(number), lambda run: run.items(query_of(asked)))
                rows = [[item.name, item.digest] for item in items]
                self._send(HTTPStatus.OK, json.dumps(rows).encode(), "application/json")
            case [number, "item"]:
                self._item(self._place(number), asked)
            case _:
                raise NotFound

    def _document(self, places: Sequence[int], asked: dict[str, list[str]]) -> None:
        query = query_of(asked)
        columns = {f"/{place}/": self._built(place, lambda run: run.elements(query)) for place in places}
        title = ", ".join(self.server.runs[place].name for place in places)
        self._send(
            HTTPStatus.OK, page(title, columns).encode("utf-8", "replace"), "text/html", "frame-ancestors 'none'"
        )

    def _item(self, place: int, asked: dict[str, list[str]]) -> None:
        name = asked.get("item", [""])[0]
        items = self._built(place, lambda run: run.items(query_of(asked)))
        found = next((item for item in items if item.name == name), None)
        if found is None:
            raise NotFound
        self._send(HTTPStatus.OK, found.element(unfolded=found.episode).encode("utf-8", "replace"), "text/html")

    def _shot(self, sha256: str) -> None:
        png = None
        if SHA256.fullmatch(sha256):
            png = next((png for run in self.server.runs if (png := run.store.picture(sha256))), None)
        jpeg = thumbnail(png) if png else None
        if jpeg is None:
            raise NotFound
        self._send(HTTPStatus.OK, jpeg, "image/jpeg", kept=IMMUTABLE)

    def _place(self, number: str) -> int:
        """The position of a run, from a decimal number. Raises NotFound."""
        if not number.isdecimal() or int(number) >= len(self.server.runs):
            raise NotFound
        return int(number)

    def _built(self, place: int, build: Callable[[RunPage], T]) -> T:
        with self.server.lock:
            return build(self.server.runs[place])

    def _send(self, code: HTTPStatus, body: bytes, kind: str, policy: str = BARE, kept: str = "no-store") -> None:
        self.send_response(code)
        text = kind.startswith("text/")
        for name, value in {
            **HEADERS,
            "Content-Type": f"{kind}; charset=utf-8" if text else kind,
            "Content-Length": str(len(body)),
            "Content-Security-Policy": policy,
            "Cache-Control": kept,
        }.items():
            self.send_header(name, value)
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)


def query_of(asked: dict[str, list[str]]) -> Query:
    """The query of an address. Raises ValueError for a malformed one."""
    before = asked.get("before", [""])[0]
    step, _, place = before.partition("-")
    return Query(before=(int(step), int(place)) if before else None, everything="all" in asked)
