"""Several things asked for side by side, of which all are wanted."""

import asyncio
from collections.abc import Coroutine
from typing import Any, TypeVar

Answer = TypeVar("Answer")


async def gather_or_cancel(*asked: Coroutine[Any, Any, Answer]) -> list[Answer]:
    """What all come to, in order; what one raises calls the others off, and waits until they have ended."""
    tasks = [asyncio.create_task(one) for one in asked]
    try:
        return await asyncio.gather(*tasks)
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
