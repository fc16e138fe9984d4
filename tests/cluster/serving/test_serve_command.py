"""Tests of the command `serve`: one clear line for each mistake, and real engines on Ray, of which some are killed."""

import asyncio
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import openai
import pytest
from family import ProcessFamily

from cluster.preflight.warm_start import warm_start_blocking
from cluster.serve import main
from cluster.settings import load_settings

TINY = "tests/support/tiny.toml"
PATIENCE_S = 600
ASK: list[Any] = [{"role": "user", "content": "Build a pricing page with three plans."}]
DESIGN = "<!doctype html><h1 style='color:#246'>Bakery</h1><p>Open daily from eight to six.</p>"


def error_of(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> str:
    assert main(arguments) == 2
    (line,) = capsys.readouterr().err.splitlines()
    return line


def test_mistakes_give_one_line(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("RELOOK_SERVE_KEYS", raising=False)
    model = ["--model", str(tmp_path)]
    assert "no champion of any run" in error_of(["--runs", str(tmp_path)], capsys)
    assert "set RELOOK_SERVE_KEYS" in error_of([*model, "--host", "0.0.0.0"], capsys)
    assert "policy.engines" in error_of([*model, "--engines", "0"], capsys)
    assert "unknown setting 'policy.engine'" in error_of([*model, "--set", "policy.engine=2"], capsys)
    spread = ["--set", "policy.nodes=2", "--set", "policy.tensor_parallel=2"]
    assert "policy.nodes is 2, wanted 1" in error_of([*model, *spread], capsys)
    with socket.create_server(("127.0.0.1", 0)) as taken:
        place = ["--host", "127.0.0.1", "--port", str(taken.getsockname()[1])]
        assert "cannot listen on 127.0.0.1" in error_of([*model, *place], capsys)


@pytest.fixture
def family() -> Iterator[ProcessFamily]:
    with ProcessFamily() as started:
        yield started


@pytest.fixture
def server(tmp_path: Path, family: ProcessFamily) -> Iterator[tuple[str, "subprocess.Popen[str]"]]:
    """The address and the process of a server with the tiny run's policy."""
    model = warm_start_blocking(load_settings(Path(TINY)))
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    command = [sys.executable, "-m", "cluster.serve", "--model", str(model), "--name", "tiny", "--settings", TINY]
    command += ["--host", "127.0.0.1", "--port", str(port)]
    environment = {key: value for key, value in os.environ.items() if not key.startswith("RAY_")}
    log = tmp_path / "log"
    with log.open("w") as errors:
        process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=errors, text=True, env=environment)
        assert process.stdout is not None
        ready = next((line for line in process.stdout if line.startswith("serving tiny")), "")
        assert ready, log.read_text()[-3000:]
        yield f"http://127.0.0.1:{port}", process
        if process.poll() is None:
            process.kill()
        process.communicate()


async def streamed(public: Any, seed: int) -> str:
    stream = await public.chat.completions.create(model="tiny", messages=ASK, seed=seed, stream=True, max_tokens=200)
    return "".join([chunk.choices[0].delta.content or "" async for chunk in stream])


async def rendered(http: httpx.AsyncClient, number: int) -> dict[str, Any]:
    body = {"html": f"{DESIGN}<!-- {number} -->", "screenshots": False}
    return dict((await http.post("/render", json=body)).raise_for_status().json())


@pytest.mark.engine
async def test_the_server_answers_while_an_engine_and_a_browser_are_killed(
    server: tuple[str, "subprocess.Popen[str]"], family: ProcessFamily
) -> None:
    url, process = server
    async with (
        openai.AsyncOpenAI(base_url=f"{url}/v1", api_key="none", max_retries=0, timeout=PATIENCE_S) as public,
        httpx.AsyncClient(base_url=url, timeout=PATIENCE_S) as http,
    ):
        first = await streamed(public, 1)
        assert first
        assert await streamed(public, 1) == first, "a seed gives the same text"
        extra = {"relook": {"self_edit": 1}}
        edited = await public.chat.completions.create(model="tiny", messages=ASK, seed=1, extra_body=extra)
        assert [row["round"] for row in edited.relook["rounds"]] == [0, 1]
        assert (await rendered(http, 0))["valid"]
        task = {"brief": "a bakery", "html": DESIGN, "reference_html": DESIGN}
        assert (await http.post("/judge", json=task)).json()["score"] > 0.95

        waiting = [asyncio.create_task(streamed(public, seed)) for seed in (1, 2, 3)]
        waiting += [asyncio.create_task(rendered(http, number)) for number in range(1, 6)]
        await asyncio.sleep(0.3)
        assert family.kill("EngineCore", most=1) == 1
        assert family.kill("chromium", most=1) == 1
        texts = await asyncio.gather(*waiting[:3])
        assert texts[0] == first
        assert all(render["valid"] for render in await asyncio.gather(*waiting[3:]))
        assert (await http.get("/healthz")).json()["status"] == "ok"
    process.send_signal(signal.SIGTERM)
    assert await asyncio.to_thread(process.wait, PATIENCE_S) == 130
