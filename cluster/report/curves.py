"""Charts of the report: the metrics of each chart, and its explanation."""

from collections.abc import Mapping, Sequence

from cluster.report.charts import Series, bars, lines, number, percent, share
from cluster.report.html import Html, el

History = Sequence[Mapping[str, float]]
STAGES = {"generate": "blue", "render": "green", "judge": "amber", "wait": "grey", "learn": "violet", "sync": "red"}
POOLS = {
    "browser": ("browsers", "green"),
    "policy": ("engines", "blue"),
    "critic": ("critics", "amber"),
    "learner": ("learner", "violet"),
}
OUTCOMES = {
    "ok": "green",
    "no_page": "grey",
    "no_fence": "grey",
    "cut_before_page": "ink",
    "cut_in_page": "soft",
    "unclosed_fence": "olive",
    "two_pages": "olive",
    "empty_page": "olive",
    "exception": "red",
    "blank": "amber",
    "timeout": "violet",
    "crash": "blue",
    "too_large": "pink",
    "too_heavy": "brown",
    "blocked_navigation": "teal",
}
FIRST_PAGES = "first_pages_"
SIGNALS = {
    "signal_groups": ("signal", "green"),
    "flat_groups_failed": ("all failed", "red"),
    "flat_groups_same_page": ("same page", "violet"),
    "flat_groups_same_reward": ("same reward", "amber"),
    "flat_groups_perfect": ("all perfect", "blue"),
    "flat_groups_lost": ("lost", "grey"),
}


def curves(history: History, exams: History) -> Html:
    """All charts of a run's steps, in a grid."""
    if not history:
        return el("p", "No step is finished yet.", class_="empty")
    figures = (
        _valid(history, exams),
        _reward(history),
        _exam(exams),
        _accepted(history),
        _outcomes(history),
        _signal(history),
        _time(history),
        _idle(history),
        _entropy(history),
        _gap(history),
        _speed(history),
        _distill(history),
        _costs(history),
        _drift(history),
        _agreement(exams),
    )
    return el("div", *figures, class_="charts")


def column(history: History, name: str) -> tuple[tuple[float, float], ...]:
    """(step, value) of every row that has the metric."""
    return tuple((float(row["step"]), float(row[name])) for row in history if name in row)


def _series(history: History, name: str, label: str, tone: str) -> Series:
    return Series(name=label, points=column(history, name), tone=tone)


def _figure(title: str, words: str, chart: Html) -> Html:
    return el("figure", el("h3", title), el("p", words), chart, class_="card")


def _valid(history: History, exams: History) -> Html:
    exam = Series(name="held out", points=column(exams, "valid"), tone="amber", marks=True)
    chart = lines([_series(history, "valid_render_rate", "training", "green"), exam], show=percent, low=0.0, high=1.0)
    words = "Share of first pages that render validly: no exception, not blank, not missing. All others earn zero."
    return _figure("Pages that render", words, chart)


def _reward(history: History) -> Html:
    first = _series(history, "reward_first", "first page", "blue")
    best = _series(history, "reward_best", "best page", "green")
    chart = lines([first, best], show=share, low=0.0, fill=True)
    return _figure("Reward", "Mean over a step's episodes. The shaded area is the gain from revisions.", chart)


def _exam(exams: History) -> Html | None:
    if not exams:
        return None
    start = exams[0].get("mean", 0.0)
    spans = tuple((row["step"], start + row["low"], start + row["high"]) for row in exams if {"low", "high"} <= {*row})
    chart = lines(
        [Series(name="reward", points=column(exams, "mean"), tone="amber", spans=spans, marks=True)], show=share
    )
    words = "The same held-out tasks and seeds each time. Bars: 95% interval of the paired gain on the first exam."
    return _figure("Exam", words, chart)


def _accepted(history: History) -> Html:
    attempts = _series(history, "accept_rate", "of attempts", "violet")
    rounds = _series(history, "round_accept_rate", "of rounds", "blue")
    words = "Share of judged revisions that beat the best page so far, and of rounds in which one did."
    return _figure("Revisions accepted", words, lines([attempts, rounds], show=percent, low=0.0))


