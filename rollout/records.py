"""The records, in the order they are born. None changes after birth.

    Task → Completion → Page → Render → Critique → Reward → Comparison → Attempt → Turn → Trajectory
         → Group → Sample, Lesson, Hindsight → Batch → Update

Units: time in seconds unless a name ends in `_ms`; lengths in CSS pixels; scores and rewards in [0, 1].
"""

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from rollout.refusals import refused

StepKind = Literal[
    "click",
    "type",
    "press",
    "hover",
    "wait",
    "expect_text",
    "expect_visible",
    "expect_hidden",
    "expect_attribute",
    "expect_style",
    "expect_change",
]

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
"""What became of an attempt: `not_better` by its reward, `not_preferred` by a comparison that its reward had earned."""

Preference = Literal["old", "new", "tie"]
"""Which of two pages a critic would rather have: the best so far, or the attempt."""

WHOLE_PAGE = "whole page"
"""Label of the picture that shows a page beyond its first screen; on a further screen, the size stands before it."""

SCREENS = {"desktop": "1280x800", "tablet": "820x1180", "mobile": "390x844"}
"""Sizes that have a name."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ProbeStep:
    """One thing a probe does to a page, or expects of it.

    Example: `ProbeStep(kind="click", selector="#more")`,
    `ProbeStep(kind="expect_style", selector=".bar", name="width", value="50px")`.
    """

    kind: StepKind
    selector: str = ""
    """CSS selector of the first matching element; unused by `press`, `wait` and `expect_change`."""
    value: str = ""
    """Text to type, key to press, milliseconds to wait, or the value that is expected.

    `expect_text` holds when the element's visible text contains it; `expect_attribute` and
    `expect_style` when the value is equal. `expect_change` holds when the picture differs from the
    one before the probe's first step."""
    name: str = ""
    """The attribute or computed style property that is expected."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Probe:
    """An interaction with a page that holds or does not: actions, then expectations, in order."""

    name: str
    steps: tuple[ProbeStep, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Viewport:
    """What a screen shows of a page, in CSS pixels: a size alone, without touch or scaling."""

    width: int
    height: int

    def __str__(self) -> str:
        """Example: `390x844`."""
        return f"{self.width}x{self.height}"

    @classmethod
    def of(cls, text: str) -> "Viewport":
        """From `390x844` or `mobile`. Raises ValueError for what is no size from 64x64 to 4096x4096."""
        width, _, height = SCREENS.get(text, text).partition("x")
        if not (width.isdecimal() and height.isdecimal() and all(64 <= int(side) <= 4096 for side in (width, height))):
            names = ", ".join(SCREENS)
            raise ValueError(f"got {text[:40]!r}, wanted {names}, or a size from 64x64 to 4096x4096 such as 390x844")
        return cls(width=int(width), height=int(height))


@dataclass(frozen=True, slots=True, kw_only=True)
class Task:
    """What the policy is asked for. Example: `Task(id="hero-17", brief="Build a hero …", reference_html="…")`."""

    id: str
    brief: str
    reference_html: str | None = None
    """What a perfect answer looks like; the embedded critic needs it."""
    probes: tuple[Probe, ...] = ()
    checklist: tuple[str, ...] = ()
    """What a multimodal critic is told to look for."""
    viewports: tuple[Viewport, ...] = ()
    """The screens a page is looked at on: fully on the first, once on each of the others; none are the settings'."""
    libraries: tuple[str, ...] = ()
    """What a page may load from public CDNs, as the run's mirror names it; empty where nothing loads."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Message:
    """One message of a conversation with the policy."""

    role: Literal["system", "user", "assistant"]
    content: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Request:
    """What a policy engine is asked to write."""

    messages: tuple[Message, ...]
    num: int = 1
    """Completions wanted, all from the one prompt, in sampling order."""
    max_tokens: int
    temperature: float = 1.0
    seed: int
    """Completion `i` is sampled with a generator of its own, derived from `(seed, i)`."""
    stop: tuple[str, ...] = ()
    """Strings that end a completion; they stay in its text and its tokens."""


@dataclass(frozen=True, slots=True, kw_only=True)
class VersionSpan:
    """Tokens `[start, end)` of a completion were sampled by weights of this version."""

    version: int
    start: int
    end: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Completion:
    """What the engine wrote, exactly as it sampled it: nothing is ever re-tokenised."""

    prompt_ids: tuple[int, ...]
    """[P] token ids of the prompt, as the engine saw them."""
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
    """This completion's part of the time its engine was busy: shared with all that were written at once."""

    @property
    def oldest_version(self) -> int:
        """The oldest weights that sampled any token of this completion."""
        return min(span.version for span in self.versions)


