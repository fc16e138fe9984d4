"""A server in processes of its own: started on a leash, written down within bounds, ended with all its children."""

import asyncio
import contextlib
import logging
import os
import re
import signal
import subprocess
from collections import deque
from collections.abc import Mapping, Sequence
from logging.handlers import RotatingFileHandler
from pathlib import Path
from threading import Thread

LOG_BYTES = 4 << 20
"""A log file is begun anew at this size; one older file is kept."""
LINE_CHARS, LINES = 2000, 400
"""Of a line that is kept, and lines that are remembered."""
GRACE_S = 5.0
"""Seconds to end in order before being killed."""
ERROR = re.compile(r"(?:^|\s)((?:[a-z]\w*\.)*[A-Z]\w*(?:Error|Exception): .+|Value error, .+)")
"""As Python says it, and pydantic, whose first line only says that there is more."""
FIRST_OF_MORE = re.compile(r"\d+ validation errors? for ")
SHOWN = 300
LEASH = """
exec 3<&0
(trap '' TERM; cat <&3 >/dev/null 2>&1; kill -KILL 0) &
trap : TERM
"$@" 3<&- </dev/null
"""
"""Runs a command, and ends the whole group when whoever holds the other end of stdin is gone, however it went. vLLM's
engine outlives a server that is killed, with all the memory of its GPUs."""


class ServerProcess:
    """A command that runs until it ends or is ended, or whoever made it is gone: then all its children go with it."""

    def __init__(self, command: Sequence[str], variables: Mapping[str, str], log: Path) -> None:
        """`variables` are added to the environment; what it prints goes to `log`."""
        self.lines: deque[str] = deque(maxlen=LINES)
        self._process = subprocess.Popen(
            ["sh", "-c", LEASH, "leash", *command],
            env={**os.environ, **variables},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            encoding="utf-8",
            errors="replace",
            start_new_session=True,
        )
        self._scribe = Thread(target=self._write_down, args=(log,), name=f"scribe of {log.name}", daemon=True)
        self._scribe.start()

    @property
    def alive(self) -> bool:
        """Whether the command runs."""
        return self._process.poll() is None

    @property
    def pid(self) -> int:
        """Of the leash, and of the group in which the command and all its children are."""
        return self._process.pid

    def reason(self) -> str:
        """What is wrong with it, in its own words: its first error, for later ones follow from it, or its last line.

        All that it said is known once it was ended.
        """
        lines = [line.strip() for line in self.lines.copy() if line.strip()]
        errors = (match[1] for line in lines if (match := ERROR.search(line)) and not FIRST_OF_MORE.search(line))
        said = next(errors, lines[-1] if lines else "it said nothing")
        code = self._process.poll()
        return said[:SHOWN] if code is None else f"{said[:SHOWN]} (exit code {code})"

    async def end(self) -> None:
        """Ends it with all its children, in order if it can."""
        self._signal(signal.SIGTERM)
        for _ in range(int(GRACE_S / 0.05)):
            if not self.alive:
                break
            await asyncio.sleep(0.05)
        self._signal(signal.SIGKILL)
        await asyncio.to_thread(self._process.wait)
        await asyncio.to_thread(self._scribe.join, GRACE_S)
        assert self._process.stdin is not None, "stdin is a pipe"
        self._process.stdin.close()

    def _signal(self, number: int) -> None:
        # The group outlives its first process for as long as a child is in it.
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self.pid, number)

    def _write_down(self, log: Path) -> None:
        """Runs in a thread until nobody has the other end any more."""
        scribe = RotatingFileHandler(log, maxBytes=LOG_BYTES, backupCount=1, encoding="utf-8", delay=True)
        stream = self._process.stdout
        assert stream is not None, "stdout is a pipe"
        with contextlib.closing(scribe), stream:
            for line in stream:
                self.lines.append(line[:LINE_CHARS].rstrip("\n"))
                scribe.emit(logging.makeLogRecord({"msg": "%s", "args": (self.lines[-1],)}))
