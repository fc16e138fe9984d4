"""Runs coroutines concurrently and cancels the rest when one fails."""

import asyncio
from collections.abc import Coroutine
from typing import Any, TypeVar

Answer = TypeVar("Answer")


async def gather_or_cancel(*asked: Coroutine[Any, Any, Answer]) -> list[Answer]:
    """Returns all results in order. If one raises, the others are cancelled and awaited before the error propagates."""
    tasks = [asyncio.create_task(one) for one in asked]
    try:
        return await asyncio.gather(*tasks)
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
