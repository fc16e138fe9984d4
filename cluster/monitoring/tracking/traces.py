"""Episodes as MLflow traces: spans of generation, rendering, judgment and decision, with screenshots and scores.

The ids of a trace derive from the MLflow run, the step and the episode, so a repeated delivery replaces the trace.
"""

import hashlib
import json
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from rollout.records import Attempt, Trajectory

MAX_PAGE_CHARS = 20_000
"""Characters of a page or an answer that a span keeps."""
MAX_PREVIEW_CHARS = 400
PNG = "image/png"


@dataclass(kw_only=True)
class EpisodeTrace:
    """One episode as plain values: spans in the form of OpenTelemetry, assessments, and screenshots by id."""

    trace_id: str
    started_ns: int
    ended_ns: int
    spans: list[dict[str, Any]] = field(default_factory=list)
    scores: list[dict[str, Any]] = field(default_factory=list)
    """Assessments: `name`, `value`, `judge`, `why`, and the `span` that was judged."""
    pictures: dict[str, bytes] = field(default_factory=dict)
    """PNG of each attachment."""


class TraceBuilder:
    """Builds the traces of one MLflow run."""

    def __init__(self, run: str, speculate: int, picture: Callable[[str], bytes | None]) -> None:
        """`speculate` is the number of attempts sampled together; `picture` gives the PNG of a screenshot's hash."""
        self.run, self.speculate, self.picture = run, speculate, picture

    def build(self, trajectory: Trajectory, step: int) -> EpisodeTrace:
        """The trace of an episode; an episode without a recorded start begins at time 0."""
        digest = hashlib.sha256(f"{self.run}/{step}/{trajectory.id}".encode()).hexdigest()[:32]
        started = int(trajectory.started_at * 1e9)
        trace = EpisodeTrace(
            trace_id=f"tr-{digest}", started_ns=started, ended_ns=started + int(trajectory.seconds * 1e9)
        )
        root = self._span(
            trace,
            "episode",
            "CHAIN",
            (trace.started_ns, trace.ended_ns),
            inputs={"task": trajectory.task.id, "brief": trajectory.task.brief},
            outputs={
                "reward": trajectory.reward,
                "rounds": len(trajectory.turns) - 1,
                "page": (trajectory.accepted[-1].page.html or "")[:MAX_PAGE_CHARS],
            },
        )
        root["events"] = [
            {"name": "retried machine fault", "time_unix_nano": started, "attributes": {"fault": fault}}
            for fault in trajectory.faults
        ]
        at = started
        for turn in trajectory.turns:
            for place in range(0, len(turn.attempts), self.speculate):
                at = self._sampled_together(trace, root, turn.attempts[place : place + self.speculate], at)
        return trace

    def _sampled_together(
        self, trace: EpisodeTrace, root: Mapping[str, Any], attempts: tuple[Attempt, ...], at: int
    ) -> int:
        """Adds attempts whose generation began at the same time; they are rendered and judged in order."""
        ready = at + max(_ns(attempt.completion.seconds) for attempt in attempts)
        for attempt in attempts:
            ready = self._attempt(trace, root, attempt, at, ready)
        return ready

    def _attempt(self, trace: EpisodeTrace, root: Mapping[str, Any], attempt: Attempt, at: int, ready: int) -> int:
        rendered = ready + _ns(attempt.seconds.get("render", 0.0))
        judged = rendered + _ns(attempt.seconds.get("judge", 0.0))
        parent = self._span(
            trace, f"round {attempt.round}, attempt {attempt.index}", "AGENT", (at, judged), parent=root,
            outputs={"verdict": attempt.verdict, "outcome": attempt.outcome},
        )  # fmt: skip
        completion = attempt.completion
        self._span(
            trace, "generate", "LLM", (at, at + _ns(completion.seconds)), parent=parent,
            inputs={"prompt_tokens": len(completion.prompt_ids), "weights": completion.versions[0].version},
            outputs={
                "text": completion.text[:MAX_PAGE_CHARS], "tokens": len(completion.token_ids),
                "finish": completion.finish, "engine_seconds": completion.engine_seconds,
            },
        )  # fmt: skip
        if attempt.render is not None:
            self._render(trace, parent, attempt, (ready, rendered))
        if attempt.critique is not None:
            self._judgment(trace, parent, attempt, (rendered, judged))
        if attempt.reward is not None:
            self._span(trace, "decision", "TASK", (judged, judged), parent=parent, outputs=_decision(attempt))
        return judged

    def _render(self, trace: EpisodeTrace, parent: Mapping[str, Any], attempt: Attempt, times: tuple[int, int]) -> None:
        render = attempt.render
        assert render is not None
        outputs: dict[str, Any] = {"outcome": render.outcome, "detail": render.detail, "flags": list(render.flags)}
        for shot in render.shots[:1]:
            if png := self.picture(shot.sha256):
                name = _uuid(trace.trace_id, attempt.round, attempt.index)
                trace.pictures[name] = png
                outputs["screenshot"] = (
                    f"mlflow-attachment://{name}?content_type=image%2Fpng&trace_id={trace.trace_id}&size={len(png)}"
                )
        page = (attempt.page.html or "")[:MAX_PAGE_CHARS]
        status = "OK" if render.valid else "ERROR"
        self._span(trace, "render", "TOOL", times, parent=parent, inputs={"page": page}, outputs=outputs, status=status)

    def _judgment(
        self, trace: EpisodeTrace, parent: Mapping[str, Any], attempt: Attempt, times: tuple[int, int]
    ) -> None:
        critique = attempt.critique
        assert critique is not None
        outputs = {"score": critique.score, "parts": dict(critique.parts), "feedback": list(critique.feedback)}
        span = self._span(trace, "judge", "EVALUATOR", times, parent=parent, outputs=outputs)
        for name, one in (critique.members or {"critic": critique}).items():
            trace.scores.append(
                {
                    "name": f"{name} score",
                    "value": one.score,
                    "judge": one.judge,
                    "model": one.tokens > 0,
                    "why": " ".join(one.feedback),
                    "span": span["span_id"],
                }
            )

    def _span(
        self,
        trace: EpisodeTrace,
        name: str,
        kind: str,
        times: tuple[int, int],
        *,
        parent: Mapping[str, Any] | None = None,
        inputs: Mapping[str, Any] | None = None,
        outputs: Mapping[str, Any] | None = None,
        status: str = "OK",
    ) -> dict[str, Any]:
        attributes: dict[str, Any] = {"mlflow.traceRequestId": trace.trace_id, "mlflow.spanType": kind}
        attributes |= {"mlflow.spanInputs": inputs} if inputs else {}
        attributes |= {"mlflow.spanOutputs": outputs} if outputs else {}
        span = {
            "trace_id": trace.trace_id,
            "span_id": f"{len(trace.spans) + 1:016x}",
            "parent_span_id": parent["span_id"] if parent else None,
            "name": name,
            "start_time_unix_nano": times[0],
            "end_time_unix_nano": times[1],
            "attributes": {key: json.dumps(value) for key, value in attributes.items()},
            "status": {"code": status},
        }
        trace.spans.append(span)
        return span