@dataclass(frozen=True, slots=True, kw_only=True)
class Page:
    """What was parsed from a completion."""

    html: str | None
    """The page's source, or None when none can be parsed."""
    thought: str = ""
    problem: str = ""
    """Why no page could be parsed: `no_fence`, `unclosed_fence`, `two_pages`, `empty_page`; empty when one was."""
    format_ok: bool = True
    """Exactly one page, a closed think block, nothing after the page but the feedback request."""

    @property
    def sha256(self) -> str:
        """Content hash of the source, in hexadecimal."""
        return hashlib.sha256((self.html or "").encode("utf-8", "replace")).hexdigest()


@dataclass(frozen=True, slots=True, kw_only=True)
class Shot:
    """A reference to one screenshot; the pixels stay where they are."""

    at_ms: int
    """Page time of the picture."""
    sha256: str
    """Content hash of the PNG, in hexadecimal."""
    width: int
    height: int
    picture: Any = field(default=None, compare=False, repr=False)
    """PNG bytes in one process; a Ray object reference between processes; None once only the kept file is left."""
    label: str = ""
    """What the picture shows beyond a page at a time: the probe or the control it followed, the viewport, or
    `WHOLE_PAGE`."""


@dataclass(frozen=True, slots=True, kw_only=True)
class TextBlock:
    """One run of visible text, measured by the browser in a world the page cannot reach."""

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
    """Whether a probe held; when not, `detail` says which step failed and what was found."""

    name: str
    held: bool
    detail: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class ControlTrial:
    """What came of operating one control of a page that has no probes."""

    control: str
    """Its kind and name, such as `button "Add"`."""
    changed: bool = False
    """Whether the picture is another one; always so where the page moves by itself."""
    thrown: tuple[str, ...] = ()
    """Exceptions it led to. They are told to the critic and cost no validity: the page had rendered by then."""
    detail: str = ""
    """What it asked for and did not get, or why it could not be operated, or how it ended the page."""


@dataclass(frozen=True, slots=True, kw_only=True)
class View:
    """A page as it was loaded on one of the task's further screens. Its picture is the shot labelled with the size."""

    viewport: Viewport
    blocks: tuple[TextBlock, ...]
    boxes: tuple[Box, ...]
    document: tuple[int, int]
    background: tuple[int, int, int]


@dataclass(frozen=True, slots=True, kw_only=True)
class Render:
    """What a browser made of a page."""

    page_sha256: str
    outcome: Outcome
    detail: str = ""
    """The first exception's message, or what ended the render; empty when all is well."""
    shots: tuple[Shot, ...] = ()
    """Three timed pictures (after load, +1 s, +2 s of page time), then that of the whole page where there is one, then
    those that followed probes or explorations."""
    blocks: tuple[TextBlock, ...] = ()
    boxes: tuple[Box, ...] = ()
    viewport: tuple[int, int] = (0, 0)
    document: tuple[int, int] = (0, 0)
    """Width and height of the whole document, when it was last pictured before anything was operated."""
    background: tuple[int, int, int] = (255, 255, 255)
    """Colour of the page's canvas."""
    title: str = ""
    console: tuple[str, ...] = ()
    exceptions: tuple[str, ...] = ()
    blocked: tuple[str, ...] = ()
    """Requests that were refused, oldest first, bounded."""
    probes: tuple[ProbeResult, ...] = ()
    explored: tuple[ControlTrial, ...] = ()
    """The controls that were operated, in order: of pages without probes, where `browser.explore` asks for it."""
    views: tuple[View, ...] = ()
    """The page on the task's further screens, in their order."""
    flags: tuple[str, ...] = ()
    """What the reward should know beyond the outcome: `dialog_flood`, `nav_away`, `nondeterministic`, …"""
    renderer: str = ""
    """Browser build, engine and font set: part of every cache key."""
    seconds: float = 0.0
    cpu_seconds: float = 0.0

    @property
    def valid(self) -> bool:
        """Whether the page may earn a reward at all."""
        return self.outcome == "ok"


