"""Console display of a run: a live panel on a terminal, plain log lines otherwise."""

import os
import sys
import threading
import time
from collections.abc import Callable, Mapping
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self, TextIO

from cluster.monitoring.terminal_panel import State, clock, panel, stage_times
from cluster.report.charts import number, percent, share

if TYPE_CHECKING:
    from rich.console import RenderableType
    from rich.live import Live

BEAT_S = 10.0
"""Maximum seconds between two lines of the plain log."""


class Display:
    """Displays the progress of a run. Thread-safe; as a context manager it restores the terminal on exit.

    Writes to `stream` (standard output by default): a live panel on a terminal, otherwise plain lines, one an event and
    one every `beat_s` seconds of waiting.
    """

    def __init__(self, stream: TextIO | None = None, *, beat_s: float = BEAT_S) -> None:
        self._stream = stream if stream is not None else sys.stdout
        self._beat_s = beat_s
        self._lock = threading.Lock()
        self._writing = threading.Lock()
        self._state = State(began=time.monotonic())
        self._live: Live | None = None
        self._beat: threading.Thread | None = None
        self._closed = threading.Event()
        self._spoke = time.monotonic()

    def __enter__(self) -> Self:
        if self._stream.isatty() and os.environ.get("TERM") != "dumb":
            self._live = _live(self._stream, self._panel)
            self._live.start()
        else:
            self._beat = threading.Thread(target=self._beating, name="display", daemon=True)
            self._beat.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def stage(self, text: str) -> None:
        """Starts a named stage. Plain lines announce it; after the first step, only if it takes long."""
        with self._lock:
            ended = self._ended_stage()
            state = self._state
            state.stage = _clean(text)
            state.stage_began = time.monotonic()
            state.done, state.total, state.what = 0, 0, ""
            announced = self._live is None and not state.history
        self._print(ended)
        self._print(_clean(text) if announced else "")

    def progress(self, done: int, total: int, text: str) -> None:
        """Updates the progress of the stage: `done` of `total` items called `text`."""
        with self._lock:
            self._state.done = done
            self._state.total = total
            self._state.what = _clean(text)

    def progress_now(self) -> dict[str, Any]:
        """The current stage with its start (Unix time), `done` of `total` items, and the finished of all steps."""
        with self._lock:
            state = self._state
            began = round(time.time() - (time.monotonic() - state.stage_began)) if state.stage else None
            items = {"done": state.done, "total": state.total, "what": state.what}
            step = int(state.history[-1]["step"]) if state.history else 0
            left = round(state.seconds_left / 10) * 10 if state.history else None
            steps = {"step": step, "steps": state.total_steps, "seconds_left": left}
            return {"stage": state.stage, "stage_began": began, **items, **steps}

    def step(self, metrics: Mapping[str, float], total_steps: int, why: str = "") -> None:
        """Shows a finished training step; `metrics` is its row of the run's history, where keys may be missing.

        `why` is the reason that its pages earned no reward or equal rewards, or empty.
        """
        with self._lock:
            state = self._state
            if not state.history:
                state.first_step_began = state.stage_began or state.began
            state.history.append({"step": float(len(state.history) + 1), **metrics})
            state.total_steps = total_steps
            state.last_step_ended = time.monotonic()
            state.why = _clean(why)
            line = step_line(state.history[-1], total_steps, state.seconds_left, state.why)
        self._print(line if self._live is None else "")

    def note(self, text: str) -> None:
        """Prints a message that stays on the screen."""
        self._print(f"· {_clean(text)}")

    def close(self) -> None:
        """Stops the display and restores the terminal. Idempotent."""
        if self._closed.is_set():
            return
        self._closed.set()
        with self._lock:
            ended = self._ended_stage()
            self._state.stage = ""
        self._print(ended)
        if self._live is not None:
            self._live.stop()
        if self._beat is not None:
            self._beat.join()

    def _ended_stage(self) -> str:
        """On a terminal, a line with the duration of a set-up stage, kept above the panel."""
        state = self._state
        if self._live is None or not state.stage or state.history:
            return ""
        return f"{state.stage}: took {clock(time.monotonic() - state.stage_began)}"

    def _print(self, text: str) -> None:
        """Prints a permanent line. Must not be called under `_lock`, which the panel's thread takes while drawing."""
        if not text:
            return
        now = clock(time.monotonic() - self._state.began)
        if self._live is not None:
            from rich.text import Text

            self._live.console.print(Text(f"{now:>7}  ", style="dim").append(text, style="not dim"))
            return
        with self._writing:
            self._stream.write(f"[{now:>7}] {text}\n")
            self._stream.flush()
            self._spoke = time.monotonic()

    def _beating(self) -> None:
        """Plain lines only: prints the current stage whenever no line was printed for `beat_s` seconds."""
        while not self._closed.wait(max(0.01, self._spoke + self._beat_s - time.monotonic())):
            if time.monotonic() - self._spoke < self._beat_s:
                continue
            with self._lock:
                state = self._state
                far = f", {state.done} of {state.total} {state.what}" if state.total else ""
                waiting = f"  … {state.stage}, {clock(time.monotonic() - state.stage_began)}{far}"
                self._spoke = time.monotonic()
            self._print(waiting if state.stage else "")

    def _panel(self) -> "RenderableType":
        with self._lock:
            return panel(self._state)


def step_line(row: Mapping[str, float], total_steps: int, seconds_left: float, why: str = "") -> str:
    """Formats a finished step as one line."""
    parts = [f"step {row['step']:.0f}/{total_steps}"]
    if "valid_render_rate" in row:
        parts.append(f"valid {percent(row['valid_render_rate'])}")
    if "reward_first" in row and "reward_best" in row:
        parts.append(f"reward {share(row['reward_first'])} → {share(row['reward_best'])}")
    if why:
        parts.append(why)
    if "accept_rate" in row:
        parts.append(f"accepted {percent(row['accept_rate'])}")
    if "sync_gap" in row:
        parts.append(f"gap {number(row['sync_gap'])}")
    if "pages_per_s" in row:
        parts.append(f"{number(row['pages_per_s'])} pages/s")
    if stage_times(row):
        parts.append(stage_times(row))
    if row.get("machine_faults"):
        parts.append(f"{row['machine_faults']:.0f} faults")
    parts.append(f"{clock(seconds_left)} left")
    return "  ".join(parts)


def _clean(text: str) -> str:
    """Removes line breaks and control characters, because fault messages may contain terminal escape sequences."""
    return " ".join("".join(letter if letter.isprintable() else " " for letter in text).split())


def _live(stream: TextIO, draw: "Callable[[], RenderableType]") -> "Live":
    from rich.console import Console
    from rich.live import Live

    console = Console(file=stream, highlight=False)
    return Live(console=console, get_renderable=draw, refresh_per_second=4, vertical_overflow="crop")
