"""Tests of the judge supervisor: health checks, restarts and addresses, with a small server instead of vLLM."""

import asyncio
import os
import signal
import sys
from collections.abc import AsyncIterator
from pathlib import Path
from urllib.parse import urlsplit

import psutil
import pytest
import pytest_asyncio
from bad_line import check, server_of, survive
from drawn_pages import PAGE, SHOP, render
from judge_server import mark_of

from actors.critic.critic import HttpCriticActor
from actors.judge.server import VLLMJudge, served
from actors.judge.server_process import ServerProcess
from actors.judge_api.client import Address
from actors.judge_settings import JudgeSettings
from actors.settings import CriticSettings
from reward.multimodal.rubric import BEST
from rollout.errors import CriticFault, SettingsError
from rollout.records import Task

SEEN = render(SHOP)


class KeptJudge(VLLMJudge):
    """Runs a small test server instead of vLLM."""

    def _command(self, address: Address) -> list[str]:
        return [sys.executable, "tests/support/small_judge.py", str(urlsplit(address.url).port)]


@pytest_asyncio.fixture
async def kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[KeptJudge]:
    for name, seconds in (("LOOK_TIMEOUT_S", 1.0), ("CHECK_INTERVAL_S", 0.1), ("FIRST_REST_S", 0.1)):
        monkeypatch.setattr(f"actors.judge.server.{name}", seconds)
    monkeypatch.setattr("actors.judge.server_process.GRACE_S", 0.2)
    (tmp_path / "config.json").write_text("{}")
    judge = KeptJudge(JudgeSettings(model=str(tmp_path), call_timeout_s=3.0), "judge-1", tmp_path / "log")
    await judge.start()
    yield judge
    child = server_of(judge)
    await judge.stop()
    await judge.stop()
    assert gone(child)


def gone(process: psutil.Process) -> bool:
    """Whether the process ended; it may remain as a zombie."""
    return not process.is_running() or process.status() == psutil.STATUS_ZOMBIE


def sleepers(process: psutil.Process) -> list[psutil.Process]:
    return [one for one in process.children(recursive=True) if one.name() == "sleep"]


async def mark(critic: HttpCriticActor, number: int) -> int:
    critique = await critic.judge(Task(id=f"t{number}", brief=f"Build page {number}."), PAGE, SEEN, None)
    return round(critique.score * BEST)


async def test_killed_or_hung_server_is_restarted_while_critics_wait(kept: KeptJudge) -> None:
    critic = HttpCriticActor(CriticSettings(kind="http", model="judge-1", timeout_s=4.0), find=kept.address)
    assert await mark(critic, 1) == mark_of(1)
    killed = server_of(kept)
    killed.kill()
    assert await mark(critic, 2) == mark_of(2)
    hung = server_of(kept)
    os.kill(hung.pid, signal.SIGSTOP)
    assert await mark(critic, 3) == mark_of(3)
    assert len({killed.pid, hung.pid, kept.pid}) == 3
    assert gone(hung)
    assert await kept.ping() == "judge-1"
    await critic.stop()
    lost, back, hang, again = kept.news()
    assert lost.startswith("the server was lost (")
    assert "no successful health check in 3 s" in hang
    assert back == again == "the server is available again"
    assert kept.news() == ()


async def test_failed_restart_is_retried_until_it_succeeds(kept: KeptJudge, tmp_path: Path) -> None:
    (tmp_path / "config.json").rename(tmp_path / "away.json")
    server_of(kept).kill()
    while not any("retrying in" in why for why in kept.news()):
        await asyncio.sleep(0.01)
    for ask in (kept.address, kept.ping):
        with pytest.raises(CriticFault, match="is starting"):
            await ask()
    (tmp_path / "away.json").rename(tmp_path / "config.json")
    while True:
        try:
            assert await kept.ping() == "judge-1"
            break
        except CriticFault:
            await asyncio.sleep(0.01)


async def test_new_judge_actor_starts_when_its_address_is_requested(kept: KeptJudge, tmp_path: Path) -> None:
    """Ray restarts an actor without a call of its start method."""
    fresh = KeptJudge(kept.settings, "judge-1", tmp_path / "log")
    critic = HttpCriticActor(CriticSettings(kind="http", model="judge-1"), find=fresh.address)
    assert await mark(critic, 4) == mark_of(4)
    assert (await fresh.address()).key != (await kept.address()).key
    await critic.stop()
    await fresh.stop()


async def test_sixty_judgments_survive_a_faulty_connection_and_a_killed_server(kept: KeptJudge) -> None:
    """The real server has the same test with two hundred judgments in `test_judge_server`."""
    outcome = await survive(kept, 60)
    check(outcome)
    assert [critique.score for critique in outcome.judged] == pytest.approx([mark_of(n) / BEST for n in range(60)])


async def test_folder_without_a_model_is_refused(tmp_path: Path) -> None:
    async with served(JudgeSettings(), "j", tmp_path / "log") as find:
        assert find is None
    with pytest.raises(SettingsError, match=r"holds no config\.json"):
        async with served(JudgeSettings(model=str(tmp_path)), "j", tmp_path / "log"):
            pass


async def test_child_log_is_bounded_and_ending_a_child_ends_its_descendants(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("actors.judge.server_process.LOG_BYTES", 20_000)
    loud = "import os\nfor i in range(3000): print(i, 'x' * 40)\nraise ValueError('enough')"
    child = ServerProcess([sys.executable, "-c", loud], {}, tmp_path / "log")
    while child.alive:
        await asyncio.sleep(0.01)
    await child.end()
    assert child.reason() == "ValueError: enough (exit code 1)"
    assert sum(path.stat().st_size for path in tmp_path.iterdir()) < 50_000
    parent = ServerProcess(["sh", "-c", "sleep 600 & sleep 600; true"], {}, tmp_path / "log")
    while len(found := sleepers(psutil.Process(parent.pid))) < 2:
        await asyncio.sleep(0.01)
    await parent.end()
    assert all(map(gone, found))


SAYINGS = [
    ("lib.ValidationError: 1 validation error for C\\n  Value error, len is 9\\n  Visit us", "Value error, len is 9"),
    ("(Worker pid=9) ERROR 11-24 RuntimeError: no head\\nEngineError: it is gone", "RuntimeError: no head"),
    ("api_server.py: error: unrecognized arguments: --x", "api_server.py: error: unrecognized arguments: --x"),
    ("", "no output"),
]


@pytest.mark.parametrize(("said", "why"), SAYINGS)
async def test_exit_reason_is_the_most_telling_line_of_the_log(said: str, why: str, tmp_path: Path) -> None:
    child = ServerProcess([sys.executable, "-c", f"print('{said}'); raise SystemExit(2)"], {}, tmp_path / "log")
    while child.alive:
        await asyncio.sleep(0.01)
    await child.end()
    assert child.reason() == f"{why} (exit code 2)"


async def test_server_process_and_descendants_die_with_their_parent(tmp_path: Path) -> None:
    code = (
        "import sys, time; from pathlib import Path; from actors.judge.server_process import ServerProcess\n"
        "child = ServerProcess(['sh', '-c', 'sleep 600 & sleep 600; true'], {}, Path(sys.argv[1])); time.sleep(600)"
    )
    maker = psutil.Popen([sys.executable, "-c", code, str(tmp_path / "log")])
    while len(found := sleepers(maker)) < 2:
        await asyncio.sleep(0.05)
    maker.kill()
    maker.wait()
    while not all(map(gone, found)):
        await asyncio.sleep(0.05)
