"""Tests of the doctor command on machines and settings with deliberate faults."""

import asyncio
import os
import socket
import sqlite3
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from judge_server import JudgeServer

from actors.judge_settings import JudgeSettings
from actors.settings import BrowserSettings, CriticsSettings, PolicySettings
from cluster import doctor
from cluster.preflight import machine
from cluster.settings import ClusterSettings, RunSettings
from learner.settings import LearnerSettings


@contextmanager
def tmpfs(folder: Path, size: str) -> Iterator[Path]:
    """Mount a small tmpfs; skips the test if mounting is not allowed."""
    command = ["mount", "-t", "tmpfs", "-o", f"size={size}", "tmpfs", str(folder)]
    if os.geteuid() != 0 or subprocess.run(command, capture_output=True, check=False).returncode != 0:
        pytest.skip("mounting a tmpfs wants root")
    try:
        yield folder
    finally:
        subprocess.run(["umount", str(folder)], check=True)


def test_check_result_is_one_line_with_its_remedy() -> None:
    finding = machine.CheckResult(what="shm", status="FAIL", detail="0.06 GiB free", fix="docker run --shm-size=8g")
    assert str(finding) == "FAIL  shm         0.06 GiB free; docker run --shm-size=8g"


def test_package_that_differs_from_the_lock_is_named(tmp_path: Path) -> None:
    lock = tmp_path / "cpu.lock"
    lock.write_text("pytest==0.1\n    # via relook\nno-such-package==1.0\n")
    finding = machine.check_packages(lock)
    assert finding.status == "FAIL"
    assert "(wanted 0.1)" in finding.detail
    assert "no-such-package missing (wanted 1.0)" in finding.detail


def test_installed_packages_match_the_lock() -> None:
    # In a separate process: engines loaded by other tests change the list of installed packages.
    imports = "from cluster import doctor; from cluster.preflight import machine"
    code = f"{imports}; print(machine.check_packages(doctor.LOCK).status)"
    shown = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert shown.stdout.strip() == "ok"


def cpuinfo(folder: Path, *units: str) -> Path:
    path = folder / "cpuinfo"
    path.write_text(f"processor\t: 0\nflags\t\t: fpu {' '.join(units)} sse2\nprocessor\t: 1\n")
    return path


def test_processor_check_names_matrix_units_and_the_dtype(tmp_path: Path) -> None:
    without = machine.check_processor(cpuinfo=cpuinfo(tmp_path, "avx2"))
    assert without.status == "ok"
    assert "AVX2" in without.detail
    assert "float32" in without.detail
    assert "bfloat16" in machine.check_processor(cpuinfo=cpuinfo(tmp_path, "avx2", "avx512f", "amx_bf16")).detail


def test_bfloat16_on_a_processor_without_matrix_units_gives_a_warning(tmp_path: Path) -> None:
    settings = RunSettings(
        learner=LearnerSettings(autocast=True, dtype="bfloat16"), policy=PolicySettings(dtype="bfloat16")
    )
    asked = doctor.bfloat16_on_cpu(settings)
    assert asked == ("policy.dtype", "learner.dtype", "learner.autocast")
    finding = machine.check_processor(asked, cpuinfo(tmp_path, "avx2"))
    assert finding.status == "warn"
    assert "learner.autocast" in finding.detail
    assert doctor.bfloat16_on_cpu(RunSettings()) == ()
    on_gpus = settings.model_copy(update={"cluster": ClusterSettings(policy_gpus=1, learner_gpus=1)})
    assert doctor.bfloat16_on_cpu(on_gpus) == ()


def test_small_shared_memory_fails(tmp_path: Path) -> None:
    with tmpfs(tmp_path, "64m") as folder:
        finding = machine.check_shm(folder)
    assert finding.status == "FAIL"
    assert "--shm-size" in finding.fix


def test_missing_shared_memory_fails(tmp_path: Path) -> None:
    assert machine.check_shm(tmp_path / "shm").status == "FAIL"


def test_full_disk_fails(tmp_path: Path) -> None:
    with tmpfs(tmp_path, "16m") as folder:
        assert machine.check_disk(folder / "runs").status == "FAIL"
    assert machine.check_disk(tmp_path / "runs", wanted_gib=0.001, least_gib=0.0).status == "ok"


def test_runs_path_that_is_a_file_fails(tmp_path: Path) -> None:
    (tmp_path / "runs").write_text("not a folder")
    finding = machine.check_disk(tmp_path / "runs")
    assert finding.status == "FAIL"
    assert "runs=" in finding.fix


def test_container_with_little_memory_gives_a_warning(tmp_path: Path) -> None:
    limit = tmp_path / "memory.max"
    limit.write_text(f"{512 << 20}\n")
    finding = machine.check_memory(limit=limit)
    assert (finding.status, finding.detail.split(",")[0]) == ("warn", "0.5 GiB available")


def test_busy_port_gives_a_warning() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
        assert machine.check_port(port, "the Ray dashboard").status == "warn"
    assert machine.check_port(port, "the Ray dashboard").status == "ok"


