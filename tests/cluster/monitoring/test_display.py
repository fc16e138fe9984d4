"""Tests of the terminal display: plain lines for a file or pipe, a live panel on a terminal."""

import io
import os
import pty
import threading
import time
from collections.abc import Callable

import pytest

from cluster.monitoring.display import Display
from cluster.monitoring.terminal_panel import State, clock, panel, sparkline

ROW = {
    "step": 1,
    "valid_render_rate": 0.42,
    "reward_first": 0.251,
    "reward_best": 0.33,
    "accept_rate": 0.31,
    "sync_gap": 1.3e-6,
    "pages_per_s": 6.9,
    "seconds_generate": 6.2,
    "seconds_learn": 4.0,
    "machine_faults": 2,
}


def wait_for(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 20
    while not condition() and time.monotonic() < deadline:
        time.sleep(0.01)
    assert condition()


def follow(display: Display) -> None:
    with display:
        display.stage("starting engines")
        display.note("Ray dashboard: http://127.0.0.1:8265")
        display.stage("step 1 of 24")
        display.progress(3, 16, "groups")
        display.step(ROW, 24)
        display.stage("step 2 of 24")
        display.step({"step": 2, "valid_render_rate": float("nan")}, 24)


def test_pipe_gets_one_line_per_event() -> None:
    stream = io.StringIO()
    follow(Display(stream))
    lines = stream.getvalue().splitlines()
    assert [line.split("] ")[1].split("  ")[0] for line in lines] == [
        "starting engines", "· Ray dashboard: http://127.0.0.1:8265", "step 1 of 24", "step 1/24", "step 2/24",
    ]  # fmt: skip
    assert (
        "valid 42%  reward 0.25 → 0.33  accepted 31%  gap 1.3e-6  6.9 pages/s  generate 6.2 s, learn 4.0 s" in lines[3]
    )
    assert "2 faults" in lines[3]
    assert "\r" not in stream.getvalue()
    assert "\x1b" not in stream.getvalue()


def test_pipe_gets_heartbeat_lines_until_the_display_closes() -> None:
    stream = io.StringIO()
    with Display(stream, beat_s=0.01) as display:
        display.stage("step 2 of 24")
        display.progress(3, 16, "groups")
        wait_for(lambda: stream.getvalue().count("… step 2 of 24") >= 2)
    assert "3 of 16 groups" in stream.getvalue()
    silent = len(stream.getvalue())
    time.sleep(0.05)
    assert len(stream.getvalue()) == silent, "it is silent once closed"


def test_control_characters_in_a_message_are_removed() -> None:
    stream = io.StringIO()
    with Display(stream) as display:
        display.note("lost [/bold] \x1b[2J\r\nbrowser-0")
    assert stream.getvalue().endswith("· lost [/bold] [2J browser-0\n")
    assert stream.getvalue().count("\n") == 1


def test_lines_from_many_threads_are_not_mixed() -> None:
    stream = io.StringIO()
    with Display(stream) as display:
        threads = [threading.Thread(target=lambda: [display.note("x" * 50) for _ in range(50)]) for _ in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    assert {line.split("] ")[1] for line in stream.getvalue().splitlines()} == {"· " + "x" * 50}


def test_terminal_panel_restores_the_cursor_after_an_exception(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TERM", "xterm-256color")
    leader, follower = pty.openpty()
    seen = bytearray()
    reader = threading.Thread(target=drain, args=(leader, seen))
    reader.start()
    with os.fdopen(follower, "w") as terminal:
        follow(Display(terminal))
        with pytest.raises(RuntimeError):
            fail_in(Display(terminal))
    reader.join(20)
    os.close(leader)
    text = seen.decode()
    for words in ("pages that render", "starting engines: took", "step 2 of 24", "a stage with [/markup]"):
        assert words in text
    assert text.count("\x1b[?25l") == 2, "the cursor was hidden twice"
    assert text.rfind("\x1b[?25l") < text.rfind("\x1b[?25h"), "and is shown again"


def test_live_panel_and_its_callers_do_not_deadlock(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TERM", "xterm-256color")
    leader, follower = pty.openpty()
    reader = threading.Thread(target=drain, args=(leader, bytearray()))
    reader.start()
    with os.fdopen(follower, "w") as terminal, Display(terminal) as display:
        threads = [threading.Thread(target=follow_more, args=(display,), daemon=True) for _ in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(20)
        assert not any(thread.is_alive() for thread in threads)
    reader.join(20)
    os.close(leader)


def fail_in(display: Display) -> None:
    with display:
        display.stage("a stage with [/markup]")
        raise RuntimeError("a bug")


def drain(leader: int, seen: bytearray) -> None:
    """Read a terminal's output until the other side is closed."""
    while True:
        try:
            seen.extend(os.read(leader, 65536))
        except OSError:
            return


def follow_more(display: Display) -> None:
    for _ in range(30):
        display.stage("starting")
        display.note("hm")
        display.progress(1, 2, "groups")


def test_sparkline_and_clock_formats() -> None:
    assert sparkline([0, float("nan"), 1, 0.5]) == "▁█▅"
    assert sparkline([2.0, 2.0]) == "▄▄"
    assert sparkline([]) == ""
    assert (clock(7), clock(750), clock(11100)) == ("0:07", "12:30", "3:05:00")


def test_panel_shows_the_missing_signal_reason_until_a_step_has_signal() -> None:
    from rich.console import Console

    state = State(began=time.monotonic(), why="no signal: 24 of 24 first pages: no ```html block")
    state.history.append({"step": 1.0, "valid_render_rate": 0.0})
    shown = []
    for _ in range(2):
        console = Console(file=io.StringIO(), width=100, record=True)
        console.print(panel(state))
        shown.append("no signal: 24 of 24 first pages: no ```html block" in console.export_text())
        state.why = ""
    assert shown == [True, False]
