"""Diagnosis of steps without a learning signal: why pages earn nothing, or siblings earn the same.

A group carries a signal when its siblings' rewards differ (`learner/losses/credit.py`). Without any such group,
rewards change no weights, possibly to the end of the run. A `Finding` is one reason with its count and an
example; `remedy` returns what usually helps.
"""

import re
from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from cluster.settings import RunSettings
from learner.losses.advantage import FLAT
from learner.losses.credit import has_signal
from learner.settings import LearnerSettings
from rollout.errors import fault_kinds
from rollout.records import Attempt, Group, Task

SILENT_STEPS = 3
"""Consecutive steps without a signal after which the run reports a remedy."""
MOSTLY = 0.5
"""Share of first pages that must earn nothing before a step with a signal reports the reason too."""
MAIN = 0.75
"""Share of the count at which one reason is reported alone in a line."""
MAX_DETAIL, MAX_BRIEF, MAX_TEXT = 160, 200, 1500
"""Maximum characters of a browser message, a brief, and an answer shown as an example."""
PLACE = re.compile(r"\s+at \S+:\d+:\d+")
"""Position of an exception within the page, in browser messages."""

PAGE_REASONS = {
    "no_fence": "no ```html block",
    "cut_before_page": "cut off at episode.max_tokens before a page began",
    "cut_in_page": "cut off at episode.max_tokens inside the page",
    "unclosed_fence": "the ```html block is never closed",
    "two_pages": "more than one ```html block",
    "empty_page": "the ```html block is empty",
    "blank": "blank page",
    "exception": "threw an exception",
    "timeout": "ran out of time or CPU",
    "crash": "crashed the browser's renderer",
    "too_large": "too large to render",
    "too_heavy": "too heavy to draw",
    "blocked_navigation": "navigated away from itself",
}
"""Reasons why a first page earns nothing. Other reasons are shown by their own name."""

EDIT_REASONS = {
    "no_edit": "no SEARCH and REPLACE block",
    "page_and_edits": "edits and a page",
    "malformed_edit": "a malformed edit",
    "empty_search": "an edit with an empty SEARCH part",
    "missing_search": "an edit of lines that the page does not have",
    "ambiguous_search": "an edit of lines that the page has more than once",
}
"""Reasons why a revision written as edits earns nothing; a first page has none of them."""

GROUP_REASONS = {
    "failed": "every sibling's page earned nothing",
    "same_page": "all siblings wrote the same page",
    "perfect": "all siblings earned the full reward",
    "same_reward": "the siblings' pages differ and their rewards do not",
    "lost": "machine faults left fewer than two siblings",
}
"""Reasons why a group carries no signal."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """One reason, its count in a step and one example. Plain data, stored in the run's state."""

    reason: str
    """A key of PAGE_REASONS or GROUP_REASONS, or an outcome that neither lists."""
    count: int
    total: int
    detail: str = ""
    """The most frequent browser message; for groups, their common reward."""
    brief: str = ""
    """The brief of the example's task, truncated."""
    text: str = ""
    """The example: the policy's answer, shortened."""

    @property
    def unit(self) -> str:
        """The counted unit: groups or first pages."""
        return "groups" if self.reason in GROUP_REASONS else "first pages"

    @property
    def words(self) -> str:
        """The reason in words, with its detail."""
        return words_of(self.reason) + (f" ({self.detail})" if self.detail else "")

    def __str__(self) -> str:
        """Example: `48 of 48 first pages: no ```html block`."""
        return f"{self.count} of {self.total} {self.unit}: {self.words}"


def words_of(reason: str) -> str:
    """The description of a reason."""
    return PAGE_REASONS.get(reason) or EDIT_REASONS.get(reason) or GROUP_REASONS.get(reason) or reason.replace("_", " ")


def page_reason(attempt: Attempt) -> str:
    """Reason of a page: a key of PAGE_REASONS, another outcome's name, or `ok`."""
    if attempt.page.html is not None or attempt.render is not None:
        return attempt.outcome
    if attempt.completion.finish == "length":
        return "cut_before_page" if attempt.page.problem in ("no_fence", "no_edit") else "cut_in_page"
    return attempt.page.problem or "no_page"


