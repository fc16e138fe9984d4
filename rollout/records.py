"""Immutable records of an episode and an update, in order of creation.

    Task → Completion → Page → Render → Critique → Reward → Comparison → Attempt → Turn → Trajectory
         → Group → Sample, FeedbackTarget, RevisionTarget, Demonstration → Batch → Update

Units: time in seconds unless a name ends in `_ms`; lengths in CSS pixels; scores and rewards in [0, 1].
"""

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from rollout.probe_steps import Probe as Probe
from rollout.probe_steps import ProbeStep as ProbeStep
from rollout.probe_steps import StepKind as StepKind
from rollout.refusals import refused

Outcome = Literal[
    "ok",
    "no_page",
    "blank",
    "exception",
    "timeout",
    "crash",
    "too_large",
    "too_heavy",
    "blocked_navigation",
]

Verdict = Literal["accepted", "not_better", "not_preferred", "unused"]
"""Result of an attempt: `not_better` by its reward, or `not_preferred` by the comparison despite a better reward."""

Preference = Literal["old", "new", "tie"]
"""The page that a critic prefers: the best so far (`old`), or the attempt (`new`)."""

WHOLE_PAGE = "whole page"
"""Label of the full-page screenshot; for a further viewport, the label is prefixed with the size."""

SCREENS = {"desktop": "1280x800", "tablet": "820x1180", "mobile": "390x844"}
"""Named viewport sizes."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Viewport:
    """Viewport size in CSS pixels, without touch or scaling."""

    width: int
    height: int

    def __str__(self) -> str:
        """Example: `390x844`."""
        return f"{self.width}x{self.height}"

    @classmethod
    def of(cls, text: str) -> "Viewport":
        """Parses `390x844` or `mobile`. Raises ValueError unless the size is from 64x64 to 4096x4096."""
        width, _, height = SCREENS.get(text, text).partition("x")
        if not (width.isdecimal() and height.isdecimal() and all(64 <= int(side) <= 4096 for side in (width, height))):
            names = ", ".join(SCREENS)
            raise ValueError(f"got {text[:40]!r}, wanted {names}, or a size from 64x64 to 4096x4096 such as 390x844")
        return cls(width=int(width), height=int(height))


@dataclass(frozen=True, slots=True, kw_only=True)
class Task:
    """A design task for the policy. Example: `Task(id="hero-17", brief="Build a hero …", reference_html="…")`."""

    id: str
    brief: str
    reference_html: str | None = None
    """Source of the ideal page; required by the embedded critic."""
    probes: tuple[Probe, ...] = ()
    checklist: tuple[str, ...] = ()
    """Criteria that a multimodal critic checks."""
    viewports: tuple[Viewport, ...] = ()
    """Viewports: the first gets the full render, each further one a single view. Empty: those of the settings."""
    libraries: tuple[str, ...] = ()
    """Libraries that a page may load from public CDNs, named as in the run's mirror; empty if none."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Message:
    """One message of a conversation with the policy."""

    role: Literal["system", "user", "assistant"]
    content: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Request:
    """A generation request to a policy engine."""

    messages: tuple[Message, ...]
    num: int = 1
    """Number of completions of the prompt, returned in sampling order."""
    max_tokens: int
    temperature: float = 1.0
    seed: int
    """Completion `i` is sampled with its own generator, derived from `(seed, i)`."""
    stop: tuple[str, ...] = ()
    """Strings that end a completion; they remain in its text and tokens."""


@dataclass(frozen=True, slots=True, kw_only=True)
class VersionSpan:
    """Tokens `[start, end)` of a completion were sampled by weights of this version."""

    version: int
    start: int
    end: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Completion:
    """A completion exactly as the engine sampled it: it is never re-tokenised."""

    prompt_ids: tuple[int, ...]
    """[P] token ids of the prompt, as the engine received them."""
    token_ids: tuple[int, ...]
    """[T] sampled token ids."""
    logprobs: tuple[float, ...]
    """[T] log-probability of each sampled token under the distribution it was drawn from."""
    text: str
    finish: Literal["stop", "length"]
    versions: tuple[VersionSpan, ...]
    """Weight versions that sampled the tokens, covering [0, T)."""
    seconds: float = 0.0
    engine_seconds: float = 0.0
    """This completion's share of the engine's busy time, which is divided among concurrent completions."""

    @property
    def oldest_version(self) -> int:
        """The oldest weights version that sampled a token of this completion."""
        return min(span.version for span in self.versions)


