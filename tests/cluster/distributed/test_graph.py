"""Tests of the train command on the real graph: Ray, vLLM, DeepSpeed, Chromium and MLflow in separate processes."""

import json
import os
import re
import secrets
import signal
import socket
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from family import ProcessFamily
from onlookers import check_actors, check_metrics, check_page

from cluster.preflight.warm_start import warm_start_command
from cluster.settings import load_settings

pytestmark = [
    pytest.mark.engine,
    # MLflow's own models use deprecated SQLAlchemy features.
    pytest.mark.filterwarnings("ignore::DeprecationWarning"),
]
TRAIN = [sys.executable, "-m", "cluster.train"]
TINY = "tests/support/tiny.toml"
PATIENCE_S = 600
STARTED: list[subprocess.Popen[bytes]] = []
"""Train commands that the current test has started."""


def start(*arguments: str, runs: Path, log: Path) -> subprocess.Popen[bytes]:
    """Start the train command in its own session, so that the test can kill the whole process group."""
    environment = {key: value for key, value in os.environ.items() if not key.startswith(("RAY_", "MLFLOW_"))}
    with log.open("ab") as output:
        process = subprocess.Popen(
            [*TRAIN, *arguments], stdout=output, stderr=output, env=environment, start_new_session=True
        )
    STARTED.append(process)
    return process


@pytest.fixture(autouse=True, scope="module")
def _warm_start() -> None:
    """Pre-train the tiny run's policy first, so that the limits of the tests do not include it."""
    subprocess.run(warm_start_command(load_settings(Path(TINY))), check=True, timeout=3 * PATIENCE_S)


@pytest.fixture(autouse=True)
def _end_started() -> Iterator[None]:
    """End what a failed test left running; otherwise the test after it reports the unfinished process."""
    yield
    while STARTED:
        process = STARTED.pop()
        if process.poll() is None:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()


def finish(process: subprocess.Popen[bytes], log: Path) -> int:
    try:
        return process.wait(PATIENCE_S)
    except subprocess.TimeoutExpired:
        os.killpg(process.pid, signal.SIGKILL)
        raise AssertionError(f"no end in {PATIENCE_S} s:\n{log.read_text()[-3000:]}") from None


def wait_for(condition: Any, process: subprocess.Popen[bytes], log: Path) -> None:
    deadline = time.monotonic() + PATIENCE_S
    while not condition():
        assert process.poll() is None, log.read_text()[-3000:]
        assert time.monotonic() < deadline, log.read_text()[-3000:]
        time.sleep(0.1)


def steps_done(runs: Path) -> int:
    return sum(len(path.read_text().splitlines()) for path in runs.glob("tiny-*/metrics.jsonl"))


def history(run: Path) -> list[dict[str, float]]:
    return [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]


def summary_of(runs: Path) -> tuple[Path, dict[str, Any]]:
    (path,) = runs.glob("tiny-*/summary.json")
    return path.parent, json.loads(path.read_text())


def mlflow_run(runs: Path, run: Path) -> Any:
    from mlflow import MlflowClient

    client = MlflowClient(tracking_uri=f"sqlite:///{runs}/mlflow.db")
    return client, client.get_run(json.loads((run / "run.json").read_text())["mlflow_run"])


@pytest.fixture(autouse=True)
def family() -> Iterator[ProcessFamily]:
    with ProcessFamily() as started:
        yield started


def test_real_graph_trains_two_steps(tmp_path: Path, family: ProcessFamily) -> None:
    log = tmp_path / "log"
    assert finish(start(TINY, "--set", f"runs={tmp_path}", runs=tmp_path, log=log), log) == 0, log.read_text()[-3000:]
    run, summary = summary_of(tmp_path)
    assert (summary["status"], summary["steps"]) == ("finished", 2)
    assert summary["forced_optimization"]["violations"] == 0
    assert summary["weight_sync"]["count"] == 2
    assert summary["weight_sync"]["max_logprob_gap"] <= 1e-3
    assert summary["episodes"] == {"finished": 32, "machine_faults": 0, "dropped": 0, "faults": {}}
    assert summary["inference"]["self_edit"]["tokens"] > summary["inference"]["base"]["tokens"] > 0
    check_tables(run)
    check_mlflow(tmp_path, run)
    report = (run / "report.html").read_text()
    assert "data:image/" in report
    assert family.left_behind() == []


def check_tables(run: Path) -> None:
    import pyarrow.dataset as ds

    rows = ds.dataset(run / "trajectories", format="parquet").to_table().to_pylist()
    assert {row["step"] for row in rows} == {1, 2}
    for row in rows:
        assert len(row["token_ids"]) == len(row["logprobs"]) > 0
        assert row["versions"][0]["start"] == 0
        assert row["versions"][-1]["end"] == len(row["token_ids"])
        assert {span["version"] for span in row["versions"]} == {row["step"] - 1}
        if row["reward"] is not None and row["outcome"] != "ok":
            assert row["reward"]["total"] == 0.0