def test_locked_mlflow_store_fails(tmp_path: Path) -> None:
    assert machine.check_mlflow(tmp_path, "").status == "ok"
    assert list(tmp_path.iterdir()) == []
    holder = sqlite3.connect(tmp_path / "mlflow.db", isolation_level=None)
    try:
        holder.execute("BEGIN EXCLUSIVE")
        assert machine.check_mlflow(tmp_path, "", patience_s=0.1).status == "FAIL"
    finally:
        holder.close()


def test_absent_mlflow_server_fails_without_showing_its_password() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
    finding = machine.check_mlflow(Path(), f"http://me:secret@127.0.0.1:{port}")
    assert finding.status == "FAIL"
    assert "secret" not in str(finding)


def test_scripts_without_a_font_are_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    listing = tmp_path / "fc-list"
    listing.write_text(
        '#!/bin/sh\ncase "$1" in\n"") echo "Liberation Sans, Noto Sans CJK JP, Noto Color Emoji" ;;\n'
        ':lang=th) echo "/usr/share/fonts/thai.ttf" ;;\nesac\n'
    )
    listing.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}{os.pathsep}{os.environ['PATH']}")
    found = machine.check_fonts()
    assert found.status == "ok"
    assert "Devanagari, Bengali, Tamil, Khmer, Ethiopic letters will be drawn as boxes" in found.detail


def test_missing_bubblewrap_gives_a_warning() -> None:
    assert machine.check_sandbox("/nowhere/bwrap").status == "warn"


def test_gpu_settings_fail_without_gpus(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("RAY_ADDRESS", raising=False)
    assert machine.check_gpu(2.0, "/nowhere/nvidia-smi").status == "FAIL"
    assert machine.check_gpu(0.0, "/nowhere/nvidia-smi").status == "ok"


def test_missing_chromium_fails(tmp_path: Path) -> None:
    settings = RunSettings(browser=BrowserSettings(executable=tmp_path / "chromium"))
    finding = doctor.check_browser(settings)
    assert finding.status == "FAIL"
    assert str(tmp_path / "chromium") in finding.detail


@pytest.mark.browser
def test_the_installed_chromium_renders() -> None:
    finding = doctor.check_browser(RunSettings())
    assert finding.status == "ok", finding


def test_engine_that_cannot_be_imported_is_named() -> None:
    finding = doctor.check_engines(("json", "no_such_engine"))
    assert finding.status == "FAIL"
    assert "no_such_engine" in finding.detail
    assert doctor.check_engines(("json",)).status == "ok"


def test_resources_missing_in_the_cluster_are_named() -> None:
    settings = RunSettings(cluster=ClusterSettings(roles=True, policy_gpus=4))
    asked = doctor.ask(settings)
    finding = doctor.compare(asked, {"CPU": 64.0, "policy": 1.0, "browser": 1.0}, "10.0.0.1:6379")
    assert finding.status == "FAIL"
    assert "4 GPU (has 0)" in finding.detail
    assert "1 learner (has 0)" in finding.detail
    assert "policy" not in finding.detail
    assert doctor.compare({"CPU": 1.5}, {"CPU": 2.0}, "here").status == "ok"


def judged(model: Path, **cluster: Any) -> RunSettings:
    critic = CriticsSettings(kind="http", model="j")
    judge = JudgeSettings(model=str(model), tensor_parallel=2)
    return RunSettings(critic=critic, judge=judge, cluster=ClusterSettings(**cluster))


def test_judge_model_without_weights_fails_and_weights_are_sized(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("RAY_ADDRESS", raising=False)
    assert doctor.check_judge(RunSettings()).status == "ok"
    assert "config.json" in doctor.check_judge(judged(tmp_path)).detail
    (tmp_path / "config.json").write_text("{}")
    assert "no weights" in doctor.check_judge(judged(tmp_path)).detail
    (tmp_path / "model.safetensors").write_bytes(bytes(1 << 20))
    finding = doctor.check_judge(judged(tmp_path))
    assert (finding.status, finding.detail.partition(": ")[2]) == (
        "ok",
        "0.000977 GiB of weights, 0.000488 GiB on each of 2 devices",
    )


async def test_absent_judge_server_fails() -> None:
    async with JudgeServer() as server:
        url = server.url
        well = await asyncio.to_thread(doctor.check_judge, asking(url))
    assert well.status == "ok"
    assert (await asyncio.to_thread(doctor.check_judge, asking(url))).status == "FAIL"


def asking(url: str) -> RunSettings:
    return RunSettings(critic=CriticsSettings(kind="http", model="j", base_url=url))


def test_judge_requests_its_own_devices(tmp_path: Path) -> None:
    asked = doctor.ask(judged(tmp_path, roles=True, judge_gpus=2, judge_cpus=3))
    bare = doctor.ask(RunSettings(cluster=ClusterSettings(roles=True)))
    more = {name: asked[name] - bare.get(name, 0.0) for name in asked if asked[name] != bare.get(name)}
    assert more == pytest.approx({"CPU": 3.0, "GPU": 2.0, "judge": 1.0})


def test_bad_settings_give_one_line_and_exit_code_2(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert doctor.main([str(tmp_path / "nowhere.toml")]) == 2
    assert capsys.readouterr().err.count("\n") == 1
