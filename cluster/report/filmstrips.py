"""HTML cards of pages: filmstrips of episodes, and held-out tasks before and after training."""

import base64
import difflib
import io
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache

from PIL import Image, UnidentifiedImageError

from cluster.report.charts import share
from cluster.report.html import Html, el, join
from cluster.training.diagnosis import page_reason, words_of
from rollout.edits import blocks, show
from rollout.parsing import parse_page
from rollout.records import Attempt, Critique, Preference, Render, Shot, Task, Trajectory, Turn

PICTURE_WIDTH = 720
MAX_PICTURE_HEIGHT = 1440
MAX_SOURCE_CHARS = 16_000
MAX_DIFF_LINES = 240
MAX_LINES = 800
"""Maximum lines of a source in a diff, because its time grows quadratically."""
MAX_FEEDBACK = 5
PREFERRED: dict[Preference, str] = {"new": "better", "old": "worse", "tie": "no better"}
"""Wording of a comparison of an attempt with the best so far."""
WORDS = {
    "ok": "renders",
    "no_page": "no page in the answer",
    "blank": "blank page",
    "exception": "threw an exception",
    "timeout": "timed out",
    "crash": "crashed its renderer",
    "too_large": "too large",
    "too_heavy": "too heavy to draw",
    "blocked_navigation": "navigated away",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Film:
    """One episode of a training step, with stored screenshots."""

    step: int
    trajectory: Trajectory
    reference: Render | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Pair:
    """One held-out task: the policy's page before training, and after."""

    task: Task
    before: Attempt
    after: Attempt
    reference: Render | None


class Album:
    """Loads the run's screenshots and embeds them as data URIs.

    `address`, if given, returns the address of a screenshot by its content hash, to link it instead.
    """

    def __init__(
        self, picture: Callable[[str], bytes | None], address: Callable[[str], str | None] | None = None
    ) -> None:
        self.picture, self.address = picture, address

    def shot(self, shot: Shot, caption: str) -> Html:
        """A screenshot that enlarges on a click, or a note if it was not stored or cannot be read."""
        png = None if self.address else self.picture(shot.sha256)
        source = self.address(shot.sha256) if self.address else embedded(png) if png else None
        if source is None:
            return el("div", "screenshot not readable" if png else "screenshot not stored", class_="nopic")
        return el(
            "img", class_="shot", src=source, alt=caption, title=caption, loading="lazy", tabindex=0, role="button"
        )

    def render(self, render: Render | None, caption: str, missing: str = "no screenshot") -> Html:
        """The last timed screenshot of a page, and the other ones that differ from it."""
        if render is None or not render.shots:
            return el("div", missing, class_="nopic")
        timed = [shot for shot in render.shots if not shot.label] or list(render.shots)
        main = timed[-1]
        others = {shot.sha256: shot for shot in reversed(render.shots) if shot.sha256 != main.sha256}
        small = [el("figure", self.shot(shot, f"{caption}, {_moment(shot)}"), el("figcaption", _moment(shot)))
                 for shot in reversed(others.values())]  # fmt: skip
        return join(self.shot(main, caption), small and el("div", *small[:4], class_="moments") or None)


def embedded(png: bytes) -> str | None:
    """Encodes a PNG as a data URI of a smaller JPEG; None if it is unreadable."""
    jpeg = thumbnail(png)
    return "data:image/jpeg;base64," + base64.b64encode(jpeg).decode("ascii") if jpeg else None


@lru_cache(maxsize=256)
def thumbnail(png: bytes) -> bytes | None:
    """Encodes a PNG as a smaller JPEG; None if it is unreadable. Cached for refreshes of a report."""
    try:
        with Image.open(io.BytesIO(png)) as opened:
            image = opened.convert("RGB")
    except (UnidentifiedImageError, OSError, Image.DecompressionBombError):
        return None
    if image.width > PICTURE_WIDTH:
        size = (PICTURE_WIDTH, max(1, round(image.height * PICTURE_WIDTH / image.width)))
        image = image.resize(size, Image.Resampling.LANCZOS)
    image = image.crop((0, 0, image.width, min(image.height, MAX_PICTURE_HEIGHT)))
    sink = io.BytesIO()
    image.save(sink, "JPEG", quality=80, subsampling=0, optimize=True)
    return sink.getvalue()


def pair_card(pair: Pair, album: Album) -> Html:
    """A held-out task: brief, reference, first page before training, and the champion's page."""
    frames = [attempt_frame("before training", pair.before, album), attempt_frame("after training", pair.after, album)]
    if pair.reference is not None:
        frames.insert(0, el("figure", album.render(pair.reference, "reference design"), el("figcaption", "reference")))
    return el(
        "article",
        el("p", pair.task.brief, class_="brief"),
        el("div", *frames, class_="trio"),
        class_="card pair",
        data_task=pair.task.id,
    )


def film_card(film: Film, album: Album, *, unfolded: bool) -> Html:
    """An episode: its rounds in order, each with every attempt that was judged."""
    trajectory = film.trajectory
    path = " → ".join(share(attempt.total) for attempt in trajectory.accepted)
    title = el(
        "summary",
        el("span", f"step {film.step}", class_="when"),
        el("span", trajectory.task.brief, class_="line-brief"),
        el("span", path or "nothing accepted", class_="path"),
    )
    strip = el("div", *_rounds(film, album), class_="strip", tabindex=0, role="region", aria_label="rounds")
    return el(
        "details", title, el("p", trajectory.task.brief, class_="brief"), strip, class_="card film", open=unfolded
    )


def _rounds(film: Film, album: Album) -> Iterator[Html]:
    """The strip from left to right: the reference, the first page, the revisions."""
    if film.reference is not None:
        frame = el("div", album.render(film.reference, "reference design"), class_="attempt reference")
        yield el("section", el("h4", "Reference"), el("div", frame, class_="frames"), class_="round")
    best: Attempt | None = None
    for turn in film.trajectory.turns:
        frames = [_attempt_card(attempt, best, album) for attempt in turn.attempts if attempt.verdict != "unused"]
        yield el("section", el("h4", *_round_title(turn)), el("div", *frames, class_="frames"), class_="round")
        best = turn.accepted or best


def _round_title(turn: Turn) -> Iterator[object]:
    judged = sum(attempt.verdict != "unused" for attempt in turn.attempts)
    unused = len(turn.attempts) - judged
    yield "First page" if turn.round == 0 else f"Revision {turn.round}"
    if turn.round > 0 and turn.accepted is None:
        yield el("small", "none accepted: the best page so far remains")
    if unused:
        words = f"{unused} more sampled after the accepted one, not judged"
        yield el("small", f"+ {unused} unused", title=words)


def _attempt_card(attempt: Attempt, best: Attempt | None, album: Album) -> Html:
    accepted = attempt.verdict == "accepted"
    css = "start" if attempt.round == 0 else "accepted" if accepted else "rejected"
    refused = "✕ not preferred" if attempt.verdict == "not_preferred" else "✕ not better"
    label = {"start": "start", "accepted": "✓ accepted", "rejected": refused}[css]
    against = f"best so far was {share(best.total)}" if best is not None else None
    return el(
        "div",
        el("div", el("b", label), el("span", against, class_="against") if against else None, class_="verdict"),
        _screen(attempt, album),
        _score(attempt),
        _comparison(attempt),
        feedback_list(attempt.feedback),
        *_sources(attempt, best),
        class_=f"attempt {css}",
    )


def attempt_frame(name: str, attempt: Attempt, album: Album) -> Html:
    """An attempt's screenshot with a caption, its reward, and the error if it is not valid."""
    caption = el("figcaption", el("span", name), _total(attempt))
    return el("figure", _screen(attempt, album), caption, _problem(attempt))


def _screen(attempt: Attempt, album: Album) -> Html:
    """The screenshot, or the reason that there is none."""
    return screen(attempt.render, outcome_words(attempt.outcome), album)


def outcome_words(outcome: str) -> str:
    """The outcome of a page in words."""
    return WORDS.get(outcome, outcome)


def screen(render: Render | None, caption: str, album: Album) -> Html:
    """The screenshot of a page, or the outcome that left it without one."""
    missing = outcome_words(render.outcome if render is not None else "no_page")
    valid = render is not None and render.valid
    return el("div", album.render(render, caption, missing=missing), class_="screen" if valid else "screen bad")


def _valid(attempt: Attempt) -> bool:
    return attempt.render is not None and attempt.render.valid


def _total(attempt: Attempt) -> Html:
    return el("b", share(attempt.reward.total) if attempt.reward else "not judged", class_="total")


def _problem(attempt: Attempt) -> Html | None:
    """The error that kept the page from rendering."""
    if _valid(attempt):
        return None
    detail = attempt.page.detail or words_of(page_reason(attempt))
    if attempt.render is not None:
        detail = attempt.render.detail
    return el("p", el("b", outcome_words(attempt.outcome)), detail and f": {detail[:200]}", class_="problem")


def _score(attempt: Attempt) -> Html:
    """The reward and its parts, as small bars."""
    parts: dict[str, float] = {}
    if attempt.reward is not None and attempt.reward.gate:
        parts = {"visual": attempt.reward.visual, "interaction": attempt.reward.interaction or 0.0,
                 "format": attempt.reward.format}  # fmt: skip
        if attempt.reward.interaction is None:
            del parts["interaction"]
    rows = [_meter(name, value, "own") for name, value in parts.items()]
    rows += _critique_meters(attempt.critique) if attempt.critique is not None else ()
    meters = el("div", *rows, class_="meters") if rows else None
    return join(
        el("div", "reward ", _total(attempt), class_="score"), None if attempt.feedback else _problem(attempt), meters
    )


def _critique_meters(critique: Critique) -> Iterator[Html]:
    """The critic's parts; for several critics, each critic's score followed by its parts."""
    for name, value in critique.parts.items():
        yield _meter(name, value, "sub")
        if name in critique.members:
            yield from (_meter(part, one, "sub of") for part, one in critique.members[name].parts.items())


def _comparison(attempt: Attempt) -> Html | None:
    """The critics' answers when comparing this page with the best so far."""
    compared = attempt.comparison
    if compared is None:
        return None
    said = (compared.members or {compared.judge: compared}).items()
    lines = [
        f"{name}: {PREFERRED[one.answers[1]]} when shown first, {PREFERRED[one.answers[0]]} when shown second"
        for name, one in said
    ]
    return el("p", f"Compared with the best so far: {'; '.join(lines)}.", class_="compared")


def _meter(name: str, value: float, css: str) -> Html:
    filled = 100 * min(1.0, max(0.0, value))
    bar = el("i", el("i", style=f"width:{filled:.0f}%"))
    return el("div", el("span", name.replace("_", " ")), bar, el("span", f"{value:.2f}"), class_=f"meter {css}")


def feedback_list(sentences: Sequence[str]) -> Html | None:
    """The first sentences of a page's feedback."""
    rows = [el("li", sentence) for sentence in sentences[:MAX_FEEDBACK]]
    return el("ul", *rows, class_="feedback") if rows else None


def _sources(attempt: Attempt, best: Attempt | None) -> Iterator[Html]:
    if attempt.page.thought:
        yield fold("thought", el("p", attempt.page.thought[:MAX_SOURCE_CHARS], class_="thought"))
    if attempt.page.html is not None and (written := _edits(attempt, best)):
        yield fold("edits as written", source_text(written))
    source = attempt.page.html if attempt.page.html is not None else attempt.completion.text
    yield fold("page source" if attempt.page.html is not None else "answer", source_text(source))
    if best is not None and best.page.html is not None and attempt.page.html is not None:
        yield fold("diff to the best so far", diff(best.page.html, attempt.page.html))


def _edits(attempt: Attempt, best: Attempt | None) -> str:
    """The edits of the best page so far that the attempt's page was made by; empty if it was written as a whole."""
    if best is None or parse_page(attempt.completion.text).html == attempt.page.html:
        return ""
    return show([block.edit for block in blocks(attempt.completion.text) if block.edit is not None])


def fold(name: str, body: Html) -> Html:
    """A part that is hidden until a click on its name."""
    return el("details", el("summary", name), body, class_="fold")


def source_text(text: str) -> Html:
    """The source of a page as text, bounded in length."""
    cut = f"\n… {len(text) - MAX_SOURCE_CHARS:,} more characters" if len(text) > MAX_SOURCE_CHARS else ""
    return el("pre", text[:MAX_SOURCE_CHARS] + cut)


def diff(old: str, new: str) -> Html:
    """A coloured unified diff of two sources, bounded in length."""
    tones = {"+": "plus", "-": "minus", "@": "at"}
    changed = list(difflib.unified_diff(_lines(old), _lines(new), lineterm="", n=2))[2:]
    rows = [el("span", line, class_=tones.get(line[:1], "same")) for line in changed[:MAX_DIFF_LINES]]
    if len(changed) > MAX_DIFF_LINES:
        rows.append(el("span", f"… {len(changed) - MAX_DIFF_LINES} more lines", class_="at"))
    return el("pre", *rows, class_="diff") if rows else el("p", "No difference.", class_="empty")


def _lines(source: str) -> list[str]:
    """Splits a truncated source into lines; a page on one line is broken between its tags."""
    source = source[:MAX_SOURCE_CHARS]
    return (source if source.count("\n") > 3 else source.replace("><", ">\n<")).split("\n")[:MAX_LINES]


def _moment(shot: Shot) -> str:
    return shot.label or f"+{shot.at_ms / 1000:g} s"