def group_reason(group: Group, settings: LearnerSettings) -> str:
    """Reason why a group carries no signal, a key of GROUP_REASONS; empty when it carries one."""
    if has_signal(group, settings):
        return ""
    best = [trajectory.accepted[-1] for trajectory in group.trajectories]
    if len(best) < 2:
        return "lost"
    if all(attempt.outcome != "ok" for attempt in best):
        return "failed"
    if min(attempt.total for attempt in best) >= 1.0 - FLAT:
        return "perfect"
    return "same_page" if len({attempt.page.sha256 for attempt in best}) == 1 else "same_reward"


def signal_metrics(groups: Sequence[Group], settings: LearnerSettings) -> dict[str, float]:
    """Counts for a step's metrics: groups with a signal, other groups by reason, first pages by reason, machine faults
    by kind. Known reasons that did not occur count 0, so that their curves have no gaps.
    """
    grouped = Counter(group_reason(group, settings) for group in groups)
    paged = Counter(page_reason(attempt) for _, attempt in _first_pages(groups))
    return {
        "signal_groups": float(grouped.pop("", 0)),
        **{f"flat_groups_{reason}": float(grouped[reason]) for reason in GROUP_REASONS},
        **{f"first_pages_{reason}": float(paged[reason]) for reason in ("ok", *PAGE_REASONS)},
        **{f"first_pages_{reason}": float(count) for reason, count in paged.items()},
        **{f"faults_{kind}": float(count) for kind, count in fault_kinds(faults_of(groups)).items()},
    }


def faults_of(groups: Sequence[Group]) -> list[str]:
    """Machine faults of a step, one line each: those that episodes survived, then those that dropped an episode."""
    survived = [fault for group in groups for trajectory in group.trajectories for fault in trajectory.faults]
    return survived + [fault for group in groups for fault in group.faults]


def diagnose(groups: Sequence[Group], settings: LearnerSettings) -> list[Finding]:
    """Findings of a step: why pages earn nothing, and why groups carry no signal.

    The first finding is the most important: when no group carries a signal, the most frequent reason for that;
    otherwise the most frequent reason why first pages earn nothing. Empty when there is nothing to report.
    """
    pages = page_findings(groups)
    flat = _group_findings(groups, settings)
    if sum(one.count for one in flat) < len(groups):
        return pages
    if pages and flat and flat[0].reason == "failed":
        return pages + flat[1:]
    return [*(one for one in flat if one.reason != "failed"), *pages]


def silent_steps(history: Sequence[Mapping[str, float]]) -> int:
    """Number of consecutive steps without a signal at the end of the history."""
    signals = (row.get("signal_groups", 1.0) for row in reversed(history))
    return next((place for place, signal in enumerate(signals) if signal), len(history))


def explain(findings: Sequence[Finding], row: Mapping[str, float]) -> str:
    """The reason in a few words; empty if the step has a signal and most first pages earned something (MOSTLY)."""
    if not findings:
        return ""
    if silent_steps([row]):
        return f"no signal: {main_reasons(findings)}"
    failed = sum(one.count for one in findings if one.unit == "first pages")
    return main_reasons(findings) if failed >= MOSTLY * findings[0].total else ""


def main_reasons(findings: Sequence[Finding]) -> str:
    """The first reason, and the next one of its unit unless the first has a share of MAIN.

    Example: `14 of 24 first pages: no ```html block; 7: blank page`.
    """
    first, *others = findings
    second = next((one for one in others if one.unit == first.unit), None)
    if second is None or first.count >= MAIN * first.total:
        return str(first)
    return f"{first}; {second.count}: {second.words}"


