"""Start-up test of a judge: one question about a tiny page, with everything a run's questions contain."""

import hashlib
import os
import re
from typing import Any
from urllib.parse import urlsplit, urlunsplit

import httpx

from actors.critic.critic import HttpCriticActor
from actors.judge_api.address import is_local, key_headers, request_url
from actors.settings import CriticSettings
from reward.multimodal.pictures import square
from rollout.errors import CriticFault, SettingsError
from rollout.records import Page, Render, Shot, Task

SIDE = 64
"""Side of the test page's picture in pixels."""
PATIENCE_S = 60.0
"""Longest wait for a busy server in seconds."""
SHOWN_MODELS = 5
HINT_TIMEOUT_S = 10.0


TASK = Task(id="test-question", brief="Build page 1: a blue square, nothing else.")
PAGE = Page(html="<!doctype html><title>Page 1</title><body style='background:#268bd2'></body>")


def render() -> Render:
    """The render of the test page."""
    png = square("#268bd2", SIDE)
    shot = Shot(at_ms=0, sha256=hashlib.sha256(png).hexdigest(), width=SIDE, height=SIDE, picture=png)
    return Render(page_sha256=PAGE.sha256, outcome="ok", shots=(shot,))


async def ask_judge(settings: CriticSettings) -> None:
    """Requests one judgment from the configured judge.

    Raises SettingsError, with the server's message and what to set, when there is none; CriticFault when no server
    answers.
    """
    quick = {"judgments": 1, "deadline_s": min(PATIENCE_S, settings.deadline_s), "retries": 1}
    critic = HttpCriticActor(settings.model_copy(update=quick))
    try:
        await critic.ping()
        await critic.judge(TASK, PAGE, render(), None, fresh=True)
    except (CriticFault, SettingsError) as fault:
        elsewhere = re.search(r"status 40[45]", str(fault))  # wrong address or model name; the server may list them
        if "cannot be reached" in str(fault) or (isinstance(fault, SettingsError) and not elsewhere):
            raise
        url = request_url(settings.base_url, "/chat/completions")
        advice = await advise(settings, str(fault))
        raise SettingsError(f"critic: {fault} (request: POST {url}); {advice}") from fault
    finally:
        await critic.stop()


async def advise(settings: CriticSettings, fault: str) -> str:
    """The setting to change, judging by the fault and the server's models."""
    found = re.search(r"status (\d+)", fault)
    status = int(found[1]) if found else 0
    if status in (401, 403):
        return "correct the key in the variable that critic.key_env names"
    if status in (404, 405):
        return await _whereabouts(settings)
    if status == 400 or status == 422:
        return "change what the message names: critic.model, critic.answer_format or another setting of requests"
    if status:
        return "fix the server, or set critic.base_url to another one"
    return "choose a model that accepts pictures and answers in JSON, or another critic.answer_format"


async def _whereabouts(settings: CriticSettings) -> str:
    """Says whether the address or the model name is wrong."""
    models = await _models(settings, settings.base_url)
    if models:
        if settings.model in models:
            return f"the server lists {settings.model!r}, but accepts no chat requests for it; check critic.base_url"
        named = ", ".join(map(repr, models[:SHOWN_MODELS]))
        return f"set critic.model to a model of the server: {named}"
    parts = urlsplit(settings.base_url)
    versioned = urlunsplit((parts.scheme, parts.netloc, "/v1", "", ""))
    if versioned != settings.base_url and await _models(settings, versioned) is not None:
        return f"set critic.base_url = {versioned!r}"
    return (
        "set critic.base_url to the server's address with its version, such as 'http://host:8000/v1', and critic.model"
    )


async def _models(settings: CriticSettings, base_url: str) -> list[str] | None:
    """Model names the server lists; None without a list."""
    key = os.environ.get(settings.key_env, "") if settings.key_env else ""
    try:
        async with httpx.AsyncClient(timeout=HINT_TIMEOUT_S, trust_env=not is_local(base_url)) as client:
            answer = await client.get(request_url(base_url, "/models"), headers=key_headers(base_url, key))
            body: Any = answer.json() if answer.status_code == 200 else None
    except (httpx.HTTPError, ValueError):
        return None
    listed = body.get("data") if isinstance(body, dict) else None
    if not isinstance(listed, list):
        return None
    return [str(one["id"]) for one in listed if isinstance(one, dict) and "id" in one]
