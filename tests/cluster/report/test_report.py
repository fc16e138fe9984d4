"""Tests of the HTML report: its content, its size limit, and the escaping of all untrusted text."""

import math
import shutil
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest
from drawn_episodes import BRIEFS, PICTURES, attempt, compared, film, history, html, picture

from cluster.report.filmstrips import diff
from cluster.report.html import el
from cluster.report.page import Film, Pair, Report, render, write_report
from cluster.training.diagnosis import Finding
from rollout.edits import make
from rollout.prompts import edit_answer
from rollout.records import (
    Comparison,
    Critique,
    Page,
    Render,
    Reward,
    Shot,
    Task,
    Trajectory,
    Turn,
)

EVIL = """</script></pre></style>"'><img src=x onerror=alert(1)><script>alert(2)</script><svg onload=alert(3)>"""


def sample_report(**changes: Any) -> Report:
    """The report of a finished run with plausible values."""
    return replace(
        Report(
            run_id="demo-20250601-101500-ab12",
            title="demo",
            status="finished",
            settings={"name": "demo", "steps": 24, "learner": {"lr": 3e-4, "warm": {"up": 3}}},
            summary={
                "steps": 24,
                "seconds": {"setup": 74.0, "warm_start": 148.2, "train": 431.0, "total": 653.2},
                "valid_render_rate": {"first": 0.4063, "last": 0.8281, "by_step": []},
                "held_out": {"reward_before": 0.251, "reward_after": 0.473, "tasks": 48},
                "forced_optimization": {
                    "trajectories": 1536,
                    "violations": 0,
                    "accept_rate": 0.34,
                    "mean_attempts": 1.6,
                },
                "weight_sync": {"count": 24, "max_logprob_gap": 2.4e-6, "seconds_mean": 0.4},
                "episodes": {"finished": 1536, "machine_faults": 2, "dropped": 1},
                "throughput": {"tokens_per_s": 1423.0, "pages_per_s": 6.9, "trajectories_per_s": 4.2},
            },
            history=history(24),
            exams=[
                {"step": 0, "mean": 0.251, "valid": 0.4},
                {"step": 8, "mean": 0.371, "valid": 0.63, "gain": 0.12, "low": 0.07, "high": 0.17},
                {"step": 16, "mean": 0.44, "valid": 0.77, "gain": 0.189, "low": 0.14, "high": 0.24},
                {"step": 24, "mean": 0.473, "valid": 0.82, "gain": 0.222, "low": 0.16, "high": 0.28},
            ],
            films=[film(step, step, start) for step, start in ((24, 3), (20, 2), (10, 2), (5, 1), (1, 1))],
            pairs=[
                Pair(
                    task=Task(id=f"held/{kind}", brief=BRIEFS[kind % 4]),
                    before=attempt(kind, kind % 3, 0.2),
                    after=attempt(kind, 3 + kind % 2, 0.7 + 0.02 * kind),
                    reference=Render(page_sha256="r", outcome="ok", shots=(picture(kind, 4),)),
                )
                for kind in range(8)
            ],
            inference={
                "base": {"reward": 0.473, "valid": 0.82, "tokens": 231.0, "seconds": 1.9},
                "self_edit": {"reward": 0.521, "valid": 0.9, "tokens": 812.0, "seconds": 5.2, "reward_1": 0.5},
                "with_critic": {"reward": 0.588, "valid": 0.93, "tokens": 934.0, "seconds": 6.6},
            },
            events=[
                "10:15:02 resumed after step 4",
                "10:19:40 step 9: 2 machine faults, 1 episodes dropped, none scored",
            ],
            picture=PICTURES.get,
        ),
        **changes,
    )