def remedy(finding: Finding, settings: RunSettings) -> str:
    """Remedy for a finding: the settings to change, with their current values."""
    episode, browser = settings.episode, settings.browser
    remedies = {
        "cut_before_page": f"raise episode.max_tokens (now {episode.max_tokens}); a model that reasons at length needs "
        "several thousand tokens for it, or a chat template with its reasoning switched off",
        "cut_in_page": f"raise episode.max_tokens (now {episode.max_tokens}), or train on tasks with shorter pages",
        "blank": "look at the example in the report: most often the page is drawn by a script that needs "
        "something from the network, which was refused, or its text has the colour of its background",
        "exception": "look at the example in the report: most often a script needs a library from the network, "
        "which was refused; else fine-tune the model on reference pages first, or begin with easier tasks",
        "timeout": "look at the example in the report for endless loops; heavy pages need more than "
        f"browser.cpu_budget_s (now {browser.cpu_budget_s:g} s)",
        "crash": f"look at the example in the report; heavy pages need more than browser.memory_mb "
        f"(now {browser.memory_mb})",
        "too_heavy": "look at the example in the report: WebGL and canvases are drawn in software; simpler scenes help",
        "too_large": "look at the example in the report; briefs that ask for smaller pages help",
        "blocked_navigation": "look at the example in the report: a page must not load another one",
        "same_page": f"raise episode.temperature (now {episode.temperature:g}); if siblings differed in earlier steps "
        f"the policy has collapsed: start again with a lower learner.lr (now {settings.learner.lr:g}) or a "
        "learner.kl_weight above 0",
        "perfect": "the tasks are solved: train on harder ones, or stop here",
        "same_reward": "measure the critic with `python -m cluster.calibrate`: it must score different pages "
        f"differently; more siblings (group_size, now {settings.group_size}) help where scores are coarse",
        "lost": "fix the machine faults that the events name",
    }
    return remedies.get(finding.reason) or (
        "the answers do not have the form that the system prompt asks for: use an instruction-tuned model whose chat "
        "template keeps the system message, or fine-tune the model on a few hundred pages in that form first"
    )


def _first_pages(groups: Sequence[Group]) -> list[tuple[Task, Attempt]]:
    return [(group.task, one.turns[0].attempts[0]) for group in groups for one in group.trajectories]


def page_findings(groups: Sequence[Group]) -> list[Finding]:
    """Findings about first pages that earn nothing, most frequent first."""
    first = _first_pages(groups)
    failed: dict[str, list[tuple[Task, Attempt]]] = defaultdict(list)
    for task, attempt in first:
        if (reason := page_reason(attempt)) != "ok":
            failed[reason].append((task, attempt))
    ordered = sorted(failed.items(), key=lambda item: -len(item[1]))
    return [_finding(reason, len(first), found) for reason, found in ordered]


def _finding(reason: str, total: int, found: Sequence[tuple[Task, Attempt]]) -> Finding:
    """A finding with the most frequent browser message, and the first answer that has it."""
    messages = Counter(_message(attempt) for _, attempt in found)
    message = messages.most_common(1)[0][0]
    task, example = next(one for one in found if _message(one[1]) == message)
    return Finding(
        reason=reason,
        count=len(found),
        total=total,
        detail=message,
        brief=task.brief[:MAX_BRIEF],
        text=_cut(example.completion.text),
    )


def _message(attempt: Attempt) -> str:
    """The browser's message about a page, without the position in the page, so that equal messages count together."""
    said = attempt.render.detail if attempt.render is not None else ""
    said = " ".join(PLACE.sub("", said).split())
    return "".join(letter for letter in said if letter.isprintable())[:MAX_DETAIL].rstrip(". ")


def _group_findings(groups: Sequence[Group], settings: LearnerSettings) -> list[Finding]:
    """Findings about groups without a signal, most frequent first."""
    flat: dict[str, list[Group]] = defaultdict(list)
    for group in groups:
        if reason := group_reason(group, settings):
            flat[reason].append(group)
    findings = []
    for reason, found in sorted(flat.items(), key=lambda item: -len(item[1])):
        rewards = {round(trajectory.reward, 3) for group in found for trajectory in group.trajectories}
        detail = f"reward {rewards.pop():.3f}" if len(rewards) == 1 and reason in ("same_page", "same_reward") else ""
        example = next((one.accepted[-1] for group in found for one in group.trajectories), None)
        text = _cut(example.completion.text) if example is not None else ""
        brief = found[0].task.brief[:MAX_BRIEF]
        findings.append(
            Finding(reason=reason, count=len(found), total=len(groups), detail=detail, brief=brief, text=text)
        )
    return findings


def _cut(text: str) -> str:
    """Shortens a long answer to its beginning and end: where a page should begin, and where an answer was cut off."""
    if len(text) <= MAX_TEXT:
        return text
    head = 2 * MAX_TEXT // 3
    tail = MAX_TEXT // 3
    return f"{text[:head]}\n… {len(text) - head - tail:,} characters …\n{text[-tail:]}"