@dataclass(frozen=True, slots=True, kw_only=True)
class Page:
    """The parsed page of a completion."""

    html: str | None
    """HTML source of the page, or None without a parsed page."""
    thought: str = ""
    problem: str = ""
    """Reason that no page was parsed: `no_fence`, `unclosed_fence`, `two_pages`, `empty_page`; for edits also
    `no_edit`, `page_and_edits`, `malformed_edit`, `empty_search`, `missing_search`, `ambiguous_search`; empty if one
    was."""
    detail: str = ""
    """For edits that cannot be applied, a sentence about the edit and its lines."""
    format_ok: bool = True
    """Exactly one page, or edits that quote exactly; a closed think block; nothing after them but the feedback
    request."""

    @property
    def sha256(self) -> str:
        """Content hash of the source, in hexadecimal."""
        return hashlib.sha256((self.html or "").encode("utf-8", "replace")).hexdigest()


@dataclass(frozen=True, slots=True, kw_only=True)
class Shot:
    """A reference to one screenshot, without the pixels."""

    at_ms: int
    """Page time of the screenshot in milliseconds."""
    sha256: str
    """Content hash of the PNG, in hexadecimal."""
    width: int
    height: int
    picture: Any = field(default=None, compare=False, repr=False)
    """PNG bytes within one process; a Ray object reference between processes; None when only the stored file
    remains."""
    label: str = ""
    """What else the screenshot shows: after a probe or control, a viewport, or `WHOLE_PAGE`; empty for a timed one."""


@dataclass(frozen=True, slots=True, kw_only=True)
class TextBlock:
    """One run of visible text, measured in an isolated world that the page cannot reach."""

    text: str
    x: float
    y: float
    width: float
    height: float
    color: tuple[int, int, int]
    background: tuple[int, int, int]
    font_px: float
    weight: int
    tag: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Box:
    """One visible element that is not text: an input, a button, a picture, a coloured or bordered area."""

    tag: str
    x: float
    y: float
    width: float
    height: float


@dataclass(frozen=True, slots=True, kw_only=True)
class ProbeResult:
    """Result of a probe; unless it held, `detail` gives the failed step and the observed value."""

    name: str
    held: bool
    """Whether the probe passed; only then it earns its share of the reward."""
    detail: str = ""
    inconclusive: bool = False
    """Whether the expectations could not be checked: an action was impossible, a script of the page was refused, or the
    page had ended before. Earns the same as a failure, so that a page gains nothing by making probes undecidable."""

    @property
    def verdict(self) -> Literal["pass", "fail", "inconclusive"]:
        """The result in one word."""
        if self.held:
            return "pass"
        return "inconclusive" if self.inconclusive else "fail"


@dataclass(frozen=True, slots=True, kw_only=True)
class ControlTrial:
    """Result of operating one control of a page without probes."""

    control: str
    """Kind and name of the control, such as `button "Add"`."""
    changed: bool = False
    """Whether the screenshot changed; always true for a page that moves by itself."""
    thrown: tuple[str, ...] = ()
    """Exceptions that followed. The critic receives them; they do not make the page invalid, since it had rendered."""
    detail: str = ""
    """Requests that were refused, the reason that the control could not be operated, or how it terminated the page."""


@dataclass(frozen=True, slots=True, kw_only=True)
class View:
    """A page loaded in one of the task's further viewports. Its screenshot is the shot labelled with the size."""

    viewport: Viewport
    blocks: tuple[TextBlock, ...]
    boxes: tuple[Box, ...]
    document: tuple[int, int]
    background: tuple[int, int, int]


@dataclass(frozen=True, slots=True, kw_only=True)
class Render:
    """Result of rendering a page in a browser."""

    page_sha256: str
    outcome: Outcome
    detail: str = ""
    """Message of the first exception, or the reason that the render ended early; empty on success."""
    shots: tuple[Shot, ...] = ()
    """Three timed screenshots (after load, +1 s, +2 s of page time), the full-page one if any, then the ones after
    probes or explored controls."""
    blocks: tuple[TextBlock, ...] = ()
    boxes: tuple[Box, ...] = ()
    viewport: tuple[int, int] = (0, 0)
    document: tuple[int, int] = (0, 0)
    """Width and height of the whole document, at the last screenshot before any interaction."""
    background: tuple[int, int, int] = (255, 255, 255)
    """Colour of the page's canvas."""
    title: str = ""
    console: tuple[str, ...] = ()
    exceptions: tuple[str, ...] = ()
    blocked: tuple[str, ...] = ()
    """Refused requests, oldest first, bounded in number."""
    probes: tuple[ProbeResult, ...] = ()
    explored: tuple[ControlTrial, ...] = ()
    """Controls that were operated, in order; only for pages without probes, when `browser.explore` is set."""
    views: tuple[View, ...] = ()
    """The page in the task's further viewports, in order."""
    flags: tuple[str, ...] = ()
    """Flags for the reward besides the outcome: `dialog_flood`, `nav_away`, `nondeterministic`, …"""
    renderer: str = ""
    """Browser build, engine and font set; part of every cache key."""
    seconds: float = 0.0
    cpu_seconds: float = 0.0

    @property
    def valid(self) -> bool:
        """Whether the page can earn a reward."""
        return self.outcome == "ok"


