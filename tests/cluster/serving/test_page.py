"""Tests of the page for briefs in Chromium: writing, versions, the sandbox, a second brief, contrast and width."""

import asyncio
import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from browsing.page_checks import check_page, check_width
from doubles import PaperCritic
from served_app import served
from writing_policy import WritingPolicy

from actors.browser.chromium.launch import find_executable
from actors.browser.renderer import ChromiumRenderer
from actors.settings import BrowserSettings
from cluster.serving.service import Service
from reward.settings import ScoreSettings
from rollout.settings import EpisodeSettings

pytestmark = pytest.mark.browser
WAIT_MS = 60_000
CHANGED = "<feedback>\n- Make it red\n</feedback>"
"""Last message of the prompt for a second brief."""
RECORD = """() => {
  window.seen = [];
  for (const id of ["text", "status"]) {
    const one = document.getElementById(id);
    new MutationObserver(() => seen.push(one.textContent)).observe(one, { childList: true });
  }
}"""
"""Records the contents of text and status."""
ESCAPE = """
const said = {};
try { said.parent = parent.document.title; } catch (error) { said.parent = error.name; }
try { said.store = localStorage.length; } catch (error) { said.store = error.name; }
fetch("/healthz").then(() => said.fetch = "sent", () => said.fetch = "blocked").then(() => {
  document.body.dataset.said = JSON.stringify(said);
});
const picture = new Image();
picture.src = "/healthz?picture";
document.querySelector("button").onclick = () => { location = "https://example.org/navigated"; };
"""


@pytest.fixture
async def browser() -> AsyncIterator[Any]:
    from playwright.async_api import async_playwright

    async with async_playwright() as playwright:
        started = await playwright.chromium.launch(executable_path=find_executable(None), args=["--no-sandbox"])
        yield started
        await started.close()


@pytest.fixture
async def renderer(tmp_path: Path) -> AsyncIterator[ChromiumRenderer]:
    started = ChromiumRenderer(BrowserSettings(), cache=tmp_path)
    await started.start()
    yield started
    await started.stop()


def service(renderer: ChromiumRenderer, policy: WritingPolicy | None = None, **more: Any) -> Service:
    return Service(
        name="tiny-champion",
        policy=policy or WritingPolicy(),
        renderer=renderer,
        episode=EpisodeSettings(max_tokens=400),
        scoring=ScoreSettings(),
        needs_reference=False,
        **({"critic": PaperCritic()} | more),
    )


async def opened(browser: Any, url: str, **context: Any) -> Any:
    page = await browser.new_page(reduced_motion="reduce", **context)
    page.set_default_timeout(WAIT_MS)
    await page.goto(url)
    return page


async def finished(page: Any) -> None:
    await page.get_by_text("finished", exact=True).wait_for()


async def test_a_page_is_written_reviewed_and_revised_while_one_watches(
    browser: Any, renderer: ChromiumRenderer
) -> None:
    policy = WritingPolicy(pause_s=0.02)
    async with served(service(renderer, policy)) as url:
        page = await opened(browser, url)
        requests: list[str] = []
        page.on("request", lambda request: requests.append(request.url))
        await page.evaluate(RECORD)
        await page.keyboard.press("Tab")
        assert await page.evaluate("document.activeElement.id") == "brief"
        await page.keyboard.type("A page for a <bakery>")
        await page.select_option("#rounds", "2")
        await page.locator("#brief").press("Control+Enter")
        await finished(page)
        seen = "\n".join(await page.evaluate("seen"))
        for words in ("writing …", "<h1>A page for a <bakery>", "reviewing the page …", "- The heading needs more"):
            assert words in seen
        cards = page.locator("#drafts > .round")
        assert await cards.count() == 3
        words = await page.locator("#drafts").inner_text()
        for word in ("First page", "Revision 2", "kept", "The heading needs more space.", "critic's score"):
            assert word in words
        assert await cards.nth(1).get_by_text("difference from the page before").count() == 1
        assert await page.locator("img.shot").first.evaluate("async one => (await one.decode(), one.naturalWidth)") > 0
        frame = page.frame_locator("#frame")
        assert await frame.locator("footer").inner_text() == "Written to order."
        await page.get_by_label("phone, 390 px").check()
        assert await page.locator("#frame").evaluate("one => one.clientWidth") == 390
        async with page.expect_download() as started:
            await page.get_by_role("link", name="Download").click()
        saved = Path(await (await started.value).path()).read_text()
        assert saved.startswith("<!doctype html>")
        await page.get_by_label("Second brief for this page").fill("Make it red")
        await page.get_by_role("button", name="Change").click()
        await finished(page)
    first, second = (one for one in policy.requests if one.messages[-1].content in ("A page for a <bakery>", CHANGED))
    assert saved in second.messages[2].content
    assert first.messages[1].content == "A page for a <bakery>"
    assert second.messages[1].content == "A page for a <bakery>\nMake it red"
    assert {address.partition("#")[0].removeprefix("blob:").startswith(url) for address in requests} == {True}


