"""Writes `report.html`: the results of a run in one self-contained file.

All text of a policy, a page or a critic is untrusted: `html.el` escapes it, and the report's Content-Security-Policy
allows no script except `report.js`.
"""

from collections.abc import Iterator, Sequence
from pathlib import Path

from cluster.report.contents import Report
from cluster.report.document import document, section
from cluster.report.filmstrips import Album, Film, Pair, film_card, pair_card
from cluster.report.html import Html, el, join
from cluster.report.sections import (
    EPISODES,
    events_section,
    inference_section,
    pairs_section,
    reasons_section,
    settings_section,
    top,
    training_section,
)
from rollout.files import atomic_write

__all__ = ["Film", "Pair", "Report", "write_report"]

MAX_BYTES = 15_000_000
UNFOLDED_FILMS = 4


def write_report(path: Path, report: Report, *, max_bytes: int = MAX_BYTES) -> None:
    """Writes the report atomically. Raises StorageFault.

    To stay within `max_bytes`, films are omitted, oldest first, then pairs, last first; the report states how many.
    """
    atomic_write(path, render(report, max_bytes).encode("utf-8", "replace"))


def render(report: Report, max_bytes: int = MAX_BYTES) -> str:
    """The report as HTML."""
    album = Album(report.picture)
    parts = [
        training_section(report),
        inference_section(report.inference),
        events_section(report.events),
        settings_section(report.settings),
    ]
    head = top(report)
    found = reasons_section(report.findings)
    left = max_bytes - sum(map(_size, [head, found, *parts])) - 30_000
    pairs, left = _fitting((pair_card(pair, album) for pair in report.pairs), left)
    order = sorted(range(len(report.films)), key=lambda place: -report.films[place].step)
    cards = (film_card(report.films[place], album, unfolded=rank < UNFOLDED_FILMS) for rank, place in enumerate(order))
    films, _ = _fitting(cards, left)
    parts.insert(0, pairs_section(pairs, len(report.pairs)))
    parts.insert(2, _films(films, len(report.films)))
    if report.findings:
        parts.insert(0 if report.alarm else 2, found)
    return document(report.title, join(head, *parts))


def _fitting(cards: Iterator[Html], left: int) -> tuple[list[Html], int]:
    """The leading cards that fit in `left` bytes, and the remaining bytes."""
    fitting: list[Html] = []
    for card in cards:
        if _size(card) > left:
            break
        fitting.append(card)
        left -= _size(card)
    return fitting, left


def _size(text: str) -> int:
    return len(text.encode("utf-8", "replace"))


def _films(cards: Sequence[Html], total: int) -> Html:
    if not total:
        return section("Episodes", "No screenshots of episodes are stored yet.", Html(""))
    left_out = f" The {total - len(cards)} oldest are omitted to limit the file's size." if len(cards) < total else ""
    return section("Episodes", EPISODES + left_out, el("div", *cards, class_="films"))
