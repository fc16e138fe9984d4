"""Headline of the report: a summary sentence and a row of figures."""

from collections.abc import Mapping, Sequence
from typing import Any

from cluster.report.charts import number, percent, spark
from cluster.report.html import Html, el

History = Sequence[Mapping[str, float]]


def lead(summary: Mapping[str, Any], exams: History) -> str:
    """Summarises the run's result in plain words."""
    valid, held, steps = _part(summary, "valid_render_rate"), _part(summary, "held_out"), summary.get("steps") or 0
    if not steps:
        return "No training step is finished yet."
    text = f"A policy that writes web pages, trained for {steps} {'step' if steps == 1 else 'steps'} on rendered pages."
    if valid.get("first") is not None and valid.get("last") is not None:
        from_to = f"from {percent(valid['first'])} to {percent(valid['last'])}"
        text += f" The share of first pages that render changed {from_to}."
    before, after = held.get("reward_before"), held.get("reward_after")
    if before is not None and after is not None and len(exams) > 1:
        moved = "rose" if after > before else "fell" if after < before else "stayed"
        from_to = f"from {before:.3f} to {after:.3f}" if moved != "stayed" else f"at {after:.3f}"
        text += f" On {held.get('tasks', 0)} held-out tasks, the reward {moved} {from_to}."
    return text


def headline(summary: Mapping[str, Any], history: History, exams: History) -> Html:
    """The most important figures of the run, as tiles."""
    tiles = (
        _valid(summary, history),
        _held_out(summary, exams),
        _accepted(summary, history),
        _violations(summary),
        _gap(summary, history),
        _speed(summary, history),
        _faults(summary),
        _time(summary),
    )
    return el("div", *tiles, class_="tiles")


def _part(summary: Mapping[str, Any], name: str) -> Mapping[str, Any]:
    return summary.get(name) or {}


def _tile(title: str, value: object, words: str, *, tone: str = "", line: Html | None = None) -> Html:
    return el("div", el("h3", title), el("p", value, class_=f"figure {tone}"), line, el("p", words), class_="tile card")


def _change(before: str, after: str) -> Html:
    return el("span", el("span", f"{before} → ", class_="from"), after)


def _values(history: History, name: str) -> list[float]:
    return [row[name] for row in history if name in row]


def _valid(summary: Mapping[str, Any], history: History) -> Html:
    rate = _part(summary, "valid_render_rate")
    if rate.get("first") is None or rate.get("last") is None:
        return _tile("Pages that render", "–", "no step yet")
    value = _change(percent(rate["first"]), percent(rate["last"]))
    line = spark(_values(history, "valid_render_rate"), "green")
    return _tile("Pages that render", value, "of first pages: first step → mean of the last three", line=line)


def _held_out(summary: Mapping[str, Any], exams: History) -> Html:
    held = _part(summary, "held_out")
    before, after = held.get("reward_before"), held.get("reward_after")
    if before is None or after is None:
        return _tile("Held-out reward", "–", "no exam yet")
    value = _change(f"{before:.3f}", f"{after:.3f}")
    row = next((row for row in reversed(exams) if row.get("mean") == after and "low" in row), None)
    if row is None:
        return _tile("Held-out reward", value, f"{held.get('tasks', 0)} tasks; no exam has beaten the first one yet")
    low, high = row["low"], row["high"]
    proven = "" if low > 0 else ", which contains zero"
    words = f"{after - before:+.3f} on {held.get('tasks', 0)} tasks, 95% interval {low:+.3f} to {high:+.3f}{proven}"
    return _tile("Held-out reward", value, words, line=spark(_values(exams, "mean"), "amber"))


def _accepted(summary: Mapping[str, Any], history: History) -> Html:
    forced = _part(summary, "forced_optimization")
    words = f"of judged revisions beat the best so far; {number(forced.get('mean_attempts') or 0.0)} attempts a round"
    line = spark(_values(history, "accept_rate"), "violet")
    return _tile("Revisions accepted", percent(forced.get("accept_rate") or 0.0), words, line=line)


def _violations(summary: Mapping[str, Any]) -> Html:
    forced = _part(summary, "forced_optimization")
    count = int(forced.get("violations") or 0)
    words = f"in {forced.get('trajectories') or 0:,} trajectories: accepted rewards must rise strictly"
    return _tile("Violations", f"{count:,}", words, tone="bad" if count else "good")


def _gap(summary: Mapping[str, Any], history: History) -> Html:
    sync = _part(summary, "weight_sync")
    words = f"largest log-prob difference after {sync.get('count') or 0:,} weight syncs"
    value = number(sync.get("max_logprob_gap") or 0.0)
    return _tile("Engine and learner agree to", value, words, line=spark(_values(history, "sync_gap"), "teal"))


def _speed(summary: Mapping[str, Any], history: History) -> Html:
    speed = _part(summary, "throughput")
    words = f"a second, rendered and judged; {number(speed.get('tokens_per_s') or 0.0)} tokens a second"
    line = spark(_values(history, "pages_per_s"), "blue")
    return _tile("Pages", number(speed.get("pages_per_s") or 0.0), words, line=line)


def _faults(summary: Mapping[str, Any]) -> Html:
    episodes = _part(summary, "episodes")
    dropped = episodes.get("dropped") or 0
    kinds = ", ".join(f"{count:,} {kind}" for kind, count in (episodes.get("faults") or {}).items())
    lost = f"{dropped:,} {'episode' if dropped == 1 else 'episodes'} dropped, none scored as zero"
    words = f"of machines ({kinds}); {lost}" if kinds else f"of machines; {lost}"
    return _tile("Faults", f"{episodes.get('machine_faults') or 0:,}", words)


def _time(summary: Mapping[str, Any]) -> Html:
    seconds = _part(summary, "seconds")
    parts = ", ".join(
        f"{name.replace('_', ' ')} {duration(seconds[name])}"
        for name in ("setup", "warm_start", "train")
        if seconds.get(name)
    )
    return _tile("Time", duration(seconds.get("total") or 0.0), parts or "so far")


def duration(seconds: float) -> str:
    """Formats seconds for reading: `48 s`, `12 min`, `3 h 20 min`."""
    if seconds < 90:
        return f"{seconds:.0f} s"
    minutes = round(seconds / 60)
    return f"{minutes} min" if minutes < 120 else f"{minutes // 60} h {minutes % 60} min"
