"""Writes the Markdown page of claims: tables and charts, all computed from finished runs."""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from math import isfinite
from pathlib import Path
from statistics import fmean

from cluster.experiments.claims.claim import (
    CLAIMS,
    FEWEST_SEEDS,
    Claim,
    ClaimResult,
    Results,
    find,
    reward_gain,
    rewards,
)
from cluster.experiments.claims.results import Result
from cluster.report import page
from cluster.report.charts import Series, lines, percent, share
from cluster.report.html import Html
from rollout.files import atomic_write

SHOWN = {"relook": "green", "vision_only": "blue", "no_forcing": "amber", "no_zero_rule": "red"}
"""Variants that are drawn, and their colours."""
WRITERS = ("relook", "vision_only", "no_distillation")
"""Variants in the inference table. No claim uses the others' inference results, so their tables are shorter."""
WIDER = 700
"""Width of a standalone chart; variants have longer names than lines of a report."""
READING = f"""A claim holds where the interval of its difference lies above 0, with at least {FEWEST_SEEDS} seeds. Runs
are paired by seed, exams also by task. Quantities by task have a bootstrap interval over seeds and tasks
(`learner/promotion.py`), which is rather too narrow than too wide with few seeds; quantities with one value per run
have Student's interval over seeds. No interval is corrected for the number of claims. Held-out rewards are those of
first pages after the last step, not of the champion, and follow the zero rule for all variants; only the inference
table uses each variant's own reward."""


def write_claims(out: Path, results: Results, titles: Mapping[str, str]) -> None:
    """Writes the page, and its charts into a folder with the page's name; `titles` lists the variants in order.

    Raises StorageFault.
    """
    drawn = {"valid": _valid_curves(results, titles), "rounds": _round_curves(results, titles)}
    pictures = {name: picture(chart) for name, chart in drawn.items() if chart.startswith("<svg")}
    for name, svg in pictures.items():
        atomic_write(out.with_suffix("") / f"{name}.svg", svg.encode())
    links = {name: f"![{name}]({out.stem}/{name}.svg)" for name in pictures}
    atomic_write(out, "\n".join([*_page(results, titles, links), ""]).encode())


def picture(chart: Html) -> str:
    """Converts a chart of the report into a standalone SVG file."""
    css = Path(str(page.__file__)).with_name("report.css").read_text(encoding="utf-8")
    css += f"svg.chart {{ width: {WIDER}px; font-family: 'Liberation Sans', Helvetica, Arial, sans-serif; }}"
    start, view, rest = chart.partition(' viewBox="0 0 ')
    height = rest.split('"', 1)[0].split()[-1]
    body = rest.partition(">")[2]
    return (
        f'{start} xmlns="http://www.w3.org/2000/svg" width="{WIDER}" height="{height}"{view}{WIDER} {height}" '
        f'class="chart"><style><![CDATA[{css}]]></style>{body}'
    )


def _page(results: Results, titles: Mapping[str, str], links: Mapping[str, str]) -> Iterator[str]:
    found = [(claim, find(results, claim.variant, claim.against, claim.of, claim.than)) for claim in CLAIMS]
    proven = sum(finding is not None and finding.low > 0 for _, finding in found)
    yield from ("# Results of this system", "")
    yield "Written by `python -m cluster.reproduce` from finished runs; all numbers are computed."
    yield from _scale(results)
    yield from ("", f"**{proven} of {len(found)} claims hold at this scale.**", "")
    yield from _rows(["claim", "difference", "mean", "95 % interval", "seeds", "verdict"], map(_claim_row, found))
    yield from ("", READING, "", "## Held-out tasks", "")
    yield from _held_out(results, titles)
    yield from ("", "## First pages that render, in training", "", links.get("valid", ""), "")
    yield from _training(results, titles)
    yield from ("", "## Reward of the best page after each round, last steps of training", "")
    yield from (links.get("rounds", ""), "")
    yield from _rounds(results, titles)
    yield from ("", "## First revisions before selection, last steps of training", "")
    yield from _revisions(results, titles)
    yield from ("", "## Inference, with the trained policy", "")
    yield from _inference(results, titles)


def _scale(results: Results) -> Iterator[str]:
    runs = [run for seeds in results.values() for run in seeds.values()]
    if not runs:
        yield "No run is finished yet."
        return
    steps = sorted({int(run.summary["steps"]) for run in runs})
    minutes = sum(run.summary["seconds"]["total"] for run in runs) / 60
    versions = ", ".join(sorted({run.code_version[:12] for run in runs}))
    faults = sum(run.summary["episodes"]["machine_faults"] for run in runs)
    yield (
        f"{len(runs)} runs of {' or '.join(map(str, steps))} steps, {minutes:.0f} minutes in total, "
        f"{len(runs[0].after.rewards)} held-out tasks, {faults} recovered machine faults, code {versions}."
    )


def _claim_row(found: tuple[Claim, ClaimResult | None]) -> list[str]:
    claim, finding = found
    if finding is None:
        return [claim.text, claim.what, "–", "–", "0", "not run"]
    return [claim.text, claim.what, f"{finding.mean:+.3f}", _interval(finding), str(finding.seeds), finding.verdict]


