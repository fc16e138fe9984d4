"""Tests of the acceptance's pure parts: verdicts, bounds, batch shapes, and the prediction from a recorded step."""

import json
import math
from pathlib import Path
from typing import Any

import pytest

from cluster.acceptance import agreement, generation, learner, nodes, rendering, weight_sync, whole_step
from cluster.acceptance.measurement import Acceptance, Measurement, failed, worst
from cluster.distributed.nodes import Node, named_nodes
from cluster.preflight.machine import GPU, CheckResult
from cluster.settings import RunSettings, check_settings
from learner.memory_use import MemoryUse
from learner.model_costs.shape import FAMILY
from rollout.errors import EngineFault
from rollout.records import Sync, Task

GIB = 1 << 30
RUNS: dict[str, Any] = json.loads((Path(__file__).parents[1] / "recorded_runs.json").read_text())


def settings(**values: Any) -> RunSettings:
    return check_settings(values, "test")


def facts(driver: str = "580.65", *, gpus: int = 1, model: str = "", status: Any = "ok") -> nodes.NodeFacts:
    check = CheckResult(what="shm", status=status, detail="0.1 GiB", fix="raise it" if status != "ok" else "")
    gpu = GPU(name="NVIDIA H100 80GB HBM3", gib=79.6, driver=driver)
    return nodes.NodeFacts(gpus=(gpu,) * gpus, checks=(check,), model=model)


def test_the_worst_verdict_decides() -> None:
    assert worst([]) == "ok"
    assert worst(["ok", "slow"]) == "slow"
    assert worst(["slow", "wrong", "ok"]) == "wrong"


def test_a_fault_is_one_line_and_wrong() -> None:
    found = failed("weight sync", EngineFault("policy-0\nlost its engine"))
    assert (found.verdict, found.figure, found.advice) == ("wrong", None, "policy-0 lost its engine")
    assert "\n" not in str(found)


def test_figures_that_are_not_finite_are_null_in_the_file() -> None:
    odd = Measurement(what="gap", figure=math.nan, unit="nats", expected="", verdict="ok")
    contents = Acceptance(name="demo", measurements=(odd,), prediction=None, seconds=1.0).to_json()
    assert contents["measurements"][0]["figure"] is None
    json.dumps(contents, allow_nan=False)


@pytest.mark.parametrize(
    ("gap", "bound"), [(0.0, 1e-6), (1e-9, 1e-6), (1e-5, 2e-5), (0.013, 0.03), (0.02, 0.04), (0.5, 1.0)]
)
def test_bound_is_twice_the_gap_rounded_up(gap: float, bound: float) -> None:
    assert agreement.proposed_bound(gap) == pytest.approx(bound)


def test_a_gap_above_the_bound_is_wrong_and_names_the_bound_to_set() -> None:
    found = agreement.judge_gaps([0.001, 0.02, 0.013], 0.004, 0.01)
    assert (found.verdict, found.figure) == ("wrong", 0.02)
    assert "cluster.max_logprob_gap = 0.04" in found.advice


def test_a_gap_below_the_bound_is_right_unless_the_bound_is_far_too_wide() -> None:
    assert "set cluster" not in agreement.judge_gaps([0.001, 0.01], 0.0, 0.05).advice
    wide = agreement.judge_gaps([1e-6], 1e-6, 0.05)
    assert wide.verdict == "ok"
    assert "cluster.max_logprob_gap = 2e-06" in wide.advice


def test_a_sync_is_slow_if_it_uses_little_of_the_link() -> None:
    sync = Sync(version=1, gap=0.0, bytes=14_000_000_000, seconds=9.0)
    assert weight_sync.judge_sync(sync, 10e9, "nccl", 4).verdict == "ok"
    slow = weight_sync.judge_sync(sync, 100e9, "nccl", 4)
    assert slow.verdict == "slow"
    assert "a broadcast to 4 learner ranks" in slow.expected
    small = Sync(version=1, gap=0.0, bytes=14_000_000, seconds=0.9)
    assert weight_sync.judge_sync(small, 5e9, "shared_memory", 1).verdict == "ok"


def test_generation_is_slow_below_nine_tenths_of_vllm() -> None:
    assert generation.judge_generation(950.0, 1000.0, 64).verdict == "ok"
    assert generation.judge_generation(850.0, 1000.0, 64).verdict == "slow"


