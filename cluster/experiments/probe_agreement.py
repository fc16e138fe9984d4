"""Compares probes with the public verdicts of Playwright on the same pages:
`python -m cluster.experiments.probe_agreement CLONE ANSWERS VERDICTS --out RESULTS [--mirror FOLDER]`.

The functional tests of InteractScience are recorded as probes (`actors/playwright/recorder.py`) and played on the pages
of published answers, each on a page of its own in a viewport of Playwright's size. A line of VERDICTS has the fields
`file`, `describe`, `title`, `ok` and `error` of a test. Answers without an html fence are left out, because the public
harness tested an older page in their place. RESULTS grows, and tests in it are not played again.
"""

import argparse
import asyncio
import json
import sys
import time
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from actors.browser.renderer import ChromiumRenderer
from actors.playwright.recorder import RecordedTest
from actors.settings import BrowserSettings
from cluster.benchmarks.interactscience import InteractScience
from cluster.benchmarks.json_lines import append_line, read_lines
from cluster.benchmarks.spec_probes import recorded
from rollout.errors import RelookError
from rollout.records import Page
from rollout.rows.json_rows import json_rows

NO_PAGE = "ERR_FILE_NOT_FOUND"
"""Part of the public error of a test whose page the public harness did not have."""
SHOWN = 200
"""Characters of an error that a result keeps."""


def main(argv: list[str] | None = None) -> int:
    """Runs the command. Returns its exit code."""
    options = _parse(argv)
    try:
        asyncio.run(_play_all(options))
    except RelookError as error:
        print(f"relook: {error}", file=sys.stderr)
        return 1
    print(table(read_lines(options.out)))
    return 0


def table(rows: Sequence[Mapping[str, Any]]) -> str:
    """Agreement and seconds of played tests, and the disagreements by probe's verdict and reasons."""
    if not rows:
        return "no test was played"
    agreeing = sum(agrees(row) for row in rows)
    seconds = sum(row["seconds"] for row in rows)
    lines = [f"{agreeing} of {len(rows)} tests agree ({agreeing / len(rows):.1%}); probes took {seconds:.0f} s"]
    pairs = Counter((row["verdict"], "pass" if row["ok"] else "fail") for row in rows)
    lines += [f"{count:5} probe {ours:12} Playwright {theirs}" for (ours, theirs), count in sorted(pairs.items())]
    for row in rows:
        if not agrees(row):
            lines.append(f"{row['task']}: {row['name']}\n    probe: {row['detail'] or 'passes'}")
            lines.append(f"    Playwright: {' '.join(row['error'].split()) or 'passes'}")
    return "\n".join(lines)


def agrees(row: Mapping[str, Any]) -> bool:
    """Whether probe and Playwright agree that the page passes, or does not."""
    return bool((row["verdict"] == "pass") == row["ok"])


async def _play_all(options: argparse.Namespace) -> None:
    pages = answered_pages(options.answers)
    verdicts = public_verdicts(options.verdicts)
    names = [name for name in sorted(pages) if (options.clone / "PFT_tests" / f"{name}.spec.js").is_file()]
    tests = await recorded(options.clone, names[:: options.every])
    settings = BrowserSettings(
        viewport_width=1280, viewport_height=720, mirror=options.mirror, cpu_budget_s=8.0, wall_s=300.0, cache_mb=0
    )
    renderer = ChromiumRenderer(settings)
    done = {(row["task"], row["name"]) for row in read_lines(options.out)}
    await renderer.start()
    try:
        for task, found in tests.items():
            for test in found:
                verdict = verdicts.get((f"{task}.spec.js", test.describe, test.title))
                if verdict is None or test.probe is None or NO_PAGE in (verdict["error"] or ""):
                    continue
                if (task, test.probe.name) not in done:
                    append_line(options.out, await _played(renderer, task, test, pages[task], verdict))
    finally:
        await renderer.stop()


async def _played(
    renderer: ChromiumRenderer, task: str, test: RecordedTest, html: str, verdict: Mapping[str, Any]
) -> dict[str, Any]:
    assert test.probe is not None
    started = time.monotonic()
    result = await renderer.test(Page(html=html), test.probe)
    return {
        "task": task,
        "name": test.probe.name,
        "verdict": result.verdict,
        "detail": result.detail[:SHOWN],
        "ok": verdict["ok"],
        "error": (verdict["error"] or "")[:SHOWN],
        "seconds": round(time.monotonic() - started, 3),
    }


def answered_pages(path: Path) -> dict[str, str]:
    """The page of each answer that has one, as the public harness cuts it out. Raises TaskFileError."""
    harness = InteractScience(faithful=True)
    pages = {str(row["id"]): harness.page(str(row["answer"])) for _, row in json_rows(path)}
    return {name: page for name, page in pages.items() if page}


def public_verdicts(path: Path) -> dict[tuple[str, tuple[str, ...], str], dict[str, Any]]:
    """The published result of each test by file, describe titles and title."""
    rows = [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]
    return {(row["file"], tuple(row["describe"]), row["title"]): row for row in rows}


def _parse(argv: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description="Compares probes with public verdicts of Playwright.")
    parser.add_argument("clone", type=Path, help="a clone of open-compass/InteractScience")
    parser.add_argument("answers", type=Path, help="JSON lines with `id` and `answer`")
    parser.add_argument("verdicts", type=Path, help="JSON lines with a verdict a test")
    parser.add_argument("--out", type=Path, required=True, help="JSON lines of results, which are continued")
    parser.add_argument("--mirror", type=Path, help="folder of the library mirror")
    parser.add_argument("--every", type=int, default=1, help="play each n-th task")
    return parser.parse_args(argv)


if __name__ == "__main__":
    sys.exit(main())
