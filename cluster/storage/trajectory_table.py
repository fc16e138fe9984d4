"""Converts trajectories to table rows and back: one row per attempt, with columns that can be queried.

A row contains everything needed to learn or judge again: token ids, log-probs, page, reward parts, feedback, screenshot
hashes. Text blocks and boxes of a render are not stored; a page can be rendered again.
"""

from collections.abc import Iterator, Sequence
from itertools import groupby
from typing import Any

from rollout.records import (
    Attempt,
    Comparison,
    Completion,
    ControlTrial,
    Critique,
    Group,
    Page,
    Probe,
    ProbeResult,
    ProbeStep,
    Render,
    Reward,
    Shot,
    Task,
    Trajectory,
    Turn,
    VersionSpan,
    Viewport,
)

TableRow = dict[str, Any]


def group_rows(group: Group, step: int, place: int = 0) -> Iterator[TableRow]:
    """Rows of a group, ordered by trajectory, round and sampling order.

    `place` distinguishes the groups of a table, as several may have the same task. A group that lost all its episodes
    has one row without an attempt, so that its losses are counted.
    """
    shared = {
        "step": step,
        "group": place,
        "task_id": group.task.id,
        "brief": group.task.brief,
        "reference_html": group.task.reference_html,
        "probes": [_probe_row(probe) for probe in group.task.probes],
        "checklist": list(group.task.checklist),
        "viewports": [str(viewport) for viewport in group.task.viewports],
        "libraries": list(group.task.libraries),
        "dropped": group.dropped,
        "dropped_by": list(group.faults),
    }
    if not group.trajectories:
        yield shared
    for sibling, trajectory in enumerate(group.trajectories):
        for turn in trajectory.turns:
            for attempt in turn.attempts:
                yield {
                    **shared,
                    "sibling": sibling,
                    "trajectory": trajectory.id,
                    "trajectory_started_at": trajectory.started_at,
                    "trajectory_seconds": trajectory.seconds,
                    "retries": trajectory.retries,
                    "faults": list(trajectory.faults),
                    "context_full": trajectory.context_full,
                    **_attempt_row(attempt),
                }


def schema() -> Any:
    """The table's pyarrow schema, the same in every file, so that several files can be read as one table."""
    import pyarrow as pa

    text = pa.string()
    real = pa.float64()
    whole = pa.int64()
    flag = pa.bool_()
    texts = pa.list_(text)
    pairs = pa.list_(pa.struct({"name": text, "value": real}))
    types = {"nth": whole, "exact": flag, "negated": flag}
    step = pa.struct([(name, types.get(name, text)) for name in ProbeStep.__dataclass_fields__])
    shot = pa.struct({"at_ms": whole, "sha256": text, "width": whole, "height": whole, "label": text})
    asked = {"judge": text, "rubric": text, "temperature": real, "tokens": whole, "seconds": real}
    critique = {"score": real, "feedback": texts, "parts": pairs, **asked, "scores": pa.list_(real)}
    comparison = {"answers": texts, **asked}
    columns = {
        "step": whole,
        "group": whole,
        "task_id": text,
        "brief": text,
        "reference_html": text,
        "probes": pa.list_(pa.struct({"name": text, "steps": pa.list_(step), "fresh": flag})),
        "checklist": texts,
        "viewports": texts,
        "libraries": texts,
        "dropped": whole,
        "dropped_by": texts,
        "sibling": whole,
        "trajectory": text,
        "trajectory_started_at": real,
        "trajectory_seconds": real,
        "retries": whole,
        "faults": texts,
        "context_full": flag,
        "round": whole,
        "index": whole,
        "verdict": text,
        "outcome": text,
        "prompt_ids": pa.list_(pa.int32()),
        "token_ids": pa.list_(pa.int32()),
        "logprobs": pa.list_(real),
        "text": text,
        "finish": text,
        "versions": pa.list_(pa.struct({"version": whole, "start": whole, "end": whole})),
        "generate_seconds": real,
        "engine_seconds": real,
        "html": text,
        "thought": text,
        "problem": text,
        "problem_detail": text,
        "format_ok": flag,
        "reward": pa.struct(
            {"total": real, "gate": whole, "visual": real, "interaction": real, "format": real, "complaint": text}
        ),
        "render": pa.struct(
            {
                "page_sha256": text,
                "outcome": text,
                "detail": text,
                "shots": pa.list_(shot),
                "exceptions": texts,
                "console": texts,
                "blocked": texts,
                "probes": pa.list_(pa.struct({"name": text, "held": flag, "detail": text, "inconclusive": flag})),
                "explored": pa.list_(
                    pa.struct({"control": text, "changed": flag, "thrown": texts, "detail": text}),
                ),
                "flags": texts,
                "renderer": text,
                "seconds": real,
                "cpu_seconds": real,
            }
        ),
        "critique": pa.struct({**critique, "members": pa.list_(pa.struct({"name": text, **critique}))}),
        "comparison": pa.struct({**comparison, "members": pa.list_(pa.struct({"name": text, **comparison}))}),
        "seconds": pairs,
    }
    return pa.schema(list(columns.items()))