@dataclass(frozen=True, slots=True, kw_only=True)
class Critique:
    """A critic's judgment of one render."""

    score: float
    """Score in [0, 1]."""
    feedback: tuple[str, ...]
    """Up to five actionable sentences, worst fault first."""
    parts: Mapping[str, float] = field(default_factory=dict)
    """Named sub-scores, each in [0, 1]."""
    judge: str
    """Name and version of the critic: `visual-1`, `qwen2.5-vl-72b`."""
    rubric: str = ""
    temperature: float = 0.0
    tokens: int = 0
    """Tokens used by the judgment; 0 when no model was called."""
    seconds: float = 0.0
    scores: tuple[float, ...] = ()
    """Scores of the judgments sampled with seeds 0, 1, …, of which `score` is the mean; empty for a single one."""
    members: Mapping[str, "Critique"] = field(default_factory=dict)
    """Judgments of several critics by name, of which this is the weighted mean; empty for a single critic."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Comparison:
    """A critic's comparison of the best page so far with an attempt, in both orders."""

    answers: tuple[Preference, Preference]
    """Answer with the old page shown first, then with the new page shown first."""
    judge: str
    rubric: str = ""
    temperature: float = 0.0
    tokens: int = 0
    seconds: float = 0.0
    members: Mapping[str, "Comparison"] = field(default_factory=dict)
    """Comparisons of several critics by name, of which this is the weighted vote; empty for a single critic."""

    @property
    def won(self) -> bool:
        """Whether the new page was preferred in both orders, which excludes a critic's position bias."""
        return self.answers == ("new", "new")


@dataclass(frozen=True, slots=True, kw_only=True)
class Reward:
    """The reward of one page and its parts (METHOD: R = gate · Σ wᵢ·partᵢ)."""

    total: float
    gate: int
    """0 when the strict zero rule applies, else 1."""
    visual: float = 0.0
    interaction: float | None = None
    """Share of the task's probes that held; None for a task without probes."""
    format: float = 0.0
    complaint: str = ""
    """The sentence shown to the policy when the gate is 0."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Attempt:
    """One sampled answer in a round, with its page, render, judgment and verdict."""

    round: int
    index: int
    """Index in the round's sampling order."""
    completion: Completion
    page: Page
    verdict: Verdict
    reward: Reward | None = None
    """None for an attempt that was sampled past the accepted one and never judged."""
    render: Render | None = None
    """None without a page, or if the page was not rendered."""
    critique: Critique | None = None
    comparison: Comparison | None = None
    """None if no comparison was needed."""
    seconds: Mapping[str, float] = field(default_factory=dict)
    """Seconds spent in each stage: `generate`, `render`, `judge`."""

    @property
    def outcome(self) -> Outcome:
        """Render outcome of the page, or `no_page` without a render."""
        return self.render.outcome if self.render is not None else "no_page"

    @property
    def total(self) -> float:
        """The total reward. Raises ValueError if the attempt was not judged."""
        if self.reward is None:
            raise ValueError(f"attempt {self.index} of round {self.round} was never judged and has no reward")
        return self.reward.total

    @property
    def feedback(self) -> tuple[str, ...]:
        """Feedback for a revision of this page: the critique and the refused requests, or the render's error."""
        if self.critique is not None:
            refusal = refused(self.render.blocked) if self.render is not None else ""
            return (*self.critique.feedback, refusal) if refusal else self.critique.feedback
        return (self.reward.complaint,) if self.reward is not None and self.reward.complaint else ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Turn:
    """One round: the attempts that share a prompt, at most one of them accepted."""

    round: int
    attempts: tuple[Attempt, ...]

    @property
    def accepted(self) -> Attempt | None:
        """The first attempt in sampling order that improved, or None."""
        return next((attempt for attempt in self.attempts if attempt.verdict == "accepted"), None)