def _outcomes(history: History) -> Html | None:
    """Shares of first pages by reason; by outcome for runs that recorded no reasons."""
    counted = any(f"{FIRST_PAGES}ok" in row for row in history)
    prefix = FIRST_PAGES if counted else "outcome_"
    rows = [{key: value for key, value in row.items() if key.startswith(prefix)} for row in history]
    totals = [sum(row.values()) if counted else 1.0 for row in rows]
    seen = {key for row in rows for key, value in row.items() if value}
    order = [*OUTCOMES, *sorted({key.removeprefix(prefix) for key in seen} - {*OUTCOMES})]
    layers = {
        name.replace("_", " "): (
            [row.get(prefix + name, 0.0) / (total or 1.0) for row, total in zip(rows, totals, strict=True)],
            OUTCOMES.get(name, "grey"),
        )
        for name in order
        if prefix + name in seen
    }
    if not layers:
        return None
    words = "Outcomes of the first pages of each step. Only “ok” can earn a reward."
    return _figure("Outcomes", words, bars(_steps(history), layers, show=percent))


def _signal(history: History) -> Html | None:
    layers = {
        words: ([row.get(name, 0.0) for row in history], tone)
        for name, (words, tone) in SIGNALS.items()
        if any(row.get(name) for row in history)
    }
    if not any(row.get(name) for row in history for name in SIGNALS if name != "signal_groups"):
        return None
    words = "Groups of each step. Only groups whose episodes earn different rewards train the policy."
    return _figure("Groups with a signal", words, bars(_steps(history), layers))


def _time(history: History) -> Html:
    layers = {
        name: ([row.get(f"seconds_{name}", 0.0) for row in history], tone)
        for name, tone in STAGES.items()
        if any(f"seconds_{name}" in row for row in history)
    }
    words = (
        "Wall seconds of each step. Generation, rendering, judging and waiting for a free browser or critic overlap; "
        "the bars split the shared time between them."
    )
    return _figure("Time by stage", words, bars(_steps(history), layers, show=lambda value: f"{number(value)} s"))


def _idle(history: History) -> Html | None:
    series = [_series(history, f"idle_{name}", label, tone) for name, (label, tone) in POOLS.items()]
    if not any(one.points for one in series):
        return None
    words = "Share of each step in which a pool was idle. The pool with the least idle time is the bottleneck."
    return _figure("Idle pools", words, lines(series, show=percent, low=0.0, high=1.0))


def _entropy(history: History) -> Html:
    words = "Entropy of the policy in nats a token. At zero, the policy no longer explores."
    return _figure("Entropy", words, lines([_series(history, "entropy", "entropy", "blue")], low=0.0))


def _gap(history: History) -> Html:
    after_sync = _series(history, "sync_gap", "after sync", "green")
    training = _series(history, "logprob_gap_max", "in training", "amber")
    words = (
        "Largest log-prob difference between the inference engine and the learner, on a logarithmic scale. "
        "A small difference after a sync proves that the engine has the learner's weights."
    )
    return _figure("Log-prob gap", words, lines([after_sync, training], log=True))


def _speed(history: History) -> Html:
    words = "Pages rendered and judged per second of rollout."
    return _figure("Throughput", words, lines([_series(history, "pages_per_s", "pages/s", "teal")], low=0.0))


def _distill(history: History) -> Html | None:
    loss = _series(history, "distill_loss", "loss", "pink")
    if not loss.points:
        return None
    words = "Loss of predicting the critic's feedback, in nats a token. Self-edit depends on this prediction."
    return _figure("Feedback distillation", words, lines([loss], low=0.0))


def _costs(history: History) -> Html | None:
    tokens = _series(history, "critic_tokens", "tokens", "amber")
    if not tokens.points:
        return None
    words = "Tokens used by the critics' servers in each step, including exams, lost episodes and retries."
    return _figure("Critic tokens", words, lines([tokens], low=0.0))


def _drift(history: History) -> Html | None:
    drift = _series(history, "judge_drift", "apart", "red")
    if not drift.points:
        return None
    words = "Mean absolute difference between the judge's scores of a fixed set of pages and its first scores of them."
    return _figure("Judge drift", words, lines([drift], show=share, low=0.0))


def _agreement(exams: History) -> Html | None:
    own, chance = column(exams, "agreement"), column(exams, "agreement_by_chance")
    if not own:
        return None
    series = [
        Series(name="same page", points=own, tone="pink", marks=True),
        Series(name="another page", points=chance, tone="grey", marks=True),
    ]
    words = (
        "Agreement of the policy's critique of its exam pages with the critic's (1: the same complaints). The grey "
        "line is the agreement with critiques of other pages: only agreement above it is specific to the page."
    )
    return _figure("Self-critique", words, lines(series, show=share, low=0.0, high=1.0))


def _steps(history: History) -> list[float]:
    return [float(row["step"]) for row in history]
