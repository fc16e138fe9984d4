"""Section on the current work of a run: its stage, its progress and the actors of each pool."""

import time
from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime
from typing import Any

from cluster.monitoring.status_file import BEAT_S
from cluster.report.charts import percent
from cluster.report.curves import POOLS
from cluster.report.document import table
from cluster.report.headline import duration
from cluster.report.html import Html, el

SILENT_S = 6 * BEAT_S
"""Age of the status in seconds from which the section says that the run may be dead."""
NAMES = {"learner-rank": ("learner", "learner ranks"), "worker": ("", "episode workers")}
"""Pool → its key in the metrics and its name, if they are not those of the curves."""


def now_section(status: Mapping[str, Any], last: Mapping[str, float]) -> Html:
    """The section for a status (see `StatusFile`) and the metrics of the last finished step."""
    pools = {} if is_silent(status) else status.get("pools", {})
    return el("section", el("h2", "Now"), *_stage(status), *_pools(pools, last), class_="now")


def is_silent(status: Mapping[str, Any]) -> bool:
    """Whether a running run has written no status for SILENT_S seconds."""
    return status.get("status") == "running" and time.time() - status.get("time", time.time()) > SILENT_S


def _stage(status: Mapping[str, Any]) -> Iterator[Html]:
    if is_silent(status):
        when = datetime.fromtimestamp(status["time"]).strftime("%Y-%m-%d %H:%M:%S")
        words = f"No sign of life since {when}: the process of this run was killed, or cannot write to its folder."
        yield el("p", words, class_="words bad")
    elif status.get("status") != "running":
        yield el("p", f"This run is {status.get('status', 'over')}.", class_="words")
    elif not status.get("stage"):
        yield el("p", "The run says nothing of its current stage yet.", class_="words")
    else:
        yield from _running(status)


def _running(status: Mapping[str, Any]) -> Iterator[Html]:
    done, total = status.get("done", 0), status.get("total", 0)
    began = status.get("stage_began")
    since = f", since {datetime.fromtimestamp(began):%H:%M:%S}" if began else ""
    left = f" · about {duration(status['seconds_left'])} of training left" if status.get("seconds_left") else ""
    yield el("p", el("b", status["stage"]), f"{since}{left}", class_="words")
    if total:
        label = f"{done} of {total} {status.get('what', '')}"
        yield el("p", el("progress", value=done, max=total, aria_label=label), f" {label}", class_="progress")


def _pools(pools: Mapping[str, Mapping[str, int]], last: Mapping[str, float]) -> Iterator[Html]:
    if not pools:
        return
    rows = [_pool(name, pool, last) for name, pool in sorted(pools.items())]
    yield table("Pools of actors", ("pool", "healthy", "lost", "busy in the last step"), rows)


def _pool(name: str, pool: Mapping[str, int], last: Mapping[str, float]) -> Html:
    key, words = NAMES.get(name, (name, POOLS.get(name, (name, ""))[0]))
    idle = last.get(f"idle_{key}")
    lost = pool.get("lost", 0)
    return el(
        "tr",
        el("th", words, scope="row"),
        el("td", f"{pool.get('healthy', 0)}"),
        el("td", f"{lost}", class_="bad" if lost else None),
        el("td", *_busy(idle)),
    )


def _busy(idle: float | None) -> Sequence[object]:
    if idle is None:
        return ("–",)
    busy = min(1.0, max(0.0, 1 - idle))
    return el("i", el("i", style=f"width:{100 * busy:.0f}%"), class_="bar"), percent(busy)
