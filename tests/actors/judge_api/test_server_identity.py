"""Tests of the names that a judge's server gives to its model."""

import json

from judge_server import JudgeServer, completion

from actors.judge_api.client import JudgeClient
from actors.judge_api.server_identity import MAX_NAMES, ServerIdentity
from actors.settings import CriticSettings


def test_the_list_of_models_names_the_requested_one_with_its_weights() -> None:
    identity = ServerIdentity("judge")
    identity.listed({"data": [{"id": "other"}, {"id": "judge", "root": "/models/Qwen2.5-VL-72B"}]})
    assert identity.summary()["models"] == ["judge (/models/Qwen2.5-VL-72B)"]


def test_a_list_without_the_requested_model_is_noted_and_bounded() -> None:
    identity = ServerIdentity("judge")
    identity.listed({"data": [{"id": f"model-{number}"} for number in range(99)]})
    assert len(identity.summary()["models"]) == MAX_NAMES
    for answer in (None, [], {"data": 7}, {"data": ["x", {"id": 7}]}):
        identity.listed(answer)


async def test_a_client_notes_the_model_of_every_answer() -> None:
    def behave(number: int, body: object) -> str:
        named = {"model": f"judge-v{number}", "system_fingerprint": "fp_1"} if number < 2 else {}
        return "raw " + json.dumps({"status": 200, "body": {**completion("hello"), **named}})

    async with JudgeServer(behave) as server:
        client = JudgeClient(CriticSettings(kind="http", base_url=server.url, model="judge"))
        await client.check()
        for _ in range(3):
            await client.complete({"model": "judge", "messages": []})
        await client.close()
    assert client.identity.summary() == {
        "models": [],
        "answered_by": ["judge-v0", "judge-v1"],
        "system_fingerprints": ["fp_1"],
    }
