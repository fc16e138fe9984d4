"""Determinism benchmark: share of pages with identical screenshots in twenty browsers, half of them under load.

Run `--part identity` in its own process. The environment variables IDENTITY_PAGES and IDENTITY_BROWSERS reduce it.
"""

import asyncio
import multiprocessing
import os
import sys
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from contextlib import contextmanager
from itertools import repeat

from cluster.experiments.bench.corpus import corpus, sampled_pages
from cluster.experiments.bench.part import Figures
from cluster.settings import RunSettings
from rollout.records import Page

PAGES = int(os.environ.get("IDENTITY_PAGES", "200"))
BROWSERS = int(os.environ.get("IDENTITY_BROWSERS", "20"))
Looks = list[tuple[tuple[str, ...], bool]]
"""For each page: the hashes of its timed screenshots, and whether it was flagged as nondeterministic."""


def bench_identity() -> Figures:
    """Share of unflagged pages with identical screenshots in all browsers, and the number of flagged pages."""
    written = sampled_pages(PAGES)
    pages = corpus(PAGES, written)
    looks = list(_everywhere(pages))
    marked = {index for look in looks for index, (_, mark) in enumerate(look) if mark}
    variants = [Counter(look[index][0] for look in looks) for index in range(len(pages))]
    unlike = [index for index, seen in enumerate(variants) if len(seen) > 1 and index not in marked]
    for index in unlike:
        print(f"\npage {index} has {dict(variants[index])}:\n{pages[index][:2000]}", file=sys.stderr)
    return {
        "pages": float(len(pages)),
        "sampled_from_policy": float(len(set(written) & set(pages))),
        "browsers": float(len(looks)),
        "marked": float(len(marked)),
        "with_pictures": float(sum(any(seen) for seen in variants)),
        "identical_share": 1 - len(unlike) / max(1, len(pages) - len(marked)),
    }


def _everywhere(pages: list[str]) -> Iterator[Looks]:
    """Screenshots of all pages by browser, each in its own process, one at a time for each core; the second half runs
    under load."""
    cores = len(os.sched_getaffinity(0))
    spawn = multiprocessing.get_context("spawn")
    done = 0
    for loaded, num in ((0, BROWSERS - BROWSERS // 2), (2 * cores, BROWSERS // 2)):
        with _load(loaded), ProcessPoolExecutor(cores, mp_context=spawn, max_tasks_per_child=1) as executor:
            for look in executor.map(_look, repeat(pages, num)):
                done += 1
                print(f"\ridentity … {done} of {BROWSERS} browsers ", end="", file=sys.stderr, flush=True)
                yield look


def _look(pages: list[str]) -> Looks:
    return asyncio.run(_looks(pages))


async def _looks(pages: list[str]) -> Looks:
    from actors.browser.renderer import ChromiumRenderer, timed

    renderer = ChromiumRenderer(RunSettings().browser)
    await renderer.start()
    try:
        renders = [await renderer.render(Page(html=html)) for html in pages]
    finally:
        await renderer.stop()
    return [(timed(render), "nondeterministic" in render.flags) for render in renders]


@contextmanager
def _load(num: int) -> Iterator[None]:
    """Starts processes that keep the cores busy."""
    burners = [multiprocessing.get_context("spawn").Process(target=_burn, daemon=True) for _ in range(num)]
    for burner in burners:
        burner.start()
    yield
    for burner in burners:
        burner.kill()
        burner.join()


def _burn() -> None:
    while True:
        pass