@dataclass(frozen=True, slots=True, kw_only=True)
class Trajectory:
    """One episode: round 0 and the revision rounds."""

    id: str
    """`<task id>/<sibling>@<seed>`."""
    task: Task
    turns: tuple[Turn, ...]
    started_at: float = field(default=0.0, compare=False)
    """Unix time at which the episode began; 0 if it was not recorded."""
    seconds: float = 0.0
    retries: int = 0
    """Number of machine faults after which the episode was retried."""
    faults: tuple[str, ...] = ()
    """The retried faults in order, each as its class and message."""
    context_full: bool = False
    """Whether the episode ended because the next prompt left no room for a page in the model's context."""

    @property
    def accepted(self) -> tuple[Attempt, ...]:
        """The accepted attempts, at most one a round, with strictly rising rewards."""
        return tuple(turn.accepted for turn in self.turns if turn.accepted is not None)

    @property
    def reward(self) -> float:
        """The best reward, which is the last accepted one."""
        return self.accepted[-1].total

    @property
    def oldest_version(self) -> int:
        """The oldest weights version that sampled a token of an accepted attempt."""
        return min(attempt.completion.oldest_version for attempt in self.accepted)


@dataclass(frozen=True, slots=True, kw_only=True)
class Group:
    """The trajectories of one task that are compared with each other."""

    task: Task
    trajectories: tuple[Trajectory, ...]
    dropped: int = 0
    """Number of siblings lost to machine faults."""
    faults: tuple[str, ...] = ()
    """The faults that dropped siblings, each as its class and message."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Sample:
    """One attempt with its advantage for training: an accepted turn, or with `siblings` also a rejected one."""

    prompt_ids: tuple[int, ...]
    token_ids: tuple[int, ...]
    logprobs: tuple[float, ...]
    """[T] log-probabilities as the engine sampled them."""
    advantage: float
    truncated: bool = False
    """Whether it was cut at the length limit; if so, it carries no policy gradient."""
    group: str = ""
    """Id of the group, for per-group diagnostics."""


@dataclass(frozen=True, slots=True, kw_only=True)
class FeedbackTarget:
    """A distillation target: given the messages, the policy should write the critic's feedback itself."""

    messages: tuple[Message, ...]
    target: str


@dataclass(frozen=True, slots=True, kw_only=True)
class RevisionTarget:
    """A distillation target: an accepted revision that the policy should write as the first page."""

    prompt_ids: tuple[int, ...]
    """The engine's prompt of the first page."""
    shown_ids: tuple[int, ...]
    """The engine's prompt of the revision, including the previous page and the feedback."""
    token_ids: tuple[int, ...]
    """[T] the revision as it was sampled."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Demonstration:
    """A target of supervised fine-tuning: an answer that the policy should write after a prompt."""

    prompt_ids: tuple[int, ...]
    """[P] token ids of the prompt, as the rollout engines build it."""
    token_ids: tuple[int, ...]
    """[T] token ids of the answer; only they carry a loss."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Batch:
    """Input of one update."""

    samples: tuple[Sample, ...]
    lessons: tuple[FeedbackTarget, ...] = ()
    hindsights: tuple[RevisionTarget, ...] = ()
    """Used instead of lessons when `learner.distill_form` selects them."""
    demonstrations: tuple[Demonstration, ...] = ()
    """Used by supervised fine-tuning; weighted as lessons are."""
    groups: int = 0
    """Number of groups with a learning signal."""
    flat_groups: int = 0
    """Number of groups dropped because all their rewards were equal."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Update:
    """Result of one learner update."""

    version: int
    """Weights version after the update; the first is 1, version 0 is the initial policy."""
    metrics: Mapping[str, float] = field(default_factory=dict)
    """`loss`, `distill_loss`, `distill_match` (share of the distilled tokens that are the policy's own first choice),
    `kl` (if enabled), `entropy`, `grad_norm`, `lr`, `clip_share`, `logprob_gap_mean`, `logprob_gap_max`,
    `ratio_tail`, `tokens`, `padding_waste`, `seconds`."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Sync:
    """Verification of one weight sync."""

    version: int
    gap: float
    """Largest absolute log-prob difference between learner and engines on the canary sequence."""
    bytes: int
    seconds: float