def check_mlflow(runs: Path, run: Path) -> None:
    client, record = mlflow_run(runs, run)
    assert record.info.status == "FINISHED"
    assert record.data.params["learner.lr"] == "0.0003"
    history = client.get_metric_history(record.info.run_id, "pages/valid_share")
    assert [point.step for point in history] == [1, 2]
    names = {artifact.path for artifact in client.list_artifacts(record.info.run_id)}
    assert {"report.html", "summary.json", "champion", "trajectories"} <= names


@pytest.fixture(scope="module")
def judge() -> Iterator[str]:
    """URL of a judge process that is older than the process family, so that killing a run does not kill the judge."""
    with socket.socket() as door:
        door.bind(("127.0.0.1", 0))
        port = door.getsockname()[1]
    code = Path(__file__).parents[2] / "faults" / "judge.py"
    path = os.pathsep.join([str(code.parents[1] / "support"), str(code.parents[2])])
    process = subprocess.Popen([sys.executable, code, str(port)], env={**os.environ, "PYTHONPATH": path})
    yield f"http://127.0.0.1:{port}/v1"
    process.kill()
    process.wait()


def two_critics(judge: str) -> list[str]:
    """Settings of a critic ensemble with pairwise comparisons and a drift check every step."""
    also = {"kind": "http", "base_url": judge, "model": "judge", "weight": "0.5"}
    told = [f"critic.also.judge.{name}={value}" for name, value in also.items()]
    told += ["critic.drift_every=1", "episode.pairwise=true"]
    return [word for setting in told for word in ("--set", setting)]


def check_critics(run: Path) -> None:
    """Check that both critics are in the tables, that no drift is reported, and that judge usage survived the kill."""
    import pyarrow.dataset as ds

    rows = ds.dataset(run / "trajectories", format="parquet").to_table().to_pylist()
    judged = [row["critique"] for row in rows if row["critique"] is not None]
    assert {tuple(one["name"] for one in said["members"]) for said in judged} == {("visual", "judge")}
    for row in rows:
        if row["comparison"] is not None:
            won = row["comparison"]["answers"] == ["new", "new"]
            assert row["verdict"] == ("accepted" if won else "not_preferred")
    steps = history(run)
    assert [row["judge_drift"] for row in steps] == [0.0] * len(steps)
    totals = [row["critic_tokens_total"] for row in steps]
    assert totals == sorted(totals)
    costs = json.loads((run / "costs" / "critic-0.json").read_text())["judge"]
    assert costs["tokens"] == 100 * (costs["requests"] - costs.get("retries", 0)) >= totals[-1] > 0


def test_killed_run_resumes_without_loss(tmp_path: Path, family: ProcessFamily, judge: str) -> None:
    log = tmp_path / "log"
    chosen = ["--set", f"runs={tmp_path}", "--set", "steps=3", *two_critics(judge)]
    process = start(TINY, *chosen, runs=tmp_path, log=log)
    wait_for(lambda: steps_done(tmp_path) >= 1, process, log)
    os.killpg(process.pid, signal.SIGKILL)
    process.wait()
    (run,) = tmp_path.glob("tiny-*/")
    before = history(run)
    family.kill()

    resumed = start("--resume", run.name, "--runs", str(tmp_path), runs=tmp_path, log=log)
    wait_for(lambda: steps_done(tmp_path) >= 2, resumed, log)
    resumed.send_signal(signal.SIGINT)
    assert finish(resumed, log) == 130, log.read_text()[-3000:]
    _, summary = summary_of(tmp_path)
    assert summary["status"] == "stopped"
    _, record = mlflow_run(tmp_path, run)
    assert record.info.status == "KILLED"
    assert family.left_behind() == []

    last = start("--resume", run.name, "--runs", str(tmp_path), runs=tmp_path, log=log)
    assert finish(last, log) == 0, log.read_text()[-3000:]
    after = history(run)
    assert [row["step"] for row in after] == [1, 2, 3]
    assert after[0]["reward_best"] == before[0]["reward_best"]
    check_critics(run)
    assert summary_of(tmp_path)[1]["status"] == "finished"
    assert mlflow_run(tmp_path, run)[1].info.status == "FINISHED"