def test_pages_that_do_not_render_are_wrong() -> None:
    assert rendering.judge_rendering(8, 2.0, []).figure == 4.0
    assert rendering.judge_rendering(8, 40.0, []).verdict == "slow"
    assert rendering.judge_rendering(8, 2.0, ["blank"]).verdict == "wrong"


def test_rendered_pages_are_the_tasks_references_and_differ() -> None:
    tasks = [Task(id="a", brief="b", reference_html="<p>one"), Task(id="c", brief="d")]
    pages = rendering.pages_of(tasks, "now")
    assert len({page.sha256 for page in pages}) == rendering.PAGES + 1
    assert all((page.html or "").startswith("<p>one") for page in pages)
    assert rendering.pages_of([Task(id="c", brief="d")], "now")[0].html


def test_a_batch_has_the_lengths_of_the_settings_and_fits_the_budget() -> None:
    run = settings(groups=4, group_size=4, learner={"token_budget": 12288})
    batch = learner.batch_of(run, [300, 500])
    lengths = [len(sample.prompt_ids) + len(sample.token_ids) for sample in batch.samples]
    assert max(lengths) <= 12288
    assert sum(lengths) <= (learner.ROWS + 1) * 12288
    assert any(len(sample.prompt_ids) > 2000 for sample in batch.samples), "revisions contain a page"
    assert {sample.advantage for sample in batch.samples} == {0.0}


def test_the_longest_sample_fills_a_row_or_the_context() -> None:
    run = settings(learner={"token_budget": 12288})
    (sample,) = learner.longest_sample(run, None).samples
    assert len(sample.prompt_ids) + len(sample.token_ids) == 12288
    (sample,) = learner.longest_sample(run, 9000).samples
    assert len(sample.prompt_ids) + len(sample.token_ids) == 9000


def test_utilisation_needs_a_known_device_and_a_known_model() -> None:
    run = RunSettings()
    shape = FAMILY["qwen2.5-7b"]
    share = learner.utilisation(shape, [4096] * 8, 8 * 2048, 8000.0, "NVIDIA H100 80GB HBM3", run)
    assert share == pytest.approx(0.36, abs=0.03)
    assert learner.utilisation(shape, [4096], 2048, 8000.0, "cpu", run) is None
    assert learner.utilisation(None, [4096], 2048, 8000.0, "NVIDIA H100", run) is None
    assert learner.judge_speed(8000.0, 0.1, "NVIDIA H100", 8).verdict == "slow"
    assert learner.judge_speed(8000.0, None, "cpu", 8).verdict == "ok"


def test_full_memory_is_wrong() -> None:
    assert learner.judge_memory(MemoryUse(device="gpu", peak=60 * GIB, total=80 * GIB), "an update").verdict == "ok"
    assert learner.judge_memory(MemoryUse(device="gpu", peak=78 * GIB, total=80 * GIB), "an update").verdict == "wrong"


def test_different_drivers_are_slow_and_different_models_wrong() -> None:
    assert nodes.judge_drivers({"a": facts(), "b": facts()})[0].verdict == "ok"
    assert nodes.judge_drivers({"a": facts(), "b": facts("570.1")})[0].verdict == "slow"
    assert nodes.judge_drivers({"a": facts(gpus=0)}) == []
    assert nodes.judge_model({"a": facts(), "b": facts()}) == []
    (found,) = nodes.judge_model({"a": facts(model="x"), "b": facts(model="")})
    assert found.verdict == "wrong"
    assert "b has other files" in found.advice


def test_a_node_that_does_not_see_a_file_of_another_is_wrong(tmp_path: Path) -> None:
    assert nodes.judge_storage({"a": ("1", "2"), "b": ("1", "2")}, ["1", "2"], tmp_path).verdict == "ok"
    blind = nodes.judge_storage({"a": ("1", "2"), "b": ("2",)}, ["1", "2"], tmp_path)
    assert blind.verdict == "wrong"
    assert blind.advice.startswith("b does not see")
    lost = nodes.judge_storage({"a": ("1",), "b": EngineFault("gone")}, ["1"], tmp_path)
    assert (lost.verdict, lost.figure) == ("wrong", 1)


