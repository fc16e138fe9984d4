"""Tests of the trial question to a judge over HTTP: pasted addresses, wrong addresses, wrong models."""

import http.server
import json
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest
from judge_server import JudgeServer, completion, verdict
from pydantic import ValidationError

from actors.judge_api.address import proxy_words
from actors.judge_api.client import JudgeClient
from actors.judge_api.trial_question import ask_judge
from actors.settings import CriticSettings
from rollout.errors import CriticFault, SettingsError

Served = list[tuple[str, str, dict[str, Any]]]
"""Path, headers and body of each request."""


@contextmanager
def judge_at(path: str, models: str, known: str = "judge-1") -> Iterator[tuple[str, Served]]:
    """A server that judges at one path, lists its models at another, and answers 404 elsewhere."""
    served: Served = []

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            body = json.loads(self.rfile.read(int(self.headers.get("content-length", 0))) or b"{}")
            served.append((self.path, str(self.headers), body))
            if self.path == path and body.get("model") == known:
                self.reply(200, completion(verdict(1)))
            elif self.path == models:
                self.reply(200, {"object": "list", "data": [{"id": known}]})
            else:
                self.reply(404, {"detail": "Not Found"})

        do_POST = do_GET

        def reply(self, status: int, value: dict[str, Any]) -> None:
            payload = json.dumps(value).encode()
            self.send_response(status)
            self.send_header("Content-Length", str(len(payload)))
            self.end_headers()
            self.wfile.write(payload)

        def log_message(self, *_: object) -> None:
            """Print no log lines."""

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_address[1]}", served
        finally:
            server.shutdown()
            thread.join()


def settings(base_url: str, **fields: Any) -> CriticSettings:
    return CriticSettings(kind="http", base_url=base_url, **{"model": "judge-1", "deadline_s": 10.0, **fields})


@pytest.mark.parametrize("end", ["/v1", "/v1/", "/v1//", "/v1/chat/completions", "/v1/chat/completions/", "/v1/models"])
async def test_trailing_slashes_and_paths_of_an_address_are_removed(end: str) -> None:
    with judge_at("/v1/chat/completions", "/v1/models") as (host, served):
        await ask_judge(settings(host + end))
    body = served[-1][2]
    assert body["response_format"]["json_schema"]["schema"]["required"][-1] == "feedback"
    assert [part["type"] for part in body["messages"][1]["content"]].count("image_url") == 1


@pytest.mark.parametrize("end", ["", "/chat/completions"])
async def test_azure_address_keeps_its_api_version_and_gets_its_key(end: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AZURE_KEY", "very-secret")
    deployment, query = "/openai/deployments/gpt-4o", "?api-version=2024-10-21"
    with judge_at(f"{deployment}/chat/completions{query}", "/none") as (host, served):
        await ask_judge(settings(host + deployment + end + query, key_env="AZURE_KEY"))
    assert "api-key: very-secret" in served[-1][1].lower()


def test_other_query_is_refused_without_showing_its_value() -> None:
    with pytest.raises(ValidationError, match="may have only the query parameter 'api-version', got 'key'") as caught:
        settings("http://host/v1?key=very-secret")
    assert "very-secret" not in caught.value.errors(include_input=False)[0]["msg"]


async def test_error_for_an_unknown_model_lists_the_models_of_the_server() -> None:
    with judge_at("/v1/chat/completions", "/v1/models") as (host, _), pytest.raises(SettingsError) as caught:
        await ask_judge(settings(f"{host}/v1", model="judge-2"))
    said = str(caught.value)
    for words in ("status 404", "Not Found", f"POST {host}/v1/chat/completions", "set critic.model", "'judge-1'"):
        assert words in said
    assert "\n" not in said


async def test_error_for_an_address_without_a_version_names_the_right_one() -> None:
    with judge_at("/v1/chat/completions", "/v1/models") as (host, _), pytest.raises(SettingsError) as caught:
        await ask_judge(settings(host))
    assert "status 404" in str(caught.value)
    assert f"set critic.base_url = '{host}/v1'" in str(caught.value)


@pytest.mark.parametrize(("how", "said"), [("status 400", "status 400"), ("say A nice page.", "accepts pictures")])
async def test_judge_without_a_judgment_is_refused_with_advice(how: str, said: str) -> None:
    async with JudgeServer(lambda number, body: how) as server:
        with pytest.raises(SettingsError, match=said):
            await ask_judge(settings(server.url))


async def test_unreachable_address_is_a_critic_fault() -> None:
    with socket.create_server(("127.0.0.1", 0)) as door:
        port = door.getsockname()[1]
    with pytest.raises(CriticFault, match="cannot be reached"):
        await ask_judge(settings(f"http://127.0.0.1:{port}/v1"))


async def test_local_judge_is_asked_without_a_proxy(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HTTP_PROXY", "http://127.0.0.1:9")
    monkeypatch.setenv("http_proxy", "http://127.0.0.1:9")
    monkeypatch.delenv("NO_PROXY", raising=False)
    monkeypatch.delenv("no_proxy", raising=False)
    async with JudgeServer() as server:
        await ask_judge(settings(server.url))


async def test_failing_proxy_is_named_without_its_password(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("NO_PROXY", "no_proxy"):
        monkeypatch.delenv(name, raising=False)
    for name in ("HTTP_PROXY", "http_proxy"):
        monkeypatch.setenv(name, "http://me:very-secret@127.0.0.1:9")
    endpoint = JudgeClient(settings("http://judge.invalid/v1"))
    with pytest.raises(CriticFault) as caught:
        await endpoint.check()
    await endpoint.close()
    assert "through the proxy 127.0.0.1:9 of HTTP_PROXY; name judge.invalid in NO_PROXY" in str(caught.value)
    assert "very-secret" not in str(caught.value)
    monkeypatch.setenv("no_proxy", "judge.invalid")
    monkeypatch.setenv("NO_PROXY", "judge.invalid")
    assert proxy_words("http://judge.invalid/v1") == ""