@dataclass(frozen=True, slots=True, kw_only=True)
class Critique:
    """A critic's judgment of one render."""

    score: float
    """In [0, 1]."""
    feedback: tuple[str, ...]
    """Up to five sentences a writer can act on, worst fault first."""
    parts: Mapping[str, float] = field(default_factory=dict)
    """Named sub-scores, each in [0, 1]."""
    judge: str
    """Who judged, with its version: `visual-1`, `qwen2.5-vl-72b`."""
    rubric: str = ""
    temperature: float = 0.0
    tokens: int = 0
    """What the judgment cost; 0 where no model was asked."""
    seconds: float = 0.0
    scores: tuple[float, ...] = ()
    """Of the single judgments that `score` is the mean of, sampled with seeds 0, 1, …; empty for one alone."""
    members: Mapping[str, "Critique"] = field(default_factory=dict)
    """By name, the judgments of several critics, whose weighted mean this is; empty for one critic alone."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Comparison:
    """What a critic said when it was shown the best page so far and an attempt side by side, in both orders."""

    answers: tuple[Preference, Preference]
    """With the old page shown first, then with the new one shown first."""
    judge: str
    rubric: str = ""
    temperature: float = 0.0
    tokens: int = 0
    seconds: float = 0.0
    members: Mapping[str, "Comparison"] = field(default_factory=dict)
    """By name, what several critics said, whose weighted vote this is; empty for one critic alone."""

    @property
    def won(self) -> bool:
        """Whether the new page was preferred in both orders: a critic that favours a place prefers nothing."""
        return self.answers == ("new", "new")


@dataclass(frozen=True, slots=True, kw_only=True)
class Reward:
    """The reward of one page and what it is made of (METHOD: R = gate · Σ wᵢ·partᵢ)."""

    total: float
    gate: int
    """0 when the strict zero rule applies, else 1."""
    visual: float = 0.0
    interaction: float | None = None
    """Share of the task's probes that held; None for a task without probes."""
    format: float = 0.0
    complaint: str = ""
    """The sentence the policy is shown when the gate is 0."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Attempt:
    """One sampled answer in one round, and all that became of it."""

    round: int
    index: int
    """Place in the round's sampling order."""
    completion: Completion
    page: Page
    verdict: Verdict
    reward: Reward | None = None
    """None for an attempt that was sampled past the accepted one and never judged."""
    render: Render | None = None
    """None when there was no page to render, or nobody looked."""
    critique: Critique | None = None
    comparison: Comparison | None = None
    """None where its reward decided alone."""
    seconds: Mapping[str, float] = field(default_factory=dict)
    """Time spent in each stage: `generate`, `render`, `judge`."""

    @property
    def outcome(self) -> Outcome:
        """What became of the page."""
        return self.render.outcome if self.render is not None else "no_page"

    @property
    def total(self) -> float:
        """The reward. Raises ValueError for an attempt that nobody judged."""
        if self.reward is None:
            raise ValueError(f"attempt {self.index} of round {self.round} was never judged and has no reward")
        return self.reward.total

    @property
    def feedback(self) -> tuple[str, ...]:
        """What a reviser of this page is told: the critic's words and what was refused, or the render's own error."""
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
        """The first attempt in sampling order that improved, if any did."""
        return next((attempt for attempt in self.attempts if attempt.verdict == "accepted"), None)