def test_nodes_that_fail_a_check_or_do_not_answer_are_wrong() -> None:
    assert nodes.judge_checks("a", facts()).verdict == "ok"
    assert nodes.judge_checks("a", facts(status="warn")).verdict == "slow"
    bad = nodes.judge_checks("a", facts(status="FAIL"))
    assert bad.verdict == "wrong"
    assert "raise it" in bad.advice
    assert nodes.summary({"a": facts()}, 2).verdict == "wrong"
    assert "1 × NVIDIA H100 80GB HBM3 80 GiB" in nodes.summary({"a": facts()}, 1).advice


def test_nodes_on_one_host_have_names_of_their_own() -> None:
    rows = [
        {"NodeID": f"{place}abcdefgh", "NodeManagerHostname": host, "Resources": {}}
        for place, host in enumerate(("b", "a", "b"))
    ]
    assert [node.host for node in named_nodes(rows)] == ["a", "b-0abcde", "b-2abcde"]


def test_nodes_that_only_run_browsers_need_no_shared_storage() -> None:
    assert not nodes.has_storage(Node(id="1", host="a", resources={"browser": 8.0}))
    assert nodes.has_storage(Node(id="2", host="b", resources={"CPU": 8.0, "GPU": 1.0}))


def test_a_clock_counts_only_beyond_the_error_of_its_measurement() -> None:
    assert nodes.judge_clock("a", 0.4, 0.01).verdict == "ok"
    assert nodes.judge_clock("a", -1.4, 0.01).verdict == "wrong"
    assert nodes.judge_clock("a", 1.4, 0.5).verdict == "ok"


def test_model_digests_differ_by_files_and_configuration(tmp_path: Path) -> None:
    assert nodes.model_digest(tmp_path) == ""
    (tmp_path / "config.json").write_text("{}")
    first = nodes.model_digest(tmp_path)
    (tmp_path / "model.safetensors").write_bytes(b"12")
    assert "" != first != nodes.model_digest(tmp_path)
    assert nodes.seen_tokens(tmp_path) == ("config.json", "model.safetensors")
    assert nodes.seen_tokens(tmp_path / "none") == ()


def test_the_measured_step_is_smaller_and_on_policy() -> None:
    run = settings(groups=32, group_size=8, max_staleness=1, steps=300)
    step = whole_step.reduced(run, None)
    assert (step.groups, step.max_staleness, step.steps, step.refill) == (8, 0, 1, 0.0)
    assert whole_step.reduced(run, 2).groups == 2
    assert whole_step.reduced(settings(groups=4, group_size=4), None).groups == 4


@pytest.mark.parametrize("name", RUNS)
def test_a_step_of_the_same_settings_predicts_itself(name: str) -> None:
    run = check_settings(RUNS[name]["settings"], name)
    row = RUNS[name]["history"][-1] | {"cores": 2.0, "tokens_mean": 300.0}
    costs, origin = whole_step.costs_of(row, run, run, 0.0)
    found = whole_step.predict(costs, run, origin)
    assert found.step_s == pytest.approx(row["seconds_step"], rel=0.2)
    assert found.run_s == pytest.approx(run.steps * found.step_s)


@pytest.mark.parametrize("name", RUNS)
def test_a_slow_learner_is_the_predicted_bottleneck(name: str) -> None:
    run = check_settings(RUNS[name]["settings"] | {"max_staleness": 0}, name)
    row = RUNS[name]["history"][-1] | {"cores": 2.0, "tokens_mean": 300.0}
    costs, origin = whole_step.costs_of(row, run, run, 10.0)
    found = whole_step.predict(costs, run, origin)
    assert found.bottleneck == "learner rank"
    assert found.learn_s > found.play_s


def test_lost_episodes_make_a_step_slow_or_wrong() -> None:
    run = settings(groups=4, group_size=4)
    row = {f"seconds_{name}": 1.0 for name in ("step", "play", "learn", "sync")}
    assert whole_step.judge_step(row, run)[0].verdict == "ok"
    assert whole_step.judge_step(row | {"dropped": 1.0}, run)[0].verdict == "slow"
    assert whole_step.judge_step(row | {"dropped": 5.0}, run)[0].verdict == "wrong"
