"""The page of one run: a list of items with a name and a digest each, so that a browser replaces only changed ones.

Built from the run's files alone, with the components of the report.
"""

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache, partial

from cluster.live.now import is_silent, now_section
from cluster.live.stored_state import StoredState
from cluster.monitoring.report_content import ReportContent
from cluster.report.document import section
from cluster.report.filmstrips import Album, Film, film_card, pair_card
from cluster.report.headline import headline
from cluster.report.html import Html, el, join
from cluster.report.reasons import alarm
from cluster.report.sections import (
    EPISODES,
    events_section,
    inference_section,
    masthead,
    pairs_section,
    reasons_section,
    settings_section,
    training_section,
)
from cluster.settings import check_settings
from cluster.storage.finished_groups import GroupFile, pending_files, read_finished, stored_files
from cluster.storage.store import Store
from cluster.training.state import RunState
from rollout.records import Trajectory

MAX_EPISODES = 24
"""Number of episodes on a page."""
UNFOLDED_EPISODES = 2
"""Number of the newest episodes that are unfolded when a browser opens the page."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Query:
    """The episodes that a browser asks for."""

    before: tuple[int, int] | None = None
    """(step, place) of a stored group: only older groups are shown. None shows the newest, pending ones included."""
    everything: bool = False
    """Whether groups without stored screenshots are shown too."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Item:
    """A part of the page, identified by its name."""

    name: str
    html: Html

    @property
    def digest(self) -> str:
        """Content hash of the part."""
        return hashlib.sha256(self.html.encode("utf-8", "replace")).hexdigest()[:16]

    @property
    def episode(self) -> bool:
        """Whether the part is an episode's card."""
        return self.name.startswith("episode-")

    def element(self, *, unfolded: bool = False) -> Html:
        """The part as an element with its name and digest; an episode may be unfolded."""
        html = Html(self.html.replace("<details ", "<details open ", 1)) if unfolded else self.html
        return el("div", html, class_="item", data_name=self.name, data_digest=self.digest)


class RunPage:
    """Builds the page of one run. Not thread-safe."""

    def __init__(self, store: Store, place: int = 0) -> None:
        """`place` is the run's position on the server. Raises BadInput for a folder without readable settings."""
        values = store.read_json("run.json")
        self.store, self.place = store, place
        self.settings = check_settings(values["settings"], str(store.path / "run.json"))
        self.stored = StoredState(store, self.settings, values["run_id"])
        self.content = ReportContent(self.settings, store, values["run_id"])
        self.album = Album(store.picture, self._address)
        self._cards = lru_cache(maxsize=8 * MAX_EPISODES)(self._read_cards)

    @property
    def name(self) -> str:
        """The run's id."""
        return self.stored.run_id

    def items(self, query: Query) -> list[Item]:
        """The page's parts from top to bottom. Raises CheckpointError for a damaged file."""
        state = self.stored.state()
        status = self.stored.status()
        word = "silent" if is_silent(status) else str(status.get("status", "running"))
        figures = self.stored.memo.get("figures", (word, self.stored.stamp()), partial(self._figures, word, state))
        parts = {
            "top": figures["top"],
            "now": now_section(status, state.history[-1] if state.history else {}),
            "headline": figures["headline"],
            "episodes": self._heading(query),
            **self._episodes(query),
            **{name: html for name, html in figures.items() if name not in ("top", "headline")},
        }
        return [Item(name=name, html=html) for name, html in parts.items() if html]

    def _figures(self, status: str, state: RunState) -> dict[str, Html | None]:
        """All parts but the current work and the episodes."""
        report = self.content.figures(self.stored.summary(status, state), state)
        return {
            "top": join(masthead(report), alarm(report.alarm, report.remedy)),
            "headline": headline(report.summary, report.history, report.exams),
            "training": training_section(report),
            "pairs": self._pairs(state.champion_step),
            "inference": inference_section(report.inference) if report.inference else None,
            "reasons": reasons_section(report.findings) if report.findings else None,
            "events": events_section(report.events[::-1], "newest first"),
            "settings": settings_section(report.settings),
        }

    def elements(self, query: Query) -> list[Html]:
        """The parts as elements, with the newest episodes unfolded. Raises CheckpointError for a damaged file."""
        items = self.items(query)
        first = [item.name for item in items if item.episode][:UNFOLDED_EPISODES]
        return [item.element(unfolded=item.name in first) for item in items]

    def _address(self, sha256: str) -> str | None:
        return f"/shots/{sha256}" if (self.store.shots / f"{sha256}.png").exists() else None

    def _heading(self, query: Query) -> Html:
        here = f"/{self.place}/"
        links = [
            el("a", "with screenshots", href=here, aria_current="page" if not query.everything else None),
            el("a", "all", href=f"{here}?all=1", aria_current="page" if query.everything else None),
        ]
        if query.before is not None:
            links.append(el("a", "newest", href=f"{here}?all=1" if query.everything else here))
        nav = el("nav", *links, class_="switch", aria_label="Episodes")
        return section("Episodes", EPISODES, nav)

    def _episodes(self, query: Query) -> dict[str, Html]:
        """Cards of the episodes, and a link to older ones."""
        cards: dict[str, Html] = {}
        for file in self._files(query):
            if len(cards) >= MAX_EPISODES:
                last = f"{file.step}-{file.place + 1}"
                kind = "&all=1" if query.everything else ""
                link = el("a", "older episodes", href=f"/{self.place}/?before={last}{kind}")
                return {**cards, "older": el("p", link, class_="older")}
            cards |= {name: card for name, card in self._cards(file).items() if name not in cards}
        if not cards:
            cards["none"] = el("p", "No episode is finished yet.", class_="empty")
        return cards

    def _files(self, query: Query) -> Iterator[GroupFile]:
        if query.before is None:
            yield from (file for file in pending_files(self.store) if self._wanted(file, query))
        yield from (file for file in stored_files(self.store, query.before) if self._wanted(file, query))

    def _wanted(self, file: GroupFile, query: Query) -> bool:
        """Whether a group is shown. Screenshots are stored for the first groups of a step."""
        return query.everything or file.place < self.settings.report.films

    def _read_cards(self, file: GroupFile) -> dict[str, Html]:
        """Cards of a group's episodes, the most revised first."""
        group = read_finished(file)
        if group is None:
            return {}
        best = sorted(group.trajectories, key=lambda one: (len(one.accepted), one.reward), reverse=True)
        reference = self.store.reference(group.task)
        films = [Film(step=file.step, trajectory=one, reference=reference) for one in best]
        return {_name(film.trajectory): film_card(film, self.album, unfolded=False) for film in films}

    def _pairs(self, champion: int) -> Html | None:
        """Held-out tasks before and after training, once there is a better champion than the first policy."""

        def draw() -> Html | None:
            pairs = list(self.content.pairs(champion))
            return pairs_section([pair_card(pair, self.album) for pair in pairs], len(pairs)) if pairs else None

        return self.stored.memo.get("pairs", champion, draw)


def _name(trajectory: Trajectory) -> str:
    """Name of an episode's item; ids of trajectories hold names of tasks, which are any text."""
    return f"episode-{hashlib.sha256(trajectory.id.encode()).hexdigest()[:16]}"
