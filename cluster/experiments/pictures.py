"""Writes the pictures of the README from a finished run: `python -m cluster.experiments.pictures RUN [--to FOLDER]`.

They are screenshots of the run's `report.html` in the browser that renders training pages: the results, and held-out
pages before and after training. Needs Playwright, from the `bench` extra.
"""

import argparse
import asyncio
import io
import sys
from pathlib import Path
from typing import Any

from PIL import Image

from cluster.experiments.bench.baselines import headless_shell
from cluster.paths import resolve_path
from cluster.storage.store import Store
from rollout.errors import BadInput, CheckpointError, RelookError
from rollout.files import atomic_write

PICTURES = {"results": "header, .tiles", "before-and-after": "section > .pairs > .pair:nth-child(-n+4)"}
"""Name of each picture, and the selector of the report's elements that it shows."""
WIDTH, SCALE, MARGIN = 1240, 1.5, 14
"""Width of the window and margin around the elements in CSS pixels, and pixels of a picture per CSS pixel."""
MAX_BYTES = 150_000
"""Size of a picture at most: a reader of the README loads all of them."""
QUALITIES = (90, 80, 70, 60, 50, 40, 30)
"""Qualities of WebP, best first; the first with a file of at most MAX_BYTES is used."""
BOX = """(elements) => {
  const boxes = elements.map((one) => one.getBoundingClientRect());
  const [left, top] = ["left", "top"].map((side) => Math.min(...boxes.map((box) => box[side])));
  const [right, bottom] = ["right", "bottom"].map((side) => Math.max(...boxes.map((box) => box[side])));
  return [left + scrollX, top + scrollY, right - left, bottom - top];
}"""
"""Smallest rectangle around elements, in CSS pixels of the page: left, top, width, height."""


def main(argv: list[str] | None = None) -> int:
    """Runs the command. Returns its exit code."""
    parser = argparse.ArgumentParser(description="Writes the pictures of the README from a finished run.")
    parser.add_argument("run", help="id or folder of the run")
    parser.add_argument("--runs", type=Path, default=Path("runs"), help="folder of runs, to find RUN by its id")
    parser.add_argument("--to", type=Path, default=Path("docs/pictures"), help="folder of the pictures")
    options = parser.parse_args(argv)
    try:
        report = finished_report(resolve_path(options.runs), options.run)
        written = asyncio.run(write_pictures(report, resolve_path(options.to)))
    except RelookError as error:
        print(f"relook: {error}", file=sys.stderr)
        return 2 if isinstance(error, BadInput) else 1
    for path in written:
        print(f"{path}: {path.stat().st_size / 1000:.0f} KB")
    return 0


def finished_report(runs: Path, run: str) -> Path:
    """Path of the report of a finished run. Raises CheckpointError."""
    store = Store.open(runs, run)
    status = store.read_json("summary.json").get("status")
    if status != "finished":
        raise CheckpointError(f"{store.path}: the run is {status}, not finished; resume it, or choose another run")
    return store.path / "report.html"


async def write_pictures(report: Path, folder: Path) -> list[Path]:
    """Takes all PICTURES of a report. Raises CheckpointError if the report lacks what a picture shows."""
    from playwright.async_api import async_playwright

    async with async_playwright() as playwright:
        browser = await playwright.chromium.launch(executable_path=headless_shell(), chromium_sandbox=False)
        try:
            page = await browser.new_page(
                viewport={"width": WIDTH, "height": 900}, device_scale_factor=SCALE, color_scheme="light"
            )
            await page.goto(report.as_uri())
            taken = {name: await _screenshot(page, selector, report) for name, selector in PICTURES.items()}
        finally:
            await browser.close()
    return [atomic_write(folder / f"{name}.webp", webp(png)) for name, png in taken.items()]


def webp(png: bytes) -> bytes:
    """Encodes a PNG as WebP of at most MAX_BYTES, in the best quality of QUALITIES. Raises CheckpointError."""
    with Image.open(io.BytesIO(png)) as opened:
        picture = opened.convert("RGB")
    for quality in QUALITIES:
        sink = io.BytesIO()
        picture.save(sink, "WEBP", quality=quality, method=6)
        if sink.tell() <= MAX_BYTES:
            return sink.getvalue()
    raise CheckpointError(
        f"a picture of {picture.width} x {picture.height} pixels has {sink.tell()} bytes in quality {QUALITIES[-1]}, "
        f"wanted at most {MAX_BYTES}; choose another run"
    )


async def _screenshot(page: Any, selector: str, report: Path) -> bytes:
    """PNG of the elements of a selector, with a margin."""
    elements = page.locator(selector)
    if not await elements.count():
        raise CheckpointError(
            f"{report} has no {selector!r}: no exam of this run was better than the first one; choose another run"
        )
    # Pictures load when they come into view.
    for image in await elements.locator("img").all():
        await image.scroll_into_view_if_needed()
        await image.evaluate("picture => picture.decode()")
    left, top, width, height = await elements.evaluate_all(BOX)
    clip = {
        "x": max(0, left - MARGIN),
        "y": max(0, top - MARGIN),
        "width": width + 2 * MARGIN,
        "height": height + 2 * MARGIN,
    }
    png: bytes = await page.screenshot(full_page=True, clip=clip)
    return png


if __name__ == "__main__":
    sys.exit(main())
