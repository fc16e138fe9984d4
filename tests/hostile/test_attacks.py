"""Tests that every attack ends within its limits, reaches nothing, and leaves no trace on the next page."""

import asyncio
import contextlib
import socket
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from attacks import ATTACKS, INK

from actors.browser.chromium.launch import find_whole
from actors.browser.renderer import ChromiumRenderer
from actors.settings import BrowserSettings
from rollout.records import Page, Render

HANG_S = 60.0
"""Time limit of a render; beyond it, an attack has blocked the renderer."""
WITNESS = (
    "<script>const left = [localStorage.length, sessionStorage.length, document.cookie, window.name, history.length,"
    "Object.keys(window).length, typeof JSON.stringify, [1].map(x => x + 1)[0]];"
    "new BroadcastChannel('x').onmessage = e => document.body.append(e.data);"
    "indexedDB.databases().then(all => document.body.append(all.length));"
    "caches.keys().then(all => document.body.append(all.length)); document.body.append(left.join(' '))</script>"
)
CLEAN = Page(html=f"{INK}<p>A page that did nothing.</p>{WITNESS}")

ELSEWHERE = ("loop", "buffers", "workers_that_spin", "alerts", "print", "popups", "location", "form", "download")
ELSEWHERE += (
    "close",
    "fullscreen",
    "permissions",
    "fetch",
    "beacon",
    "hints",
    "web_socket",
    "worker_socket",
    "web_rtc",
)
"""Attacks that are also tried on a whole Chromium, which has windows, downloads and dialogs."""


class Ears:
    """A local server that records every TCP and UDP contact."""

    def __init__(self) -> None:
        self.tcp = socket.create_server(("127.0.0.1", 0))
        self.port = self.tcp.getsockname()[1]
        self.udp = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self.udp.bind(("127.0.0.1", self.port))
        for ear in (self.tcp, self.udp):
            ear.setblocking(False)

    def heard(self) -> list[str]:
        """Contacts since the last call."""
        calls = []
        with contextlib.suppress(BlockingIOError):
            caller, address = self.tcp.accept()
            caller.close()
            calls.append(f"tcp {address}")
        with contextlib.suppress(BlockingIOError):
            calls.append(f"udp {self.udp.recv(99)!r}")
        return calls

    def close(self) -> None:
        self.tcp.close()
        self.udp.close()


class Range:
    """A browser that is attacked repeatedly, and the render of a clean page before the attacks."""

    def __init__(self, executable: Path | None = None) -> None:
        self.loop = asyncio.new_event_loop()
        self.renderer = ChromiumRenderer(BrowserSettings(cpu_budget_s=1.5, executable=executable))
        self.ears = Ears()
        self.clean = self.show(CLEAN)

    def show(self, page: Page) -> Render:
        return self.loop.run_until_complete(asyncio.wait_for(self.renderer.render(page), HANG_S))

    def close(self) -> None:
        self.loop.run_until_complete(self.renderer.stop())
        self.loop.close()
        self.ears.close()


@pytest.fixture(scope="module")
def field() -> Iterator[Range]:
    field = Range()
    yield field
    field.close()


def looks(render: Render) -> tuple[object, ...]:
    """All parts of a render in which a page could leave a trace."""
    return render.outcome, render.shots, render.blocks, render.boxes, render.console, render.exceptions, render.flags


@pytest.mark.browser
@pytest.mark.parametrize("name", ATTACKS)
def test_an_attack_ends_and_leaves_nothing(field: Range, name: str) -> None:
    outcomes, html = ATTACKS[name]
    render = field.show(Page(html=html.replace("PORT", str(field.ears.port))))
    assert render.outcome in outcomes.split(), (render.outcome, render.detail)
    assert field.ears.heard() == []
    assert max(len(render.console), len(render.exceptions), len(render.blocked)) <= 100
    assert looks(field.show(CLEAN)) == looks(field.clean)


@pytest.fixture(scope="module")
def open_field() -> Iterator[Range]:
    if (whole := find_whole()) is None:
        pytest.skip("no whole Chromium is installed")
    field = Range(whole)
    yield field
    field.close()


@pytest.mark.browser
@pytest.mark.parametrize("name", ELSEWHERE)
def test_whole_chromium_withstands_the_attacks(open_field: Range, name: str) -> None:
    test_an_attack_ends_and_leaves_nothing(open_field, name)


@pytest.mark.browser
def test_there_are_enough_attacks_and_the_server_records_contacts(field: Range) -> None:
    """Without the check of the server, its empty record would prove nothing."""
    assert len(ATTACKS) >= 40
    socket.create_connection(("127.0.0.1", field.ears.port)).close()
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as caller:
        caller.sendto(b"x", ("127.0.0.1", field.ears.port))
    assert len(field.ears.heard()) == 2


@pytest.mark.browser
def test_no_process_is_left_behind(field: Range) -> None:
    """Runs last: after all attacks the browser has the processes of a new one, and no zombies."""
    browser = field.renderer.supervisor.browser
    assert browser is not None
    for _ in range(100):  # ended processes are reaped within a moment
        left = descendants(browser.pid)
        if "Z" not in {state for state, _ in left}:
            break
        time.sleep(0.1)
    assert [name for state, name in left if state == "Z"] == []
    assert len(left) <= 12, left


def descendants(pid: int) -> list[tuple[str, str]]:
    """State and name of every descendant of a process."""
    found = []
    for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split():
        stat = Path(f"/proc/{child}/stat").read_text()
        name, rest = stat[stat.index("(") + 1 : stat.rindex(")")], stat[stat.rindex(")") + 2 :]
        found += [(rest[0], name), *descendants(int(child))]
    return found