def entities(
    trace: EpisodeTrace, trajectory: Trajectory, *, experiment: str, run: str, tags: Mapping[str, str]
) -> tuple[Any, list[Any]]:
    """MLflow's TraceInfo and spans of a trace."""
    from mlflow.entities import Span, TraceInfo, TraceLocation, TraceState

    info = TraceInfo(
        trace_id=trace.trace_id,
        trace_location=TraceLocation.from_experiment_id(experiment),
        request_time=trace.started_ns // 1_000_000,
        execution_duration=(trace.ended_ns - trace.started_ns) // 1_000_000,
        state=TraceState.OK,
        request_preview=clean(f"{trajectory.task.id}: {trajectory.task.brief}", MAX_PREVIEW_CHARS),
        response_preview=_preview(trajectory),
        trace_metadata={"mlflow.sourceRun": run},
        tags={"mlflow.traceName": "episode", **tags},
        assessments=list(_assessments(trace)),
    )
    return info, [Span.from_dict(span) for span in trace.spans]


def _assessments(trace: EpisodeTrace) -> Iterator[Any]:
    from mlflow.entities import AssessmentSource, Feedback

    for number, score in enumerate(trace.scores):
        source = AssessmentSource("LLM_JUDGE" if score["model"] else "CODE", score["judge"])
        feedback = Feedback(
            name=score["name"], value=score["value"], source=source, rationale=score["why"] or None,
            trace_id=trace.trace_id, span_id=score["span"],
        )  # fmt: skip
        feedback.assessment_id = f"a-{_uuid(trace.trace_id, 'score', number).replace('-', '')}"
        yield feedback


def _decision(attempt: Attempt) -> dict[str, Any]:
    assert attempt.reward is not None
    reward = attempt.reward
    parts = {"visual": reward.visual, "interaction": reward.interaction, "format": reward.format}
    compared = attempt.comparison
    preferences = {"preferred": list(compared.answers)} if compared is not None else {}
    return {"verdict": attempt.verdict, "reward": reward.total, **parts, "complaint": reward.complaint, **preferences}


def _preview(trajectory: Trajectory) -> str:
    first, rounds = trajectory.turns[0].attempts[0], len(trajectory.turns) - 1
    return f"{first.outcome}: reward {first.total:.3f} → {trajectory.reward:.3f} in {rounds} revision rounds"


def clean(text: str, most: int) -> str:
    """The first `most` characters of a text, without lone surrogates, which databases refuse."""
    return text[:most].encode("utf-8", "replace").decode()


def _uuid(*parts: object) -> str:
    """A UUID that depends only on the parts."""
    text = hashlib.sha256("/".join(map(str, parts)).encode()).hexdigest()
    return f"{text[:8]}-{text[8:12]}-4{text[13:16]}-8{text[17:20]}-{text[20:32]}"


def _ns(seconds: float) -> int:
    return int(seconds * 1e9)
