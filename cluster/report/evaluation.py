"""Page of an evaluation: the three modes of inference as a table, and the pages of every task side by side.

Pages of a policy are shown as screenshots only; `html.el` escapes their text.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass

from cluster.report.charts import share
from cluster.report.document import document, section
from cluster.report.filmstrips import Album, attempt_frame, screen
from cluster.report.html import Html, el, join
from cluster.report.sections import inference_section
from reward.validity import complaint
from rollout.records import Render, Task, Trajectory
from rollout.selfedit import Draft

MAX_CARDS = 24
"""Maximum tasks shown with their pictures, to limit the file's size."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PlayedTask:
    """One task in the three modes of inference, with stored screenshots."""

    task: Task
    drafts: Sequence[Draft]
    """Drafts of self-edit; the first is the base decode."""
    rewards: Sequence[float]
    """Rewards of the drafts."""
    trajectory: Trajectory
    """The full loop with the critic."""
    reference: Render | None


def evaluation_page(
    model: str,
    table: Mapping[str, Mapping[str, float]],
    played: Sequence[PlayedTask],
    picture: Callable[[str], bytes | None],
) -> str:
    """The page as HTML. `model` names the policy; `picture` returns the PNG of a screenshot by its content hash."""
    album = Album(picture)
    head = el(
        "header", el("p", "ReLook", class_="mark"), el("h1", "Evaluation"), el("p", el("code", model), class_="run")
    )
    shown = played[:MAX_CARDS]
    omitted = (
        f" {len(played) - len(shown)} more are omitted to limit the file's size." if len(shown) < len(played) else ""
    )
    words = (
        "Every held-out task in its order: the first page, the page after self-edit, and the best page of the full "
        f"loop; click to enlarge.{omitted}"
    )
    cards = el("div", *(_card(one, album) for one in shown), class_="pairs")
    return document("Evaluation", join(head, inference_section(table), section("Tasks", words, cards)))


def _card(played: PlayedTask, album: Album) -> Html:
    return el(
        "article",
        el("p", played.task.brief, class_="brief"),
        el("div", *_frames(played, album), class_="trio"),
        class_="card pair",
        data_task=played.task.id,
    )


def _frames(played: PlayedTask, album: Album) -> Iterator[Html]:
    if played.reference is not None:
        yield el("figure", album.render(played.reference, "reference design"), el("figcaption", "reference"))
    yield _draft_frame("base decode", played.drafts[0], played.rewards[0], album)
    yield _draft_frame("self-edit", played.drafts[-1], played.rewards[-1], album)
    first = played.trajectory.turns[0].attempts[0]
    accepted = played.trajectory.accepted
    yield attempt_frame("full loop", accepted[-1] if accepted else first, album)


def _draft_frame(name: str, draft: Draft, reward: float, album: Album) -> Html:
    caption = el("figcaption", el("span", name), el("b", share(reward), class_="total"))
    problem = None if draft.valid else el("p", complaint(draft.page, draft.render), class_="problem")
    return el("figure", screen(draft.render, name, album), caption, problem)
