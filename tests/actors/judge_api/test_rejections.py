"""Tests of refusals of a judge server that no retry can fix: reported at once, with the setting to change."""

import json
from typing import Any

import pytest
from judge_server import JudgeServer, completion
from test_http_critic import judge, settings

from actors.critic.critic import HttpCriticActor
from actors.settings import CriticSettings
from rollout.errors import AnswerFault, BudgetSpent, CriticFault, SettingsError


def raw(status: int, body: Any, **headers: str) -> str:
    return "raw " + json.dumps({"status": status, "body": body, "headers": headers})


def error(message: str, **fields: Any) -> dict[str, Any]:
    return {"error": {"message": message, **fields}}


REFUSALS = [
    (raw(400, error("'temperature' does not support 0.2 with this model.")), SettingsError, 'omit = \\["temperature"'),
    (raw(422, {"detail": [{"loc": ["body", "seed"], "msg": "Extra inputs are not permitted"}]}), SettingsError, "seed"),
    (raw(400, [error('Unknown name "seed": Cannot find field.')]), SettingsError, 'omit = \\["seed"'),
    (
        raw(400, error("Unsupported parameter: 'max_tokens'. Use 'max_completion_tokens'.")),
        SettingsError,
        "tokens_field",
    ),
    (raw(400, error("response_format json_schema is not supported")), SettingsError, "answer_format"),
    (raw(308, "", Location="https://elsewhere.test/v1/chat/completions"), SettingsError, "https://elsewhere.test/v1"),
    (raw(200, "<html><body>Please sign in</body></html>"), SettingsError, "web page instead of JSON: <html>"),
    (raw(401, error("Wrong key")), SettingsError, "critic.key_env"),
    (raw(404, error("No model judge-1")), SettingsError, "critic.model"),
    (raw(429, error("You exceeded your current quota", code="insufficient_quota")), BudgetSpent, "current quota"),
    (raw(402, error("Add credits")), BudgetSpent, "quota"),
    (raw(413, error("Payload too large")), CriticFault, "lower critic.max_pictures"),
    (raw(400, error("At most 1 image(s) may be provided")), CriticFault, "critic.one_picture"),
    (raw(200, error("'seed' is not supported", code=400)), SettingsError, "seed"),
    (raw(400, error("The page is odd")), CriticFault, "The page is odd"),
]


@pytest.mark.parametrize(("answer", "kind", "why"), REFUSALS)
async def test_permanent_refusal_is_reported_at_once_with_its_remedy(
    answer: str, kind: type[Exception], why: str
) -> None:
    async with JudgeServer(lambda number, body: answer) as server:
        critic = HttpCriticActor(settings(server))
        with pytest.raises(kind, match=why) as caught:
            await judge(critic)
        assert type(caught.value) is kind
        assert "\n" not in str(caught.value)
        assert len(server.bodies) == 1
        await critic.stop()


async def test_refusal_after_good_answers_is_a_critic_fault_reported_once() -> None:
    refusal = raw(400, error("'seed' is not supported"))
    async with JudgeServer(lambda number, body: refusal if number else "well") as server:
        critic = HttpCriticActor(settings(server))
        await judge(critic, 1)
        for number in (2, 3):
            with pytest.raises(CriticFault, match="omit"):
                await judge(critic, number)
        (news,) = critic.news()
        assert "'seed' is not supported" in news
        await critic.stop()


@pytest.mark.parametrize(
    "answer",
    [
        raw(200, error("rate limited upstream", code=429)),
        raw(200, error("Upstream rate limit", code="busy")),
        raw(200, {"choices": [{"message": {"content": ""}, "finish_reason": "error", "error": {"code": 502}}]}),
        raw(200, {"choices": [{"message": {"content": ""}, "finish_reason": "error"}]}),
        raw(429, error("You exceeded your current quota: 10 requests per minute")),
        raw(429, error("insufficient_quota for now"), **{"Retry-After": "0.01"}),
    ],
)
async def test_error_inside_a_successful_response_is_retried(answer: str) -> None:
    async with JudgeServer(lambda number, body: answer if number < 2 else "well") as server:
        critic = HttpCriticActor(settings(server, retries=0))
        assert (await judge(critic)).score == pytest.approx(0.8)
        await critic.stop()


async def test_retry_prompt_says_what_was_wrong_without_quoting_the_answer() -> None:
    whole = json.loads(json.dumps(completion("")))
    whole["choices"][0]["message"]["content"] = "My secret words."
    async with JudgeServer(lambda number, body: raw(200, whole)) as server:
        critic = HttpCriticActor(settings(server))
        with pytest.raises(AnswerFault, match="My secret words"):
            await judge(critic)
        await critic.stop()
    assert [body["seed"] for body in server.bodies] == [0, 1000, 2000]
    said = json.dumps(server.bodies[1]["messages"])
    assert "could not be used. Answer with one JSON object" in said
    assert "secret words" not in said  # the answer may quote the page


async def test_request_follows_the_server_dialect_settings() -> None:
    async with JudgeServer() as server:
        wanted = {"omit": ["temperature", "seed"], "tokens_field": "max_completion_tokens", "one_picture": True}
        chosen = settings(server, extra_body={"reasoning_effort": "low"}, picture_format="jpeg", **wanted)
        critic = HttpCriticActor(chosen)
        assert (await judge(critic)).score == pytest.approx(0.8)
        await critic.stop()
    (body,) = server.bodies
    assert set(body) == {"model", "messages", "max_completion_tokens", "response_format", "reasoning_effort"}
    assert "data:image/jpeg;base64," in json.dumps(body)


def test_extra_body_cannot_replace_the_messages() -> None:
    with pytest.raises(ValueError, match="extra_body must not hold 'messages'"):
        CriticSettings(kind="http", base_url="http://host/v1", model="m", extra_body={"messages": []})