def test_run_survives_the_kill_of_any_actor_kind(tmp_path: Path, family: ProcessFamily) -> None:
    log = tmp_path / "log"
    options = ("--set", f"runs={tmp_path}", "--set", "steps=4", "--set", "max_fault_share=0.5")
    process = start(TINY, *options, runs=tmp_path, log=log)
    wait_for(lambda: steps_done(tmp_path) >= 1, process, log)
    check_the_door(log)
    for step, names in enumerate(
        (("ray::ChromiumRenderer", "ray::CriticActor", "ray::RayEpisodeWorker"), ("VLLM::",), ("ray::LearnerR",)),
        start=1,
    ):
        wait_for(lambda step=step: steps_done(tmp_path) >= step, process, log)
        for name in names:
            # An actor that was lost before may still be starting.
            wait_for(lambda name=name: family.kill(name), process, log)
    assert finish(process, log) == 0, log.read_text()[-3000:]
    run, summary = summary_of(tmp_path)
    assert [row["step"] for row in history(run)] == [1, 2, 3, 4]
    assert summary["status"] == "finished"
    assert summary["forced_optimization"]["violations"] == 0
    assert summary["episodes"]["finished"] + summary["episodes"]["dropped"] == 64
    assert (run / "report.html").read_text().count("restarting all actors after step") == 2, log.read_text()[-9000:]
    assert family.left_behind() == []


def check_the_door(log: Path) -> None:
    """Check that the Ray dashboard listens on the loopback address and requires its token."""
    found = re.search(r"Ray dashboard: (http://127\.0\.0\.1:\d+)", log.read_text())
    assert found, log.read_text()[-3000:]
    for door in ("api/jobs/", "api/v0/actors", "api/cluster_status"):
        with pytest.raises(urllib.error.HTTPError, match="401"):
            urllib.request.urlopen(f"{found[1]}/{door}", timeout=60)


@pytest.fixture
def ray_head(family: ProcessFamily) -> Iterator[tuple[str, str]]:
    """Address and token of a Ray head started with `ray start --head`; the process family ends it."""
    scripts, token = Path(sys.executable).parent, secrets.token_hex(32)
    path = f"{scripts}:{os.environ['PATH']}"
    environment = {**os.environ, "PATH": path, "RAY_USAGE_STATS_ENABLED": "0", "RAY_AUTH_MODE": "token"}
    environment |= {"RAY_AUTH_TOKEN": token, "RAY_worker_register_timeout_seconds": "600"}
    # A separate folder, because /tmp/ray records the last cluster; a short path, because it holds Unix sockets.
    with tempfile.TemporaryDirectory(prefix="ray-", dir="/tmp", ignore_cleanup_errors=True) as folder:
        head = ["--head", "--num-cpus=2", "--port=6399", "--dashboard-port=8299", "--metrics-export-port=8298"]
        command = [str(scripts / "ray"), "start", *head, f"--temp-dir={folder}"]
        subprocess.run(command, env=environment, check=True, capture_output=True, timeout=120)
        yield "http://127.0.0.1:8299", token


def test_submitted_ray_job_can_be_monitored_and_stopped(
    tmp_path: Path, ray_head: tuple[str, str], family: ProcessFamily
) -> None:
    from ray.job_submission import JobStatus, JobSubmissionClient

    board, token = ray_head
    client = JobSubmissionClient(board, headers={"Authorization": f"Bearer {token}"})
    entrypoint = f"python -m cluster.train {TINY} --set runs={tmp_path} --set steps=20"
    job = client.submit_job(entrypoint=entrypoint, runtime_env={"working_dir": ".", "excludes": [".venv", ".cache"]})
    deadline = time.monotonic() + PATIENCE_S
    while steps_done(tmp_path) < 1:
        assert time.monotonic() < deadline, client.get_job_logs(job)[-3000:]
        assert client.get_job_status(job) in (JobStatus.PENDING, JobStatus.RUNNING), client.get_job_logs(job)[-3000:]
        time.sleep(0.5)
    check_actors(board, token)
    check_metrics("http://127.0.0.1:8298/metrics", next(tmp_path.glob("tiny-*/")).name)
    check_page(board, token, tmp_path / "dashboard.png")
    client.stop_job(job)
    while not client.get_job_status(job).is_terminal():
        assert time.monotonic() < deadline
        time.sleep(0.2)
    assert client.get_job_status(job) == JobStatus.STOPPED
    run, summary = summary_of(tmp_path)
    assert summary["status"] == "stopped"
    assert mlflow_run(tmp_path, run)[1].info.status == "KILLED"
    assert list((run / "checkpoints").glob("step-*.json"))
    hands = ("VLLM", "chromium", "Policy", "Renderer", "LearnerRank")
    assert family.left_behind(hands) == []


def test_bad_input_gives_one_line_and_exit_code_2(tmp_path: Path) -> None:
    for arguments, message in (
        ([TINY, "--set", "lerner.lr=1"], "unknown setting 'lerner'"),
        ([TINY, "--set", "learner.lr=-1"], "learner.lr"),
        ([TINY, "--set", "task.source=nowhere.parquet"], "nowhere.parquet"),
        (["nowhere.toml"], "no such settings file"),
        (["--resume", "nowhere", "--runs", str(tmp_path)], "no run 'nowhere'"),
    ):
        shown = subprocess.run([*TRAIN, *arguments], capture_output=True, text=True)
        assert shown.returncode == 2, shown.stderr
        assert message in shown.stderr
        assert len(shown.stderr.strip().splitlines()) == 1