def rows_groups(rows: Sequence[TableRow]) -> list[Group]:
    """Groups from rows; the inverse of `group_rows`."""
    return [_group(list(part)) for _, part in groupby(rows, key=lambda row: row["group"])]


def _group(rows: list[TableRow]) -> Group:
    first = rows[0]
    task = Task(
        id=first["task_id"],
        brief=first["brief"],
        reference_html=first["reference_html"],
        probes=tuple(_row_probe(row) for row in first["probes"]),
        checklist=tuple(first["checklist"]),
        viewports=tuple(map(Viewport.of, first["viewports"])),
        libraries=tuple(first["libraries"]),
    )
    siblings = groupby((row for row in rows if row["sibling"] is not None), key=lambda row: row["sibling"])
    return Group(
        task=task,
        trajectories=tuple(_trajectory(task, list(part)) for _, part in siblings),
        dropped=first["dropped"],
        faults=tuple(first["dropped_by"]),
    )


def _trajectory(task: Task, rows: list[TableRow]) -> Trajectory:
    turns = [
        Turn(round=number, attempts=tuple(_attempt(row) for row in part))
        for number, part in groupby(rows, key=lambda row: row["round"])
    ]
    first = rows[0]
    return Trajectory(
        id=first["trajectory"],
        task=task,
        turns=tuple(turns),
        started_at=first.get("trajectory_started_at") or 0.0,  # absent from tables of older versions
        seconds=first["trajectory_seconds"],
        retries=first["retries"],
        faults=tuple(first["faults"]),
        context_full=first["context_full"],
    )


def _attempt_row(attempt: Attempt) -> TableRow:
    completion, page, reward = attempt.completion, attempt.page, attempt.reward
    return {
        "round": attempt.round,
        "index": attempt.index,
        "verdict": attempt.verdict,
        "outcome": attempt.outcome,
        "prompt_ids": completion.prompt_ids,
        "token_ids": completion.token_ids,
        "logprobs": completion.logprobs,
        "text": completion.text,
        "finish": completion.finish,
        "versions": [_fields(span) for span in completion.versions],
        "generate_seconds": completion.seconds,
        "engine_seconds": completion.engine_seconds,
        "html": page.html,
        "thought": page.thought,
        "problem": page.problem,
        "problem_detail": page.detail,
        "format_ok": page.format_ok,
        "reward": None if reward is None else _fields(reward),
        "render": None if attempt.render is None else _render_row(attempt.render),
        "critique": None if attempt.critique is None else _critique_row(attempt.critique),
        "comparison": None if attempt.comparison is None else _comparison_row(attempt.comparison),
        "seconds": _pairs(attempt.seconds),
    }


def _attempt(row: TableRow) -> Attempt:
    completion = Completion(
        prompt_ids=tuple(row["prompt_ids"]),
        token_ids=tuple(row["token_ids"]),
        logprobs=tuple(row["logprobs"]),
        text=row["text"],
        finish=row["finish"],
        versions=tuple(VersionSpan(**span) for span in row["versions"]),
        seconds=row["generate_seconds"],
        engine_seconds=row["engine_seconds"],
    )
    page = Page(
        html=row["html"],
        thought=row["thought"],
        problem=row["problem"],
        detail=row.get("problem_detail") or "",  # a file of an earlier version has no such column
        format_ok=row["format_ok"],
    )
    return Attempt(
        round=row["round"],
        index=row["index"],
        completion=completion,
        page=page,
        verdict=row["verdict"],
        reward=None if row["reward"] is None else Reward(**row["reward"]),
        render=None if row["render"] is None else _render(row["render"]),
        critique=None if row["critique"] is None else _critique(row["critique"]),
        comparison=None if row["comparison"] is None else _comparison(row["comparison"]),
        seconds=_values(row["seconds"]),
    )


