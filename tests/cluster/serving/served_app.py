"""The HTTP application on a real port of this machine, in the event loop of the test or in a thread."""

import asyncio
import threading
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import AbstractAsyncContextManager, asynccontextmanager, contextmanager

import uvicorn

from cluster.serving.api_keys import ApiKeys
from cluster.serving.app import application
from cluster.serving.limits import Limits
from cluster.serving.service import Service


@asynccontextmanager
async def served(service: Service, limits: Limits | None = None, keys: str = "") -> AsyncIterator[str]:
    """The address of the application, which serves until the end of the block."""
    app = application(service, limits=limits or Limits(), keys=ApiKeys.of(keys), host="127.0.0.1")
    config = uvicorn.Config(app, port=0, log_level="error", lifespan="off", ws="none")
    server = uvicorn.Server(config)
    running = asyncio.create_task(server.serve())
    while not server.started:
        await asyncio.sleep(0.01)
    port = server.servers[0].sockets[0].getsockname()[1]
    try:
        yield f"http://127.0.0.1:{port}"
    finally:
        server.force_exit = server.should_exit = True
        await running


@contextmanager
def served_in_thread(make: Callable[[], AbstractAsyncContextManager[Service]]) -> Iterator[str]:
    """The address of the application in a thread of its own, for tests that block; `make` makes its service there."""
    ready = threading.Event()
    found: dict[str, str] = {}
    loop = asyncio.new_event_loop()
    stop = asyncio.Event()

    async def serve() -> None:
        async with make() as service, served(service) as url:
            found["url"] = url
            ready.set()
            await stop.wait()

    def run() -> None:
        try:
            loop.run_until_complete(serve())
        finally:
            ready.set()
            loop.close()

    thread = threading.Thread(target=run)
    thread.start()
    ready.wait()
    try:
        yield found["url"]
    finally:
        if thread.is_alive():
            loop.call_soon_threadsafe(stop.set)
        thread.join()
