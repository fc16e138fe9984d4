"""Other methods of taking three screenshots of a page, one second apart: baselines for the renderer."""

import asyncio
import shutil
import tempfile
from pathlib import Path
from typing import Any

PAUSE_S = 1.0
SHOTS = 3


def full_chromium() -> str | None:
    """Path of a full Chromium (not the headless shell), or None."""
    from actors.browser.chromium.launch import find_whole

    whole = shutil.which("chromium") or shutil.which("google-chrome") or find_whole()
    return str(whole) if whole else None


async def browser_per_page(html: str) -> None:
    """ArtifactsBench (`capture_html_screenshots`, Tencent-Hunyuan/ArtifactsBenchmark, commit 8bba24b, `src/utils.py`).

    A new Playwright and browser for every page, loaded from a file; network idle, then three full-page screenshots, one
    second apart.
    """
    from playwright.async_api import async_playwright

    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "page.html"
        path.write_text(html, encoding="utf-8")
        async with async_playwright() as playwright:
            browser = await playwright.chromium.launch(**launch_options())
            context = await browser.new_context()
            page = await context.new_page()
            await page.goto(path.as_uri())
            await page.wait_for_load_state("networkidle")
            await _pictures(page, full_page=True)
            await context.close()
            await browser.close()


async def context_per_page(browser: Any, html: str) -> None:
    """The common Playwright method: one browser, a fresh context for every page, screenshots in real time."""
    context = await browser.new_context(viewport={"width": 1024, "height": 768})
    page = await context.new_page()
    await page.set_content(html)
    await _pictures(page, full_page=False)
    await context.close()


def launch_options() -> dict[str, Any]:
    """Launch options: full Chromium if installed, else the headless shell; no sandbox, as root requires."""
    return {"headless": True, "executable_path": full_chromium() or headless_shell(), "chromium_sandbox": False}


def headless_shell() -> str:
    """Path of the browser that ReLook renders with. Raises BrowserFault with the package to install."""
    from actors.browser.chromium.launch import find_executable

    return str(find_executable(None))


async def _pictures(page: Any, *, full_page: bool) -> None:
    for shot in range(SHOTS):
        if shot:
            await asyncio.sleep(PAUSE_S)
        await page.screenshot(full_page=full_page)
