"""Benchmark of `relook serve`: many clients for a minute, nothing lost, memory bounded.

Each client streams a chat completion, and renders a page after every third. The server has the built-in policy.
"""

import asyncio
import os
import random
import socket
import subprocess
import sys
import time
from dataclasses import dataclass, field
from statistics import median, quantiles

import httpx

from cluster.experiments.bench.corpus import corpus
from cluster.experiments.bench.memory import below, pss_kb
from cluster.experiments.bench.part import Figures, built_in_policy
from cluster.serving import sse
from reward.designs import tasks
from rollout.errors import MachineError

CLIENTS = int(os.environ.get("SERVE_CLIENTS", "50"))
SECONDS = float(os.environ.get("SERVE_SECONDS", "60"))
MAX_TOKENS = 64
START_S = 600.0
STOP_S = 120.0
NAME = "bench"


@dataclass(kw_only=True)
class Tally:
    """What the clients saw; seconds of each answered request."""

    chats: list[float] = field(default_factory=list)
    first_texts: list[float] = field(default_factory=list)
    renders: list[float] = field(default_factory=list)
    refused: int = 0
    """Requests refused with 429; the client waits and asks again."""
    lost: int = 0
    """Requests without a whole answer."""


def bench_serve() -> Figures:
    """Answered, refused and lost requests, their times, and the memory of all processes after warm-up and at the
    end."""
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    model = built_in_policy()
    options = ["--model", str(model), "--name", NAME, "--host", "127.0.0.1", "--port", str(port), "--rate", "1000000"]
    with subprocess.Popen(
        [sys.executable, "-m", "cluster.serve", *options], stdout=subprocess.PIPE, text=True
    ) as server:
        try:
            _wait(server)
            return asyncio.run(_load(f"http://127.0.0.1:{port}", server.pid))
        finally:
            server.terminate()
            server.communicate(timeout=STOP_S)


def _wait(server: "subprocess.Popen[str]") -> None:
    """Waits until the server answers. Raises MachineError when it ends instead."""
    assert server.stdout is not None, "stdout is a pipe"
    for line in server.stdout:
        if line.startswith("serving "):
            return
    raise MachineError(f"the server ended with exit code {server.wait()}")


async def _load(url: str, pid: int) -> Figures:
    tally = Tally()
    limits = httpx.Limits(max_connections=CLIENTS)
    async with httpx.AsyncClient(base_url=url, timeout=START_S, limits=limits) as http:
        await asyncio.gather(*(_client(http, Tally(), number, time.monotonic()) for number in range(CLIENTS)))
        warm = _memory_mb(pid)
        end = time.monotonic() + SECONDS
        await asyncio.gather(*(_client(http, tally, number, end) for number in range(CLIENTS)))
        last = _memory_mb(pid)
    answered = len(tally.chats) + len(tally.renders)
    return {
        "clients": float(CLIENTS),
        "seconds": SECONDS,
        "answered": float(answered),
        "refused": float(tally.refused),
        "lost": float(tally.lost),
        "requests_per_s": answered / SECONDS,
        "first_text_p50_s": median(tally.first_texts),
        "chat_p50_s": median(tally.chats),
        "chat_p95_s": quantiles(tally.chats, n=20)[-1],
        "render_p50_s": median(tally.renders),
        "render_p95_s": quantiles(tally.renders, n=20)[-1],
        "memory_mb_warm": warm,
        "memory_mb_end": last,
        "memory_growth_mb": last - warm,
    }


async def _client(http: httpx.AsyncClient, tally: Tally, number: int, end: float) -> None:
    """Asks one request after another until `end`; at least three chats and a render."""
    draw = random.Random(number)
    pages, briefs = corpus(24), [task.brief for task in tasks(24, seed=number, split="train")]
    turn = 0
    while turn < 4 or time.monotonic() < end:
        render = turn % 4 == 3
        # A comment makes each page a new one, which no cache knows.
        page = f"{draw.choice(pages)}<!-- {number}/{turn}/{time.monotonic_ns()} -->"
        started = time.monotonic()
        try:
            done = await (_render(http, tally, page) if render else _chat(http, tally, draw.choice(briefs)))
        except httpx.HTTPError as error:
            print(f"serve … lost: {error!r}", file=sys.stderr)
            tally.lost += 1
            done = False
        if done:
            (tally.renders if render else tally.chats).append(time.monotonic() - started)
        turn += 1


async def _render(http: httpx.AsyncClient, tally: Tally, page: str) -> bool:
    answer = await http.post("/render", json={"html": page, "screenshots": False})
    return await _accepted(answer, tally) and bool(answer.json()["outcome"])


async def _chat(http: httpx.AsyncClient, tally: Tally, brief: str) -> bool:
    started = time.monotonic()
    messages = [{"role": "user", "content": brief}]
    body = {"model": NAME, "messages": messages, "stream": True, "max_tokens": MAX_TOKENS}
    received = b""
    async with http.stream("POST", "/v1/chat/completions", json=body) as answer:
        if not await _accepted(answer, tally):
            return False
        async for piece in answer.aiter_bytes():
            if not received:
                tally.first_texts.append(time.monotonic() - started)
            received += piece
    whole = received.endswith(sse.DONE)
    tally.lost += not whole
    return whole


async def _accepted(answer: httpx.Response, tally: Tally) -> bool:
    """Whether a request was accepted; waits after a refusal, and counts any other error as lost."""
    if answer.status_code == 429:
        tally.refused += 1
        await asyncio.sleep(float(answer.headers["Retry-After"]))
    elif answer.is_error:
        print(f"serve … lost: {(await answer.aread())[:200]!r}", file=sys.stderr)
        tally.lost += 1
    return answer.is_success


def _memory_mb(pid: int) -> float:
    """Memory of a process and its descendants in MB."""
    return sum(pss_kb(one) for one in [pid, *below(pid)]) / 1024
