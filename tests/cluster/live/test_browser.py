"""Tests of the live page in Chromium: what changes, what stays, contrast and width."""

import time
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from browsing.command_pages import PAGES
from browsing.page_checks import CONTRAST, check_page, check_width
from live_run import finish_group, names, new_run, served, write_status

from actors.browser.chromium.launch import find_executable
from cluster.live.run_page import Query, RunPage
from cluster.report.page import write_report
from cluster.training.diagnosis import Finding

pytestmark = pytest.mark.browser
WAIT_MS = 60_000
TOP = "document.activeElement.getBoundingClientRect().top"
POOLS = {"browser": {"healthy": 1, "lost": 1}}


@pytest.fixture
async def browser() -> AsyncIterator[Any]:
    from playwright.async_api import async_playwright

    async with async_playwright() as playwright:
        started = await playwright.chromium.launch(executable_path=find_executable(None), args=["--no-sandbox"])
        yield started
        await started.close()


async def opened(browser: Any, url: str, **context: Any) -> Any:
    page = await browser.new_page(reduced_motion="reduce", **context)
    page.set_default_timeout(WAIT_MS)
    await page.goto(url)
    return page


async def checked(browser: Any, path: Path, scheme: str) -> Any:
    """The page of a file after the checks of its texts, names and width."""
    page = await opened(browser, path.as_uri(), color_scheme=scheme)
    await check_page(page)
    await page.set_viewport_size({"width": 360, "height": 780})
    await check_width(page)
    return page


async def test_a_finished_episode_appears_while_focus_scroll_and_folds_stay(browser: Any, tmp_path: Path) -> None:
    store = new_run(tmp_path / "run", steps=3)
    requests: list[str] = []
    with served(store) as url:
        page = await opened(browser, url)
        page.on("request", lambda request: requests.append(request.url))
        last = page.locator(f"[data-name={names(store, Query())[-1]}]")
        await last.locator("summary").first.focus()
        await page.keyboard.press("Enter")
        await last.locator(".strip").evaluate("strip => strip.scrollLeft = 40")
        await last.locator("summary").nth(1).focus()
        assert await page.evaluate("scrollY") > 0
        before = await page.evaluate(TOP)
        finish_group(store, 4, 0, kind=9)
        write_status(store, stage="step 4 of 9", stage_began=time.time(), pools=POOLS)
        fresh = page.locator(f"[data-name={names(store, Query())[0]}]")
        await fresh.wait_for()
        await page.get_by_text("step 4 of 9").wait_for()
        assert await fresh.locator("details.film").evaluate("film => film.open")
        assert await page.locator(".item[data-name^=episode-]").first.get_attribute("data-name") == (
            await fresh.get_attribute("data-name")
        )
        assert await last.locator("summary").nth(1).evaluate("one => one === document.activeElement")
        assert abs(await page.evaluate(TOP) - before) < 2
        assert await last.locator("details.film").evaluate("film => film.open")
        assert await last.locator(".strip").evaluate("strip => strip.scrollLeft") == 40
        assert await fresh.locator("img.shot").first.evaluate("async one => (await one.decode(), one.naturalWidth)") > 0
    assert {request.partition("/shots")[0].partition("/0/")[0] for request in requests} == {url}


async def test_a_replaced_part_keeps_focus_scroll_and_unfolded_details(browser: Any, tmp_path: Path) -> None:
    store = new_run(tmp_path / "run", steps=1)
    for number in range(80):
        store.note(f"10:00:00 event {number}")
    with served(store) as url:
        page = await opened(browser, url)
        events = page.locator(".events")
        await events.evaluate("list => list.scrollTop = 60")
        await events.focus()
        store.note("10:00:01 lost browser-1")
        await page.get_by_text("lost browser-1").wait_for()
        assert await events.evaluate("list => list === document.activeElement")
        assert await events.evaluate("list => list.scrollTop") == 60


async def test_a_page_whose_server_has_ended_says_so(browser: Any, tmp_path: Path) -> None:
    with served(new_run(tmp_path / "run")) as url:
        page = await opened(browser, url)
    await page.get_by_text("does not answer").wait_for()


@pytest.mark.parametrize("scheme", ["light", "dark"])
async def test_texts_have_contrast_and_nothing_is_wider_than_a_small_screen(
    browser: Any, tmp_path: Path, scheme: str
) -> None:
    one, two = new_run(tmp_path / "one", steps=3), new_run(tmp_path / "two")
    write_status(one, stage="step 4 of 9", stage_began=time.time(), done=1, total=6, what="groups", pools=POOLS)
    with served(one, two) as url:
        page = await opened(browser, url, color_scheme=scheme, viewport={"width": 1400, "height": 900})
        await check_page(page)
        assert await page.locator(".run-page").count() == 2
        await page.set_viewport_size({"width": 360, "height": 780})
        await check_width(page)


@pytest.mark.parametrize("scheme", ["light", "dark"])
async def test_the_report_has_contrast_and_nothing_is_wider_than_a_small_screen(
    browser: Any, tmp_path: Path, scheme: str
) -> None:
    run = RunPage(new_run(tmp_path / "run", steps=3))
    state = run.stored.state()
    report = run.content.report(run.stored.summary("finished", state), state)
    why = Finding(reason="blank", count=1, total=4, detail="no screenshot", brief="Build a page.", text="<p></p>")
    table = {"base": {"reward": 0.4, "valid": 0.8, "tokens": 231.0}, "with_critic": {"reward": 0.5, "seconds": 6.6}}
    report = replace(report, alarm="pages are blank", remedy="more", findings=[why], inference=table, events=["10:00"])
    write_report(tmp_path / "report.html", report)
    page = await checked(browser, tmp_path / "report.html", scheme)
    await page.locator("h1").evaluate("one => one.style.color = '#777'")
    assert [text for _, text, _ in await page.evaluate(CONTRAST)] == ["runfinished"]


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("command", PAGES)
async def test_the_page_of_a_command_has_contrast_and_nothing_is_wider_than_a_small_screen(
    browser: Any, tmp_path: Path, command: str, scheme: str
) -> None:
    await checked(browser, PAGES[command](tmp_path), scheme)
