"""Tests of `cluster.plan`: predicted step times against measured steps of demo runs (2 cores, 3 runs per machine)."""

import json
from itertools import permutations
from pathlib import Path
from typing import Any

import pytest

from cluster.plan import attempts, from_bench, main, rescale
from cluster.settings import check_settings
from cluster.storage.store import Store
from cluster.training.bottleneck import advise, forecast, measure
from cluster.training.metrics import mean, pool_sizes
from rollout.errors import SettingsError
from rollout.settings import EpisodeSettings

RUNS: dict[str, Any] = json.loads(Path(__file__).with_name("recorded_runs.json").read_text())
CROWDED: dict[str, Any] = json.loads(Path(__file__).with_name("recorded_crowded_runs.json").read_text())
"""Runs with 1 or 2 browsers, engine and critic on the same cores, and more rounds."""
CORES = 2
BENCH = {
    "render": {"pages_per_s_per_core": 5.0},
    "critic": {"ms_per_judgment": 50.0},
    "rollout": {"tokens_per_s": 1000.0},
    "learner": {"tokens_per_s": 2000.0},
    "sync": {"seconds": 0.5},
}


@pytest.mark.parametrize(
    ("runs", "source", "target"), [(runs, *pair) for runs in (RUNS, CROWDED) for pair in permutations(runs, 2)]
)
def test_forecast_predicts_steps_of_a_run_with_other_settings(runs: dict[str, Any], source: str, target: str) -> None:
    was, now = (check_settings(runs[name]["settings"], name) for name in (source, target))
    history = runs[source]["history"]
    costs = rescale(measure(history, was, CORES), was, now, mean([row["accept_rate"] for row in history]))
    took = mean([row["seconds_step"] for row in runs[target]["history"]])
    assert forecast(costs, pool_sizes(now), 0).step_s == pytest.approx(took, rel=0.2)


@pytest.mark.parametrize("name", RUNS)
def test_forecast_of_early_steps_predicts_late_steps(name: str) -> None:
    settings, history = check_settings(RUNS[name]["settings"], name), RUNS[name]["history"]
    half = len(history) // 2
    took = mean([row["seconds_step"] for row in history[half:]])
    foretold = forecast(measure(history[:half], settings, CORES), pool_sizes(settings), 0).step_s
    assert foretold == pytest.approx(took, rel=0.2)


@pytest.mark.parametrize("name", RUNS)
def test_shared_cores_are_the_bottleneck_of_the_demo(name: str) -> None:
    settings = check_settings(RUNS[name]["settings"], name)
    costs = measure(RUNS[name]["history"], settings, CORES)
    assert "the processors that all share are the bottleneck" in advise(costs, pool_sizes(settings), 0)


def test_expected_attempts_match_the_episode_settings() -> None:
    episode = EpisodeSettings(rounds=2, attempts=3, speculate=2)
    judged, sampled, kept = attempts(episode, 0.5)
    assert judged == 1 + 2 * (1 + 0.5 + 0.25)
    assert sampled == 1 + 2 * (2 + 0.25 * 1)
    assert kept == 1 + 2 * (1 - 0.125)
    assert attempts(episode, 0.0) == (1 + 2 * 3, 1 + 2 * 3, 1)
    assert attempts(EpisodeSettings(rounds=2, forced=False, speculate=1), 0.3) == (3, 3, 3)


def test_forecast_from_a_bench_file(tmp_path: Path) -> None:
    path = tmp_path / "bench.json"
    path.write_text(json.dumps(BENCH))
    settings = check_settings({"groups": 10, "group_size": 4, "episode": {"rounds": 0, "max_tokens": 400}}, "test")
    costs, _ = from_bench(path, settings)
    assert costs.busy == pytest.approx({"browser": 40 / 5, "critic": 40 * 0.05, "policy": 40 * 200 / 1000})
    assert (costs.busy_learner, costs.sync_s) == pytest.approx((40 * 200 / 2000, 0.5))
    path.write_text(json.dumps(BENCH | {"rollout": {}}))
    with pytest.raises(SettingsError, match="no costs .*tokens_per_s.*--from RUN"):
        from_bench(path, settings)


def test_plan_command_prints_step_time_and_advice(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    name = next(iter(RUNS))
    store = Store(tmp_path / name)
    store.write_json("run.json", {"settings": RUNS[name]["settings"]})
    store.write_history(RUNS[name]["history"])
    asked = ["deploy/runs/demo.toml", "--runs", str(tmp_path), "--cores", "2", "--from"]
    assert main([*asked, name]) == 0
    told = capsys.readouterr().out
    assert "a step: " in told
    assert "browser " in told
    assert "more actors on this machine save nothing" in told
    assert main([*asked, "nothing"]) == 2
    assert "no run 'nothing'" in capsys.readouterr().err
