"""Tests of episodes as traces: times follow from the record, ids are stable, pages are cut, scores name the critic."""

import json
from dataclasses import replace
from typing import Any

from played_groups import attempt, group, played_round

from cluster.monitoring.tracking.traces import MAX_PAGE_CHARS, EpisodeTrace, TraceBuilder, clean
from rollout.records import Attempt, Page, Render, Shot, Trajectory

STAGES = {"generate": 2.0, "render": 1.0, "judge": 0.5}
SHOT = Shot(at_ms=0, sha256="ab" * 32, width=8, height=8)


def timed(one: Attempt) -> Attempt:
    """The attempt with a render and the seconds of STAGES."""
    render = Render(page_sha256=one.page.sha256, outcome="ok", shots=(SHOT,))
    return replace(one, completion=replace(one.completion, seconds=2.0), render=render, seconds=STAGES)


def episode(**changes: Any) -> Trajectory:
    """A first page, and a round of two attempts that were sampled together."""
    first, revised = timed(attempt(0, 0.2)), played_round(1, [0.1, 0.6], best=0.2)
    turns = [first, replace(revised, attempts=tuple(map(timed, revised.attempts)))]
    played = group("hero", turns).trajectories[0]  # type: ignore[list-item, arg-type]
    return replace(played, started_at=100.0, seconds=8.5, **changes)


def build(trajectory: Trajectory, speculate: int = 2, step: int = 3) -> EpisodeTrace:
    return TraceBuilder("run", speculate, lambda sha: b"png" if sha == SHOT.sha256 else None).build(trajectory, step)


def times(trace: EpisodeTrace, name: str) -> list[tuple[float, float]]:
    found = [span for span in trace.spans if span["name"] == name]
    return [(span["start_time_unix_nano"] / 1e9, span["end_time_unix_nano"] / 1e9) for span in found]


def test_spans_have_the_times_of_the_record() -> None:
    trace = build(episode())
    assert times(trace, "episode") == [(100.0, 108.5)]
    assert times(trace, "generate") == [(100.0, 102.0), (103.5, 105.5), (103.5, 105.5)]
    assert times(trace, "render") == [(102.0, 103.0), (105.5, 106.5), (107.0, 108.0)]
    assert times(trace, "judge") == [(103.0, 103.5), (106.5, 107.0), (108.0, 108.5)]
    assert times(trace, "decision") == [(103.5, 103.5), (107.0, 107.0), (108.5, 108.5)]


def test_attempts_sampled_one_by_one_do_not_overlap() -> None:
    assert times(build(episode(), speculate=1), "generate") == [(100.0, 102.0), (103.5, 105.5), (107.0, 109.0)]


def test_ids_depend_on_run_step_and_episode_only() -> None:
    one, again, later = build(episode()), build(episode(retries=1)), build(episode(), step=4)
    assert one.trace_id == again.trace_id != later.trace_id
    assert [span["span_id"] for span in one.spans] == [span["span_id"] for span in again.spans]
    assert set(one.pictures) == set(again.pictures)
    assert len({span["span_id"] for span in one.spans}) == len(one.spans)


def test_spans_have_verdicts_faults_scores_and_pictures() -> None:
    trace = build(episode(faults=("BrowserFault: gone",)))
    (fault,) = trace.spans[0]["events"]
    assert fault["attributes"] == {"fault": "BrowserFault: gone"}
    decisions = [span for span in trace.spans if span["name"] == "decision"]
    verdicts = [json.loads(span["attributes"]["mlflow.spanOutputs"])["verdict"] for span in decisions]
    assert verdicts == ["accepted", "not_better", "accepted"]
    assert [(score["name"], score["value"], score["judge"]) for score in trace.scores] == [
        ("critic score", 0.2, "test"),
        ("critic score", 0.1, "test"),
        ("critic score", 0.6, "test"),
    ]
    assert list(trace.pictures.values()) == [b"png"] * 3
    rendered = next(span for span in trace.spans if span["name"] == "render")
    assert next(iter(trace.pictures)) in rendered["attributes"]["mlflow.spanOutputs"]


def test_pages_are_cut() -> None:
    long = replace(timed(attempt(0, 0.2)), page=Page(html="x" * 2 * MAX_PAGE_CHARS))
    trace = build(replace(group("hero", [long]).trajectories[0], started_at=1.0))
    rendered = next(span for span in trace.spans if span["name"] == "render")
    assert len(json.loads(rendered["attributes"]["mlflow.spanInputs"])["page"]) == MAX_PAGE_CHARS


def test_text_for_a_database_has_no_lone_surrogates() -> None:
    assert clean("a\ud800b", 3) == "a?b"
