"""The pages that `relook generate`, `evaluate`, `benchmark`, `sft` and `accept` write, with drawn contents."""

from collections.abc import Callable
from pathlib import Path

from drawn_episodes import BRIEFS, PICTURES, attempt, picture, played_task

from cluster.acceptance.measurement import Acceptance, Measurement, Prediction
from cluster.acceptance.page import write_page
from cluster.benchmarks.play import EMPTY, POLICY, REFERENCE, counts
from cluster.benchmarks.records import TestResult
from cluster.benchmarks.report import write_report as write_benchmark
from cluster.benchmarks.results import ResultFolder
from cluster.report.drafts import drafts_page
from cluster.report.evaluation import evaluation_page
from cluster.report.filmstrips import Pair
from cluster.supervised.report import SupervisedReport
from cluster.supervised.report import write_report as write_supervised
from cluster.supervised.summary import summarise
from rollout.records import Render, Task

MEASURED = (
    ("node disk", "Sequential writes to the shared folder of runs", 412.0, "MB/s", "at least 100 MB/s", "ok", ""),
    ("weight sync", "weight sync", 3.8, "s", "at most 2.1 s", "slow", "engines and learner share one network card"),
    ("log-prob gap", "log-prob gap", None, "", "at most 0.04", "wrong", "set cluster.max_logprob_gap = 0.08"),
)
STEP = Prediction(
    step_s=95.0,
    play_s=60.0,
    learn_s=30.0,
    sync_s=5.0,
    steps=300,
    bottleneck="policy engine",
    advice="policy engines are the bottleneck: 2 more would save 20.0 s of the 95.0 s a step takes",
    origin="a step of 64 episodes",
)


def generate(folder: Path) -> Path:
    """The page of drafts."""
    path = folder / "drafts.html"
    path.write_text(drafts_page(BRIEFS[0], played_task(0).drafts, "demo-20250601-101500-ab12"))
    return path


def evaluate(folder: Path) -> Path:
    """The page of an evaluation in three modes."""
    table = {
        "base": {"reward": 0.473, "valid": 0.82, "tokens": 231.0, "seconds": 1.9},
        "self_edit": {"reward": 0.521, "valid": 0.9, "tokens": 812.0, "seconds": 5.2},
        "with_critic": {"reward": 0.588, "valid": 0.93, "tokens": 934.0, "seconds": 6.6},
    }
    path = folder / "evaluation.html"
    tasks = [played_task(0), played_task(1)]
    path.write_text(evaluation_page("demo-20250601-101500-ab12, champion", table, tasks, PICTURES.get))
    return path


def benchmark(folder: Path) -> Path:
    """The report of a benchmark with every verdict, a long name of a test and a long message."""
    results = ResultFolder(folder / "benchmark", {"benchmark": "webgenbench"})
    png = PICTURES[picture(2, 3).sha256]
    long = "the_button_of_the_second_plan_is_visible_and_has_the_accent_colour_of_the_headline"
    for subject in (POLICY, REFERENCE, EMPTY):
        for item in ("000001", "a-very-long-name-of-an-item-of-a-public-benchmark/with/parts"):
            tests = [
                TestResult(test="page loads", verdict="pass", score=1.0, picture=png),
                TestResult(test=long, verdict="fail", detail=f"expected {'rgb(37,99,235)' * 12}"),
                TestResult(test="form sends", verdict="no_answer"),
                TestResult(test="list sorts", verdict="machine_fault", detail="BrowserFault: the browser was lost"),
            ]
            results.add(subject, item, tests)
    scores = {"accuracy": 0.3333, "text_similarity": 0.61, "block_match": 0.48, "colour": 0.7, "position": 0.66}
    summary = {
        "benchmark": "webgenbench",
        "policy": "demo-20250601-101500-ab12",
        "faithful": False,
        "repairs": ["A page is closed before the next one opens.", "Fonts are loaded before a screenshot is taken."],
        "scores": {subject: scores for subject in results.results},
        "tests": {subject: counts(items) for subject, items in results.results.items()},
    }
    return write_benchmark(results, summary, list(results.results[POLICY]))


def held_out_pairs(num: int) -> list[Pair]:
    """Held-out tasks before and after training; the first pages fail in turn."""
    return [
        Pair(
            task=Task(id=f"held/{kind}", brief=BRIEFS[kind % 4]),
            before=attempt(kind, kind % 3, 0.2),
            after=attempt(kind, 3, 0.7),
            reference=Render(page_sha256="r", outcome="ok", shots=(picture(kind, 4),)),
        )
        for kind in range(num)
    ]


def sft(folder: Path) -> Path:
    """The report of a fine-tuning."""
    rows: list[dict[str, float]] = [{"step": 0.0, "held_out_first": 2.0, "held_out_revise": 1.5, "held_out_loss": 1.8}]
    for step in range(1, 13):
        row = {"step": float(step), "loss": 2 - step / 9, "match": step / 20, "lr": 1e-4, "tokens_per_s": 50.0}
        held_out = {"held_out_first": 2 - step / 8, "held_out_revise": 1.5 - step / 10, "held_out_loss": 1.8 - step / 9}
        rows.append(row | (held_out if step % 4 == 0 else {}))
    damages = ("open_tag", "removed_style_rules_of_the_largest_block", "wrong_colour")
    summary = summarise(
        run_id="sft-20250601-101500-ab12",
        status="finished",
        model="models/qwen",
        history=rows,
        seconds={"train": 61.2},
        corpus={
            "tasks": 30,
            "damages": {name: {"judged": 30, "kept": 21} for name in damages},
            "examples": {"first": 30, "revise": 63, "review": 63},
        },
        held_out_tasks=8,
        samples={"before": {"answers": 8, "pages": 0, "valid": 0}, "after": {"answers": 8, "pages": 7, "valid": 6}},
    )
    pairs = held_out_pairs(3)
    report = SupervisedReport(run_id="sft-20250601-101500-ab12", status="finished", summary=summary, history=rows,
                              settings={"sft": {"lr": 1e-4}}, pairs=pairs, picture=PICTURES.get)  # fmt: skip
    write_supervised(folder / "sft.html", report)
    return folder / "sft.html"


def accept(folder: Path) -> Path:
    """The page of an acceptance with each verdict."""
    measurements = tuple(
        Measurement(what=what, figure=figure, unit=unit, expected=expected, verdict=verdict, advice=advice)  # type: ignore[arg-type]
        for _, what, figure, unit, expected, verdict, advice in MEASURED
    )
    acceptance = Acceptance(name="qwen7b", measurements=measurements, prediction=STEP, seconds=140.0)
    return write_page(folder / "acceptance.html", acceptance)


PAGES: dict[str, Callable[[Path], Path]] = {one.__name__: one for one in (generate, evaluate, benchmark, sft, accept)}
"""Writer of the page of each command; it takes a folder, and returns the page's path."""
