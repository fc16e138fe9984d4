"""Ctrl-C and SIGTERM end a command cleanly: they cancel its work, which then stops all that it started."""

import asyncio
import signal
from collections.abc import Coroutine
from typing import Any, TypeVar

Result = TypeVar("Result")
STOPPED = 130
"""Exit code of a command that a signal stopped."""
SIGNALS = (signal.SIGINT, signal.SIGTERM)


def cancel_on_signal(work: asyncio.Task[Any]) -> None:
    """Cancels a task on the first Ctrl-C or SIGTERM; a second Ctrl-C has Python's default effect."""
    loop = asyncio.get_running_loop()

    def stop(number: int) -> None:
        loop.remove_signal_handler(number)
        work.cancel()

    for number in SIGNALS:
        loop.add_signal_handler(number, stop, number)


async def until_stopped(work: Coroutine[Any, Any, Result]) -> Result:
    """The result of `work`. Raises CancelledError after Ctrl-C or SIGTERM, when the work's clean-up is done."""
    task = asyncio.create_task(work)
    cancel_on_signal(task)
    return await task


def restore_handlers() -> None:
    """Installs Python's signal handlers again. Call it in the main thread after Ray's start.

    Ray installs a handler of SIGTERM that prints the stack before it calls the previous handler.
    """
    for number in SIGNALS:
        handler = signal.getsignal(number)
        if handler is not None:
            signal.signal(number, handler)
            signal.siginterrupt(number, False)  # as asyncio does: system calls of other code are restarted
