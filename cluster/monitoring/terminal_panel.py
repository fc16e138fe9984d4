"""The live terminal panel of a run: current stage, metrics of the policy, and remaining time."""

import math
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from cluster.report.charts import Show, number, percent, share

if TYPE_CHECKING:
    from rich.console import RenderableType
    from rich.table import Table

BLOCKS = "▁▂▃▄▅▆▇█"
FRAMES = "⠋⠙⠹⠸⠼⠴⠦⠧⠇⠏"
SPARK_WIDTH = 32
BAR_WIDTH = 24
STAGES = ("generate", "render", "judge", "wait", "learn", "sync")
ROWS: tuple[tuple[str, str, Show, str], ...] = (
    ("valid_render_rate", "pages that render", percent, "green"),
    ("reward_first", "reward, first page", share, "blue"),
    ("reward_best", "reward, best page", share, "cyan"),
    ("accept_rate", "revisions accepted", percent, "magenta"),
    ("entropy", "entropy", number, "yellow"),
)
"""Metrics with a sparkline: key, label, number format, colour."""


@dataclass(kw_only=True)
class State:
    """State of the display. Guarded by the display's lock."""

    began: float
    stage: str = ""
    stage_began: float = 0.0
    done: int = 0
    total: int = 0
    what: str = ""
    history: list[dict[str, float]] = field(default_factory=list)
    why: str = ""
    """Reason that the last step's pages earned no reward or equal rewards; empty if there is none."""
    total_steps: int = 0
    first_step_began: float = 0.0
    last_step_ended: float = 0.0

    @property
    def seconds_left(self) -> float:
        """Estimated remaining training time, from the mean duration of the steps so far, exams included."""
        pace = (self.last_step_ended - self.first_step_began) / len(self.history)
        since = time.monotonic() - self.last_step_ended
        return max(0.0, pace * (self.total_steps - self.history[-1]["step"]) - since)


def panel(state: State) -> "RenderableType":
    """Renders the panel of a state with rich."""
    from rich.console import Group
    from rich.panel import Panel
    from rich.text import Text

    title = Text("ReLook", style="bold")
    if state.history:
        title.append(f" · step {state.history[-1]['step']:.0f} of {state.total_steps}")
    times = f"{clock(time.monotonic() - state.began)} gone"
    if state.history and state.seconds_left:
        times += f", about {clock(state.seconds_left)} of training left"
    rows: list[RenderableType] = []
    if state.stage:
        rows.append(_now(state))
    if state.history:
        rows += [Text(""), _metrics(state.history)] if rows else [_metrics(state.history)]
    if state.why:
        rows += [Text(""), Text(state.why, style="red")]
    if not rows:
        return Text("")
    return Panel(
        Group(*rows),
        title=title,
        title_align="left",
        subtitle=Text(times, style="dim"),
        subtitle_align="right",
        border_style="bright_black",
        padding=(0, 2),
    )


def _now(state: State) -> "Table":
    """The current stage and its progress."""
    from rich.progress_bar import ProgressBar
    from rich.table import Table
    from rich.text import Text

    now = time.monotonic()
    row = Table.grid(padding=(0, 2))
    cells: list[RenderableType] = [
        Text(FRAMES[int(now * 8) % len(FRAMES)], style="green"),
        Text(state.stage),
        Text(clock(now - state.stage_began), style="dim"),
    ]
    if state.total:
        bar = ProgressBar(total=state.total, completed=state.done, width=BAR_WIDTH, complete_style="green")
        cells += [bar, Text(f"{state.done} of {state.total} {state.what}", style="dim")]
    row.add_row(*cells)
    return row


def _metrics(history: Sequence[Mapping[str, float]]) -> "Table":
    """Sparklines and last values, then the last step's time by stage, and the faults so far."""
    from rich.table import Table
    from rich.text import Text

    last = history[-1]
    table = Table.grid(padding=(0, 2))
    for key, words, show, tone in ROWS:
        values = [row[key] for row in history if key in row]
        if values:
            change = Text(f"{show(values[0])} → ", style="dim") if len(values) > 1 else Text("")
            change.append(show(values[-1]), style="bold default not dim")
            table.add_row(Text(words, style="dim"), change, Text(sparkline(values), style=tone))
    if "sync_gap" in last:
        gap = max(row.get("sync_gap", 0.0) for row in history)
        table.add_row(Text("log-prob gap", style="dim"), Text(number(gap)), Text("largest after a sync", style="dim"))
    seconds = sum(last.get(f"seconds_{name}", 0.0) for name in STAGES)
    if seconds:
        table.add_row(Text("the last step", style="dim"), f"{seconds:.1f} s", Text(stage_times(last), style="dim"))
    faults = sum(row.get("machine_faults", 0.0) for row in history)
    dropped = sum(row.get("dropped", 0.0) for row in history)
    table.add_row(
        Text("machine faults", style="dim"),
        Text(f"{faults:.0f}", style="red" if faults else ""),
        Text(f"episodes dropped: {dropped:.0f}", style="dim"),
    )
    return table


def clock(seconds: float) -> str:
    """Formats seconds as `0:07`, `12:30`, `3:05:00`."""
    minutes, second = divmod(int(seconds), 60)
    hours, minute = divmod(minutes, 60)
    return f"{hours}:{minute:02}:{second:02}" if hours else f"{minute}:{second:02}"


def sparkline(values: Sequence[float], width: int = SPARK_WIDTH) -> str:
    """Draws the last `width` values as blocks, scaled between their minimum and maximum."""
    shown = [value for value in values if math.isfinite(value)][-width:]
    if not shown:
        return ""
    low = min(shown)
    span = max(shown) - min(shown)
    return "".join(BLOCKS[round((value - low) / span * 7) if span else 3] for value in shown)


def stage_times(row: Mapping[str, float]) -> str:
    """Lists a step's seconds by stage."""
    return ", ".join(f"{name} {row[f'seconds_{name}']:.1f} s" for name in STAGES if row.get(f"seconds_{name}"))
