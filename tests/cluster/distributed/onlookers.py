"""Checks of a run's monitoring: the Prometheus exporter, the API of Ray's dashboard and the dashboard's page."""

import json
import re
import time
import urllib.request
from collections.abc import Callable
from pathlib import Path
from typing import Any

from actors.browser.chromium.launch import find_executable
from cluster.monitoring.gauges import ACTORS, GAUGES

PATIENCE_S = 120
"""Time limit of a check: Ray's exporter and dashboard refresh every few seconds."""
PAGE = {"width": 1500, "height": 800}
SHADES = 16
"""An empty page has at most this number of colours."""


def read(url: str, token: str = "") -> str:
    """The body of a response."""
    request = urllib.request.Request(url, headers={"Authorization": f"Bearer {token}"} if token else {})
    with urllib.request.urlopen(request, timeout=60) as answer:
        return str(answer.read().decode())


def wait_for(look: Callable[[], Any], wanted: Any) -> None:
    """Polls until `look` returns `wanted`."""
    deadline = time.monotonic() + PATIENCE_S
    while (seen := look()) != wanted:
        assert time.monotonic() < deadline, f"got {seen}, wanted {wanted}"
        time.sleep(1)


def check_metrics(exporter: str, run: str) -> None:
    """Checks that every metric of this run is exported with every value of its label."""
    expected = {(reading.name, label) for reading in GAUGES for label in reading.values}
    expected |= {(ACTORS, f"{pool}/{state}") for pool in POOLS for state in ("well", "lost")}

    def missing() -> set[tuple[str, str]]:
        lines = [re.fullmatch(r"ray_(relook_\w+)\{(.*)\} (\S+)", line) for line in read(exporter).splitlines()]
        return expected - {
            (line[1], "/".join(re.findall(r'\b(?:pool|stage|page|state)="([\w-]+)"', line[2])))
            for line in lines
            if line and f'run="{run}"' in line[2]
        }

    wait_for(missing, set())


POOLS = {"browser": 1, "critic": 1, "learner-rank": 1, "policy": 1, "worker": 1}
NAMES = sorted(f"{pool}-{place}" for pool, num in POOLS.items() for place in range(num))


def check_actors(board: str, token: str) -> None:
    """Checks that the API lists every actor by name and as alive."""

    def actors() -> list[tuple[str, str]]:
        listed = json.loads(read(f"{board}/api/v0/actors?detail=1", token))["data"]["result"]["result"]
        return sorted((actor["name"], actor["state"]) for actor in listed if actor["name"] in NAMES)

    wait_for(actors, [(name, "ALIVE") for name in NAMES])


def check_page(board: str, token: str, picture: Path) -> None:
    """Checks that the page asks for the token and then lists the actors. Saves a screenshot."""
    from PIL import Image
    from playwright.sync_api import expect, sync_playwright

    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=find_executable(None), args=["--no-sandbox"])
        page = browser.new_page(viewport=PAGE)  # type: ignore[arg-type]
        page.set_default_timeout(1000 * PATIENCE_S)
        page.goto(f"{board}/#/actors")
        page.get_by_placeholder("Enter your authentication token").fill(token)
        page.get_by_role("button", name="Submit").click()
        for name in NAMES:
            expect(page.get_by_text(name, exact=True).first).to_be_visible(timeout=1000 * PATIENCE_S)
        page.screenshot(path=picture)
        browser.close()
    colours = Image.open(picture).convert("RGB").getcolors(maxcolors=PAGE["width"] * PAGE["height"])
    assert colours is not None
    assert len(colours) > SHADES