class Reader(HTMLParser):
    """Parses a page as a browser does: elements with their attributes, and the text between them."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.text = ""
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attrs)))

    def handle_data(self, data: str) -> None:
        self.text += data

    def all(self, tag: str) -> list[dict[str, str | None]]:
        return [attributes for name, attributes in self.elements if name == tag]


def test_report_of_a_finished_run_has_figures_curves_pairs_and_episodes(tmp_path: Path) -> None:
    write_report(tmp_path / "report.html", sample_report())
    page = Reader((tmp_path / "report.html").read_text("utf-8"))
    for words in ("changed from 41% to 83%", "rose from 0.251 to 0.473", "95% interval +0.160 to +0.280", "+0.048",
                  "✓ accepted", "✕ not better", "+ 1 unused", "best so far was 0.30",
                  "ReferenceError: plans is not defined", "+1 s", "Make the headline bigger", "warm.up"):  # fmt: skip
        assert words in page.text
    assert [path.name for path in tmp_path.iterdir()] == ["report.html"]


def test_report_shows_the_comparisons_of_each_critic() -> None:
    mine = attempt(1, 2, 0.7, "not_preferred", round=1, comparison=compared("tie", "new"))
    looks = Critique(score=0.8, feedback=(), judge="visual-4", parts={"blocks": 0.64})
    assert mine.critique is not None
    mine = replace(mine, critique=replace(mine.critique, parts={"visual": 0.8}, members={"visual": looks}))
    turns = (Turn(round=0, attempts=(attempt(1, 1, 0.3),)), Turn(round=1, attempts=(mine,)))
    episode = Trajectory(id="c", task=Task(id="c", brief="Compare."), turns=turns)
    rows = [
        {"step": 1, "critic_tokens": 900.0, "judge_drift": 0.02},
        {"step": 2, "critic_tokens": 10, "judge_drift": 0},
    ]
    page = Reader(render(sample_report(films=[Film(step=1, trajectory=episode, reference=None)], history=rows)))
    for words in ("✕ not preferred", "visual: better when shown first, better when shown second",
                  "http: better when shown first, no better when shown second",
                  "Critic tokens", "Judge drift"):  # fmt: skip
        assert words in page.text
    assert len([attributes for attributes in page.all("div") if attributes.get("class") == "meter sub of"]) == 1


def test_report_shows_edits_as_written_and_why_others_do_not_apply() -> None:
    first = attempt(1, 1, 0.3)
    edited = attempt(1, 2, 0.7, round=1)
    text = edit_answer(make(html(1), html(2)), "a plan")
    edited = replace(edited, completion=replace(edited.completion, text=text))
    failed = Page(html=None, problem="missing_search", detail="edit 1 is of another page", format_ok=False)
    other = attempt(1, 1, 0.0, "not_better", round=2, page=failed, render=None, critique=None, reward=None)
    turns = tuple(Turn(round=number, attempts=(one,)) for number, one in enumerate((first, edited, other)))
    episode = Trajectory(id="e", task=Task(id="e", brief="Edit."), turns=turns)
    page = Reader(render(sample_report(films=[Film(step=1, trajectory=episode, reference=None)])))
    assert page.text.count("edits as written") == 1
    assert "<<<<<<< SEARCH" in page.text
    assert "edit 1 is of another page" in page.text


def test_report_loads_no_external_resources() -> None:
    page = Reader(render(sample_report()))
    sources = [attributes[name] for _, attributes in page.elements for name in ("src", "href") if name in attributes]
    assert sources
    assert all(str(source).startswith("data:") for source in sources)
    assert "url(" not in page.text
    assert "@import" not in page.text


def evil_report() -> Report:
    """A report in which every text from a policy, page, critic or task file is an attack."""
    said = Critique(score=0.5, feedback=(EVIL,), parts={EVIL: 0.5}, judge=EVIL)
    bad = attempt(0, 2, 0.5, page=Page(html=EVIL, thought=EVIL), critique=replace(said, members={EVIL: said}),
                  comparison=Comparison(answers=("old", "tie"), judge=EVIL))  # fmt: skip
    torn = attempt(0, 0, 0.0, "not_better", round=1, render=Render(page_sha256=EVIL, outcome="crash", detail=EVIL),
                   reward=Reward(total=0.0, gate=0), page=Page(html=EVIL + EVIL))  # fmt: skip
    lost = attempt(0, 0, 0.0, "not_better", round=1, render=None, page=Page(html=None, problem=EVIL),
                   completion=replace(bad.completion, text=EVIL), reward=None)  # fmt: skip
    task = Task(id=EVIL, brief=EVIL)
    turns = (Turn(round=0, attempts=(bad,)), Turn(round=1, attempts=(torn, lost)))
    named = Shot(at_ms=0, sha256=picture(0, 1).sha256, width=1, height=1, label=EVIL)
    reference = Render(page_sha256="r", outcome="ok", shots=(picture(0, 4), named))
    return sample_report(
        run_id=EVIL,
        title=EVIL,
        status=EVIL,
        settings={EVIL: {EVIL: EVIL}},
        films=[Film(step=1, trajectory=Trajectory(id=EVIL, task=task, turns=turns), reference=reference)],
        pairs=[Pair(task=task, before=bad, after=torn, reference=reference)],
        events=[EVIL],
        alarm=EVIL,
        remedy=EVIL,
        findings=[Finding(reason=EVIL, count=1, total=1, detail=EVIL, brief=EVIL, text=EVIL)],
    )


def test_untrusted_text_never_becomes_markup() -> None:
    page = Reader(render(evil_report()))
    assert page.text.count(EVIL) >= 20
    assert len(page.all("script")) == 1
    assert all(str(image["src"]).startswith("data:") for image in page.all("img"))
    assert not [name for _, attributes in page.elements for name in attributes if name.startswith("on")]


def test_report_script_is_the_same_for_any_content() -> None:
    policies = [
        meta["content"]
        for report in (sample_report(), evil_report())
        for meta in Reader(render(report)).all("meta")
        if meta.get("http-equiv") == "Content-Security-Policy"
    ]
    assert policies[0] == policies[1]
    assert "script-src 'sha256-" in str(policies[0])


@pytest.mark.browser
async def test_browser_enlarges_an_image_and_runs_no_other_script(tmp_path: Path) -> None:
    from playwright.async_api import Dialog, Request, async_playwright

    chromium = shutil.which("chromium-headless-shell") or shutil.which("chromium")
    write_report(tmp_path / "report.html", evil_report())
    dialogs: list[Dialog] = []
    requests: list[Request] = []
    async with async_playwright() as playwright:
        browser = await playwright.chromium.launch(executable_path=chromium, args=["--no-sandbox"])
        page = await browser.new_page()
        page.on("dialog", lambda dialog: dialogs.append(dialog))
        page.on("request", lambda request: requests.append(request))
        await page.goto((tmp_path / "report.html").as_uri())
        await page.locator("img.shot").first.click()
        assert await page.locator("dialog[open] img").evaluate("picture => picture.naturalWidth") == 720
        await page.keyboard.press("Escape")
        assert await page.locator("dialog[open]").count() == 0
        assert await page.locator("[onerror], [onload]").count() == 0
        await browser.close()
    assert dialogs == []
    assert {request.url.partition(":")[0] for request in requests} <= {"file", "data"}


def test_size_limit_drops_the_oldest_episodes_and_says_so() -> None:
    whole = render(sample_report())
    limit = len(whole.encode()) - 100_000
    small = render(sample_report(), limit)
    assert len(small.encode()) <= limit
    shown = [step for step in (24, 20, 10, 5, 1) if f">step {step}<" in small]
    assert 0 < len(shown) < 5
    assert shown == [24, 20, 10, 5, 1][: len(shown)], "the newest stay"
    assert f"The {5 - len(shown)} oldest are omitted" in small


def test_self_critique_agreement_of_exams_has_a_chart() -> None:
    agreed = {"agreement": 0.625, "agreement_by_chance": 0.25}
    exams = [{"step": 0, "mean": 0.25, "valid": 0.4, **agreed}, {"step": 8, "mean": 0.3, "valid": 0.5, **agreed}]
    page = Reader(render(sample_report(exams=exams))).text
    for words in ("Self-critique", "same page, step 8: 0.62", "another page, step 0: 0.25"):
        assert words in page
    assert "Self-critique" not in render(sample_report()), "this run's exams did not request one"


def test_run_without_steps_has_a_report() -> None:
    empty = {"valid_render_rate": {"first": None, "last": None}, "held_out": {"reward_before": None}, "steps": 0}
    for summary in ({}, empty):
        text = render(Report(run_id="r", title="t", status="running", settings={}, summary=summary, history=[]))
        assert "No step is finished yet." in text


@pytest.mark.parametrize("value", [math.nan, math.inf, 0.0, -1.0])
def test_non_finite_metric_does_not_break_the_report(value: float) -> None:
    odd = {name: value for name in ("sync_gap", "logprob_gap_max", "entropy", "reward_first", "pages_per_s")}
    text = render(sample_report(history=[{"step": 1, "entropy": 1.0}, {"step": 2, **odd}]))
    assert "nan" not in text.split("<h2>Before and after")[0].split("</style>")[1]
    assert "Entropy" in text


def test_lost_or_damaged_images_are_marked() -> None:
    damaged = render(sample_report(picture=lambda sha256: b"\x89PNG torn"))
    assert "screenshot not readable" in damaged
    assert "screenshot not stored" in render(sample_report(picture=lambda sha256: None))


def test_diff_is_escaped_and_bounded() -> None:
    assert 'class="plus">+&lt;b&gt;' in diff("<a>\n" * 5, "<a>\n" * 5 + "<b>")
    assert "more lines" in diff("", "\n".join(map(str, range(790))))
    assert "No difference." in diff("<p>", "<p>")


def test_only_markup_objects_are_not_escaped() -> None:
    assert el("p", "<b>", el("i", "&"), None, False, title='"', hidden=True) == (
        '<p title="&quot;" hidden>&lt;b&gt;<i>&amp;</i></p>'
    )
