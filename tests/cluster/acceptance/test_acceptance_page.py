"""Tests of the acceptance's page and files: contents, escaping, and the look in a real browser."""

import json
import shutil
from pathlib import Path

import pytest
from browsing.command_pages import STEP

from cluster.accept import main, summary, write_results
from cluster.acceptance.measurement import Acceptance, Measurement, Prediction
from cluster.acceptance.page import lead, render

EVIL = """</td><script>alert(1)</script><img src=x onerror=alert(2)>"""
OVERFLOWING = "[...document.querySelectorAll('html, .card')].filter(one => one.scrollWidth > one.clientWidth).length"


def measured(*, advice: str = "", step: Prediction | None = STEP) -> Acceptance:
    """An acceptance with one measurement of each verdict."""
    found = (
        Measurement(what="weight sync", figure=0.8, unit="s", expected="at most 2.1 s", verdict="ok"),
        Measurement(what="generation", figure=850.0, unit="tokens/s", expected="at least 900", verdict="slow"),
        Measurement(what="log-prob gap", figure=None, unit="", expected="", verdict="wrong", advice=advice),
    )
    return Acceptance(name="demo", measurements=found, prediction=step, seconds=140.0)


def test_page_names_the_step_the_bottleneck_and_the_problems() -> None:
    page = render(measured(advice="set cluster.max_logprob_gap = 0.04"))
    for words in ("A step will take 95 s", "policy engine", "Wrong", "Slow", "cluster.max_logprob_gap = 0.04"):
        assert words in page
    assert "<script>" in page, "the report's own"


def test_page_without_a_step_says_so() -> None:
    assert "No step could be measured" in lead(measured(step=None))
    assert "no step could be measured" in summary(measured(step=None))
    assert "Nothing is wrong." in lead(Acceptance(name="demo", measurements=(), prediction=None, seconds=1.0))


def test_untrusted_text_is_escaped() -> None:
    assert EVIL not in render(measured(advice=EVIL))
    assert "&lt;script&gt;" in render(measured(advice=EVIL))


def test_results_are_written_for_programs_and_people(tmp_path: Path) -> None:
    write_results(tmp_path / "results", measured())
    contents = json.loads((tmp_path / "results" / "acceptance.json").read_text())
    assert (contents["verdict"], contents["prediction"]["bottleneck"]) == ("wrong", "policy engine")
    assert [one["verdict"] for one in contents["measurements"]] == ["ok", "slow", "wrong"]
    assert (tmp_path / "results" / "acceptance.html").read_text().startswith("<!doctype html>")
    assert summary(measured())[0] == "1 ok, 1 slow, 1 wrong, in 140 s"


def test_bad_input_is_one_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main([str(tmp_path / "none.toml")]) == 2
    assert capsys.readouterr().err.count("\n") == 1
    with pytest.raises(SystemExit, match="2"):
        main([str(tmp_path / "none.toml"), "--groups", "0"])


def test_tiles_answer_what_a_step_takes_what_limits_it_and_what_is_wrong() -> None:
    page = render(measured())
    for title, figure in (
        ("A step", "95 s"),
        ("Bottleneck", "policy engine"),
        ("Playing", "60 s"),
        ("The run", "7 h 55 min"),
    ):
        assert f'<h3>{title}</h3><p class="figure">{figure}' in page, title
    assert '<h3>Wrong</h3><p class="figure bad">1</p><p>log-prob gap</p>' in page
    assert '<h3>Slow</h3><p class="figure">0</p>' in render(
        Acceptance(name="a", measurements=(), prediction=STEP, seconds=1)
    )


@pytest.mark.browser
async def test_browser_shows_every_measurement_and_runs_no_other_script(tmp_path: Path) -> None:
    from playwright.async_api import Dialog, async_playwright

    chromium = shutil.which("chromium-headless-shell") or shutil.which("chromium")
    write_results(tmp_path, measured(advice=EVIL))
    dialogs: list[Dialog] = []
    async with async_playwright() as playwright:
        browser = await playwright.chromium.launch(executable_path=chromium, args=["--no-sandbox"])
        page = await browser.new_page(viewport={"width": 1000, "height": 700})
        page.on("dialog", lambda dialog: dialogs.append(dialog))
        await page.goto((tmp_path / "acceptance.html").as_uri())
        assert await page.locator("table").count() == 3
        assert await page.locator("h1 .pill.failed").inner_text() == "wrong"
        assert await page.locator("[onerror]").count() == 0
        assert await page.evaluate("document.documentElement.scrollWidth") <= 1000
        await page.set_viewport_size({"width": 380, "height": 700})
        assert await page.evaluate(OVERFLOWING) == 0, "a phone shows every verdict without scrolling"
        await browser.close()
    assert dialogs == []
