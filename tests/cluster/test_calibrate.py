"""Tests of judge calibration (`cluster.calibrate`) with an HTTP judge server and a real browser."""

import asyncio
import json
import random
from typing import Any

import pytest
from judge_server import Behaviour, JudgeServer

from cluster.calibrate import calibrate, main, show
from cluster.settings import RunSettings, check_settings
from reward.multimodal.rubric import CRITERIA


@pytest.mark.browser
def test_embedded_critic_has_no_retest_noise(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--tasks", "2", "--repeats", "2", "--json"]) == 0
    figures = json.loads(capsys.readouterr().out)
    assert figures["retest_sd"] == figures["margin"] == 0.0
    assert figures["rank_agreement"] > 0.8
    assert figures["pairs"]["consistency"] == 1.0  # the embedded critic compares pages by their scores, in either order
    assert figures["pairs"]["bias"] == 0.0
    assert figures["members"] == {}


def noise() -> Behaviour:
    """A judge that gives random scores and always prefers the first page."""
    rng = random.Random(0)

    def behave(number: int, body: dict[str, Any]) -> str:
        if "better" in json.dumps(body["response_format"]):
            return 'say {"observations": "", "better": "A"}'
        said = {"observations": "", "scores": {name: rng.randint(1, 4) for name in CRITERIA}, "checklist": []}
        return "say " + json.dumps({**said, "feedback": ["Hm."]})

    return behave


@pytest.mark.browser
async def test_calibration_reports_retest_noise_per_critic() -> None:
    async with JudgeServer(noise()) as server:
        also = {"dice": {"kind": "http", "base_url": server.url, "model": "noise", "judgments": 4}}
        settings: RunSettings = check_settings({"critic": {"weight": 3.0, "also": also}}, "test")
        figures = await asyncio.wait_for(calibrate(settings, tasks=1, repeats=3), 300)
    assert figures["judge"] == "visual-4 + noise"
    assert figures["members"]["visual"]["retest_sd"] == 0.0
    assert figures["retest_sd"] == pytest.approx(figures["members"]["dice"]["retest_sd"] / 4) != 0.0
    assert figures["pairs"]["accuracy"] == 1.0  # the critic with the larger weight decides
    assert "dice             SD 0." in show(figures)


@pytest.mark.browser
async def test_calibration_detects_noise_and_position_bias_of_a_judge() -> None:
    async with JudgeServer(noise()) as server:
        critic = {"kind": "http", "base_url": server.url, "model": "noise"}
        settings: RunSettings = check_settings({"critic": critic}, "test")
        figures = await asyncio.wait_for(calibrate(settings, tasks=1, repeats=3), 300)
    assert figures["judge"] == "noise"
    assert figures["retest_sd"] > 0.03
    assert figures["margin"] > figures["retest_sd"]
    assert figures["pairs"] == {"accuracy": 0.0, "consistency": 0.0, "bias": 1.0}
    assert "position bias    +1.000" in show(figures)


def test_calibration_refuses_fewer_than_two_repeats(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        main(["--repeats", "1"])
    assert "--repeats 1, wanted at least" in capsys.readouterr().err
