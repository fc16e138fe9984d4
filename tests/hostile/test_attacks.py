"""Every attack ends within its bounds, reaches nothing, and leaves the next page as if it had never been."""

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
"""Nothing is measured by it: beyond, an attack has stopped us."""
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
"""What is tried on a whole Chromium too, which has windows, downloads and dialogs of its own."""


class Ears:
    """A server on this machine that counts who reaches it, over TCP and UDP."""

    def __init__(self) -> None:
        self.tcp = socket.create_server(("127.0.0.1", 0))
        self.port = self.tcp.getsockname()[1]
        self.udp = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self.udp.bind(("127.0.0.1", self.port))
        for ear in (self.tcp, self.udp):
            ear.setblocking(False)

    def heard(self) -> list[str]:
        """Who has called since the last time."""
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
    """One browser that is attacked again and again, and what a clean page looked like before."""

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
    """All that a page could have left a trace in."""
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
def test_a_whole_chromium_withstands_too(open_field: Range, name: str) -> None:
    test_an_attack_ends_and_leaves_nothing(open_field, name)


@pytest.mark.browser
def test_there_are_enough_of_them(field: Range) -> None:
    """And the server hears those who may reach it, or its silence would prove nothing."""
    assert len(ATTACKS) >= 40
    socket.create_connection(("127.0.0.1", field.ears.port)).close()
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as caller:
        caller.sendto(b"x", ("127.0.0.1", field.ears.port))
    assert len(field.ears.heard()) == 2


@pytest.mark.browser
def test_nobody_is_left_behind(field: Range) -> None:
    """Last: after all attacks the browser has the processes of a fresh one, and none is a zombie."""
    browser = field.renderer._browser
    assert browser is not None
    for _ in range(100):  # the ended are reaped in a moment
        left = descendants(browser.pid)
        if "Z" not in {state for state, _ in left}:
            break
        time.sleep(0.1)
    assert [name for state, name in left if state == "Z"] == []
    assert len(left) <= 12, left


def descendants(pid: int) -> list[tuple[str, str]]:
    """State and name of every process below one."""
    found = []
    for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split():
        stat = Path(f"/proc/{child}/stat").read_text()
        name, rest = stat[stat.index("(") + 1 : stat.rindex(")")], stat[stat.rindex(")") + 2 :]
        found += [(rest[0], name), *descendants(int(child))]
    return found
