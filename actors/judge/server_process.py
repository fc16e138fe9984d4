"""Runs a server in a child process group, with a bounded log, and ends all its children."""

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
"""Size in bytes at which a log is rotated; one older file is kept."""
LINE_CHARS, LINES = 2000, 400
"""Maximum characters per line, and lines kept in memory."""
GRACE_S = 5.0
"""Seconds to wait between SIGTERM and SIGKILL."""
ERROR = re.compile(r"(?:^|\s)((?:[a-z]\w*\.)*[A-Z]\w*(?:Error|Exception): .+|Value error, .+)")
"""Error lines of Python and pydantic; pydantic's first line only announces more."""
FIRST_OF_MORE = re.compile(r"\d+ validation errors? for ")
SHOWN = 300
LEASH = """
exec 3<&0
(trap '' TERM; cat <&3 >/dev/null 2>&1; kill -KILL 0) &
trap : TERM
"$@" 3<&- </dev/null
"""
"""Runs a command, and kills its process group once the other end of stdin is closed, for whatever reason. vLLM's engine
outlives a killed server, with all the memory of its GPUs."""


class ServerProcess:
    """A command that runs until it exits, is ended, or its parent is gone; all its children end too."""

    def __init__(self, command: Sequence[str], variables: Mapping[str, str], log: Path) -> None:
        """`variables` extend the environment; output goes to `log`."""
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
        """Whether the command is running."""
        return self._process.poll() is None

    @property
    def pid(self) -> int:
        """Id of the wrapper process and of the group of the command and its children."""
        return self._process.pid

    def reason(self) -> str:
        """The server's first error, from which later ones follow, or its last output line.

        Complete only after `end`.
        """
        lines = [line.strip() for line in self.lines.copy() if line.strip()]
        errors = (match[1] for line in lines if (match := ERROR.search(line)) and not FIRST_OF_MORE.search(line))
        said = next(errors, lines[-1] if lines else "no output")
        code = self._process.poll()
        return said[:SHOWN] if code is None else f"{said[:SHOWN]} (exit code {code})"

    async def end(self) -> None:
        """Ends the process group, with SIGKILL after a grace period."""
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
        # The group exists as long as it contains any process.
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self.pid, number)

    def _write_down(self, log: Path) -> None:
        """Writes the output to the log until the pipe closes; runs in a thread."""
        scribe = RotatingFileHandler(log, maxBytes=LOG_BYTES, backupCount=1, encoding="utf-8", delay=True)
        stream = self._process.stdout
        assert stream is not None, "stdout is a pipe"
        with contextlib.closing(scribe), stream:
            for line in stream:
                self.lines.append(line[:LINE_CHARS].rstrip("\n"))
                scribe.emit(logging.makeLogRecord({"msg": "%s", "args": (self.lines[-1],)}))