async def test_a_page_of_the_policy_has_neither_network_nor_access_to_the_site(
    browser: Any, renderer: ChromiumRenderer
) -> None:
    async with served(service(renderer, WritingPolicy(script=ESCAPE))) as url:
        page = await opened(browser, url)
        await page.fill("#brief", "A page")
        await page.select_option("#rounds", "0")
        asked: list[str] = []
        page.on("requestfinished", lambda request: asked.append(request.url))
        await page.get_by_role("button", name="Write").click()
        await finished(page)
        body = page.frame_locator("#frame").locator("body[data-said]")
        said = json.loads(await body.get_attribute("data-said"))
        await page.frame_locator("#frame").get_by_role("button").click()
        await asyncio.sleep(1)
        sandbox = await page.locator("#frame").get_attribute("sandbox")
    assert said == {"parent": "SecurityError", "store": "SecurityError", "fetch": "blocked"}
    assert sandbox == "allow-scripts"
    sent = {address for address in asked if not address.startswith(("blob:", "data:"))}
    assert f"{url}/preview" in sent
    assert sent <= {f"{url}/write", f"{url}/preview"}, "the page's own request must not leave the frame"


async def test_faults_and_stops_are_said(browser: Any, renderer: ChromiumRenderer) -> None:
    async with served(service(renderer, WritingPolicy(faults=2))) as url:
        page = await opened(browser, url)
        await page.fill("#brief", "A page")
        await page.get_by_role("button", name="Write").click()
        await page.get_by_text("policy-0 lost its engine").wait_for()
    policy = WritingPolicy(pause_s=0.2)
    async with served(service(renderer, policy), keys="secret") as url:
        page = await opened(browser, url)
        await page.fill("#brief", "A page")
        await page.get_by_label("Key").fill("wrong")
        await page.get_by_role("button", name="Write").click()
        await page.get_by_text("no valid key").wait_for()
        await page.get_by_label("Key").fill("secret")
        await page.get_by_role("button", name="Write").click()
        await page.get_by_text("writing …").wait_for()
        await page.get_by_role("button", name="Stop").click()
        await page.get_by_text("stopped", exact=True).wait_for()
        async with asyncio.timeout(20):
            while policy.running:
                await asyncio.sleep(0.02)


@pytest.mark.parametrize("scheme", ["light", "dark"])
async def test_texts_have_contrast_and_nothing_is_wider_than_a_small_screen(
    browser: Any, renderer: ChromiumRenderer, scheme: str
) -> None:
    async with served(service(renderer), keys="secret") as url:
        page = await opened(browser, url, color_scheme=scheme, viewport={"width": 1200, "height": 900})
        await page.fill("#brief", "A page")
        await page.fill("#key", "secret")
        await page.select_option("#rounds", "1")
        await page.get_by_role("button", name="Write").click()
        await finished(page)
        await check_page(page)
        fields = "[...document.querySelectorAll('textarea, select, input')].filter((one) => !one.labels.length).length"
        assert await page.evaluate(fields) == 0
        await page.set_viewport_size({"width": 360, "height": 780})
        await check_width(page)
        await page.get_by_label("phone, 390 px").check()
        await check_width(page)