def _held_out(results: Results, titles: Mapping[str, str]) -> Iterator[str]:
    runs = [run for seeds in results.values() for run in seeds.values()]
    rows = [_base_row(runs)] if runs else []
    for variant, title in titles.items():
        gain = find(results, variant, None, reward_gain)
        if gain is not None:
            less = None if variant == "relook" else find(results, variant, "relook", rewards)
            mine = list(results[variant].values())
            reward, valid = _mean(mine, lambda run: run.after.rewards), _mean(mine, lambda run: run.after.valid)
            row = [title, str(gain.seeds), f"{reward:.3f}", _found(gain), percent(valid), _found(less)]
            rows.append(row)
    yield from _rows(["variant", "seeds", "reward", "gain over the base", "valid", "minus ReLook's reward"], rows)


def _base_row(runs: Sequence[Result]) -> list[str]:
    reward, valid = _mean(runs, lambda run: run.before.rewards), _mean(runs, lambda run: run.before.valid)
    return ["base policy", "–", f"{reward:.3f}", "–", percent(valid), "–"]


def _mean(runs: Sequence[Result], values: Callable[[Result], Mapping[str, float]]) -> float:
    return fmean(fmean(values(run).values()) for run in runs)


def _found(finding: ClaimResult | None) -> str:
    return "–" if finding is None else f"{finding.mean:+.3f} ({_interval(finding)})"


def _training(results: Results, titles: Mapping[str, str]) -> Iterator[str]:
    rows = []
    for variant, title in titles.items():
        rates = [run.summary["valid_render_rate"] for run in results.get(variant, {}).values()]
        if rates:
            rows.append([title, percent(fmean(r["first"] for r in rates)), percent(fmean(r["last"] for r in rates))])
    yield from _rows(["variant", "first step", "mean of the last three"], rows)


def _rounds(results: Results, titles: Mapping[str, str]) -> Iterator[str]:
    means = {variant: _mean_rounds(results, variant) for variant in titles}
    most = max(map(len, means.values()), default=0)
    rows = [
        [titles[variant], *(share(value) for value in values), *[""] * (most - len(values))]
        for variant, values in means.items()
        if values
    ]
    yield from _rows(["variant", "first page", *(f"round {number}" for number in range(1, most))], rows)


def _revisions(results: Results, titles: Mapping[str, str]) -> Iterator[str]:
    rows = []
    for variant, title in titles.items():
        found = [run.revised for run in results.get(variant, {}).values() if run.revised is not None]
        if found:
            after_zero = [one.after_zero for one in found if one.after_zero is not None]
            columns = [[getattr(one, name) for one in found] for name in ("page", "attempt", "best")]
            means = [f"{fmean(values):.3f}" if values else "–" for values in [*columns, after_zero]]
            rows.append([title, *means, percent(fmean(one.better for one in found))])
    head = ["variant", "first page", "first attempt", "best attempt", "first attempt for pages that earned 0"]
    yield from _rows([*head, "share of better first attempts"], rows)


def _inference(results: Results, titles: Mapping[str, str]) -> Iterator[str]:
    rows = []
    for variant in WRITERS:
        runs = list(results.get(variant, {}).values())
        for name, row, suffix in _ways(runs):
            reward, valid, tokens, seconds = (
                fmean(run.inference(row, f"{column}{suffix}") for run in runs)
                for column in ("reward", "valid", "tokens", "seconds")
            )
            title = titles.get(variant, variant)
            rows.append([title, name, f"{reward:.3f}", percent(valid), f"{tokens:.0f}", f"{seconds:.1f}"])
    yield from _rows(["variant", "how", "reward", "valid", "tokens", "seconds a task"], rows)


def _ways(runs: Sequence[Result]) -> Iterator[tuple[str, str, str]]:
    """Yields each inference mode: its name, its row in the inference table, and the suffix of its columns."""
    if runs:
        yield "base decode", "base", ""
        for number in range(1, min(run.edit_rounds for run in runs) + 1):
            yield f"self-edit × {number}", "self_edit", f"_{number}"
        if len(runs[0].rounds) > 1:  # Without rounds, there is no feedback from the critic.
            yield "with critic", "with_critic", ""


def _rows(head: Sequence[str], rows: Iterable[list[str]]) -> Iterator[str]:
    yield f"| {' | '.join(head)} |"
    yield "|---" * len(head) + "|"
    for row in rows:
        yield f"| {' | '.join(row)} |"


def _interval(finding: ClaimResult) -> str:
    if not isfinite(finding.low):
        return "unknown"
    return f"{finding.low:+.3f} to {finding.high:+.3f}"


def _mean_rounds(results: Results, variant: str) -> list[float]:
    runs = [run.rounds for run in results.get(variant, {}).values()]
    return [fmean(values) for values in zip(*runs, strict=True)]


def _valid_curves(results: Results, titles: Mapping[str, str]) -> Html:
    series = []
    for variant, tone in SHOWN.items():
        runs = [run.history for run in results.get(variant, {}).values()]
        points = tuple(
            (rows[0]["step"], fmean(row["valid_render_rate"] for row in rows)) for rows in zip(*runs, strict=False)
        )
        series.append(Series(name=titles.get(variant, variant), points=points, tone=tone))
    return lines(series, show=percent, low=0.0, high=1.0)


def _round_curves(results: Results, titles: Mapping[str, str]) -> Html:
    series = [
        Series(
            name=titles.get(variant, variant),
            points=tuple(enumerate(_mean_rounds(results, variant))),
            tone=tone,
            marks=True,
        )
        for variant, tone in SHOWN.items()
    ]
    return lines(series, show=share, low=0.0, axis="round")