@dataclass(frozen=True, slots=True, kw_only=True)
class Trajectory:
    """One episode: round 0 and the revisions that were tried."""

    id: str
    """`<task id>/<sibling>@<seed>`."""
    task: Task
    turns: tuple[Turn, ...]
    seconds: float = 0.0
    retries: int = 0
    """Machine faults that were survived on the way."""
    faults: tuple[str, ...] = ()
    """Those faults in order, each as its kind and its message."""
    context_full: bool = False
    """Whether the episode ended because its next prompt left no room for a page in the model's context."""

    @property
    def accepted(self) -> tuple[Attempt, ...]:
        """The accepted attempts, one a round, rewards strictly rising."""
        return tuple(turn.accepted for turn in self.turns if turn.accepted is not None)

    @property
    def reward(self) -> float:
        """The best reward, which is the last accepted one."""
        return self.accepted[-1].total

    @property
    def oldest_version(self) -> int:
        """The oldest weights that wrote any accepted token."""
        return min(attempt.completion.oldest_version for attempt in self.accepted)


@dataclass(frozen=True, slots=True, kw_only=True)
class Group:
    """The trajectories of one task that are compared with each other."""

    task: Task
    trajectories: tuple[Trajectory, ...]
    dropped: int = 0
    """Siblings lost to machine faults."""
    faults: tuple[str, ...] = ()
    """The faults that dropped siblings, each as its kind and its message."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Sample:
    """One credited attempt, ready to learn from: an accepted turn, or under `siblings` a rejected one too."""

    prompt_ids: tuple[int, ...]
    token_ids: tuple[int, ...]
    logprobs: tuple[float, ...]
    """[T] as the engine sampled them."""
    advantage: float
    truncated: bool = False
    """Cut at the length limit: carries no policy gradient."""
    group: str = ""
    """Id of the group, for per-group diagnostics."""


@dataclass(frozen=True, slots=True, kw_only=True)
class FeedbackTarget:
    """Critic's words to be learnt: given the messages, the policy should write the target itself."""

    messages: tuple[Message, ...]
    target: str


@dataclass(frozen=True, slots=True, kw_only=True)
class RevisionTarget:
    """An accepted revision that should have been the first page: what the policy wrote once it was shown feedback."""

    prompt_ids: tuple[int, ...]
    """The engine's prompt of the first page."""
    shown_ids: tuple[int, ...]
    """The engine's prompt of the revision: the page before it and the feedback too."""
    token_ids: tuple[int, ...]
    """[T] the revision as it was sampled."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Batch:
    """What one update learns from."""

    samples: tuple[Sample, ...]
    lessons: tuple[FeedbackTarget, ...] = ()
    hindsights: tuple[RevisionTarget, ...] = ()
    """In place of lessons where `learner.distill_form` asks for them."""
    groups: int = 0
    """Groups that carried a signal."""
    flat_groups: int = 0
    """Groups dropped because all their rewards were equal."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Update:
    """What one learner update did."""

    version: int
    """Weights version after it; the first is 1, version 0 is the policy training began with."""
    metrics: Mapping[str, float] = field(default_factory=dict)
    """`loss`, `distill_loss`, `distill_match` (share of the distilled tokens that are the policy's own first choice),
    `kl` (where one is wanted), `entropy`, `grad_norm`, `lr`, `clip_share`, `logprob_gap_mean`, `logprob_gap_max`,
    `ratio_tail`, `tokens`, `padding_waste`, `seconds`."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Sync:
    """Proof of one weight sync."""

    version: int
    gap: float
    """Largest absolute log-prob difference between learner and engines on the canary sequence."""
    bytes: int
    seconds: float
