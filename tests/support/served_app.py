"""The HTTP application on a real port of this machine, in the event loop of the test."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

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