def _render_row(render: Render) -> TableRow:
    return {
        "page_sha256": render.page_sha256,
        "outcome": render.outcome,
        "detail": render.detail,
        "shots": [
            {"at_ms": s.at_ms, "sha256": s.sha256, "width": s.width, "height": s.height, "label": s.label}
            for s in render.shots
        ],
        "exceptions": list(render.exceptions),
        "console": list(render.console),
        "blocked": list(render.blocked),
        "probes": [_fields(result) for result in render.probes],
        "explored": [{**_fields(one), "thrown": list(one.thrown)} for one in render.explored],
        "flags": list(render.flags),
        "renderer": render.renderer,
        "seconds": render.seconds,
        "cpu_seconds": render.cpu_seconds,
    }


def _render(row: TableRow) -> Render:
    return Render(
        page_sha256=row["page_sha256"],
        outcome=row["outcome"],
        detail=row["detail"],
        shots=tuple(Shot(**shot) for shot in row["shots"]),
        exceptions=tuple(row["exceptions"]),
        console=tuple(row["console"]),
        blocked=tuple(row["blocked"]),
        probes=tuple(ProbeResult(**_given(result)) for result in row["probes"]),
        explored=tuple(ControlTrial(**{**one, "thrown": tuple(one["thrown"])}) for one in row["explored"]),
        flags=tuple(row["flags"]),
        renderer=row["renderer"],
        seconds=row["seconds"],
        cpu_seconds=row["cpu_seconds"],
    )


def _critique_row(critique: Critique) -> TableRow:
    return {
        **_fields(critique),
        "feedback": list(critique.feedback),
        "parts": _pairs(critique.parts),
        "scores": list(critique.scores),
        "members": [{"name": name, **_critique_row(one)} for name, one in critique.members.items()],
    }


def _critique(row: TableRow) -> Critique:
    """A critique from a row. Members have no members."""
    lists = {name: tuple(row[name]) for name in ("feedback", "scores")}
    members = {one["name"]: _critique(_unnamed(one)) for one in row.get("members") or ()}
    return Critique(**{**row, **lists, "parts": _values(row["parts"]), "members": members})


def _comparison_row(comparison: Comparison) -> TableRow:
    members = [{"name": name, **_comparison_row(one)} for name, one in comparison.members.items()]
    return {**_fields(comparison), "answers": list(comparison.answers), "members": members}


def _comparison(row: TableRow) -> Comparison:
    first, second = row["answers"]
    members = {one["name"]: _comparison(_unnamed(one)) for one in row.get("members") or ()}
    return Comparison(**{**row, "answers": (first, second), "members": members})


def _unnamed(row: TableRow) -> TableRow:
    return {name: value for name, value in row.items() if name != "name"}


def _probe_row(probe: Probe) -> TableRow:
    return {"name": probe.name, "steps": [_fields(step) for step in probe.steps], "fresh": probe.fresh}


def _row_probe(row: TableRow) -> Probe:
    steps = tuple(ProbeStep(**_given(step)) for step in row["steps"])
    return Probe(name=row["name"], steps=steps, fresh=bool(row.get("fresh")))


def _given(row: TableRow) -> TableRow:
    """The fields of a record; nulls and columns that an older table lacks get their defaults."""
    return {name: value for name, value in row.items() if value is not None}


def _fields(record: Any) -> TableRow:
    return {name: getattr(record, name) for name in record.__dataclass_fields__}


def _pairs(values: Any) -> list[TableRow]:
    return [{"name": name, "value": float(value)} for name, value in values.items()]


def _values(pairs: list[TableRow]) -> dict[str, float]:
    return {pair["name"]: pair["value"] for pair in pairs}
