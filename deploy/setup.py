"""Makes this checkout ready to run: `make setup`, or `python3.11 deploy/setup.py`.

Needs only the standard library. Python packages come from the lock without dependency resolution, Chromium and
its company from the system; then every engine proves that it loads. The stamp is written last: a second call takes
no time, an interrupted one is repaired by the next, and a call that runs beside another waits for it.
"""

from __future__ import annotations

import ast
import contextlib
import fcntl
import hashlib
import os
import re
import shutil
import sys
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from machine import (
    CACHE,
    LOG,
    PYTHON,
    ROOT,
    VENV,
    SetupError,
    apt_install,
    find_chromium,
    install_system,
    output,
    run,
)

LOCK = ROOT / "requirements" / "cpu.lock"
STAMP, UNFINISHED = VENV / "setup-stamp", VENV / "setup-unfinished"
UV = "uv==0.13.9"
TORCH_INDEX = "https://download.pytorch.org/whl/cpu"
"""Where PyTorch publishes its builds without CUDA, asked when the configured sources have none."""
ENGINES = ("vllm.v1.engine.async_llm", "torch", "transformers", "ray", "deepspeed", "playwright.async_api", "mlflow")


def main() -> int:
    """Does what is not done yet. Returns 0, 2 when something is missing, 130 when it was interrupted."""
    started = time.monotonic()
    CACHE.mkdir(exist_ok=True)
    try:
        if "--lock" in sys.argv[1:]:
            lock_packages()
            return 0
        with alone():
            if STAMP.is_file() and STAMP.read_text() == fingerprint() and environment_works() and find_chromium():
                return 0
            set_up()
    except SetupError as error:
        print(f"setup: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print("\nsetup: interrupted; the next call goes on from here", file=sys.stderr)
        return 130
    print(f"setup: ready after {time.monotonic() - started:.0f} s")
    return 0


def set_up() -> None:
    """All stages, in order; each does only what is missing."""
    LOG.write_text("")
    with stage("Python 3.11 environment in .venv"):
        make_environment(find_python())
    with stage(f"packages of {LOCK.relative_to(ROOT)}"):
        install_packages()
    with stage("browser, sandbox, fonts"):
        install_system()
    with stage("importing every engine"):
        prove()
    STAMP.write_text(fingerprint())


def fingerprint() -> str:
    """What the stamp stands for: the lock, the set-up itself and the place, for an environment cannot be moved."""
    files = (LOCK, Path(__file__), Path(__file__).with_name("machine.py"))
    return hashlib.sha256(b"\0".join([str(ROOT).encode(), *(file.read_bytes() for file in files)])).hexdigest()


# --- Python and its packages


def find_python() -> str:
    """An interpreter of version 3.11 that is not of a virtual environment. Raises SetupError."""
    if sys.version_info[:2] == (3, 11):
        return str(getattr(sys, "_base_executable", sys.executable))
    for name in ("python3.11", "python3", "python"):
        found = shutil.which(name)
        if found and output(found, "-c", "import sys; print(sys.version_info[:2])") == "(3, 11)":
            return output(found, "-c", "import sys; print(sys._base_executable)")
    raise SetupError(
        "Python 3.11 is wanted, got "
        f"{sys.version.split()[0]}; install it (apt-get install python3.11-venv, or pyenv install 3.11)"
    )


def make_environment(python: str) -> None:
    """An empty virtual environment, unless there is one that works. Raises SetupError."""
    if environment_works():
        return
    shutil.rmtree(VENV, ignore_errors=True)
    if not run(python, "-m", "venv", str(VENV)):
        return
    apt_install(["python3.11-venv"])
    shutil.rmtree(VENV, ignore_errors=True)
    if problem := run(python, "-m", "venv", str(VENV)):
        raise SetupError(f"{python} -m venv failed: {problem}; on Debian: apt-get install python3.11-venv")


def environment_works() -> bool:
    """Whether .venv is whole: made here, not cut short while packages were installed, and its Python starts."""
    activate = VENV / "bin" / "activate"
    if UNFINISHED.exists() or not activate.is_file() or str(VENV) not in activate.read_text():
        return False
    return output(PYTHON, "-c", "import pip; print('ok')") == "ok"


def install_packages() -> None:
    """Every pin of the lock that is not there yet, and this checkout on the path. Raises SetupError."""
    pins = read_lock()
    here = installed()
    missing = [f"{name}=={version}" for name, version in pins.items() if here.get(normal(name)) != version]
    if missing:
        UNFINISHED.touch()
        if run(PYTHON, "-m", "pip", "install", "--quiet", UV):
            print("(uv cannot be had, pip takes longer) ", end="", flush=True)
        torch = [pin for pin in missing if pin.startswith("torch==")]
        rest = [pin for pin in missing if pin not in torch]
        if install(torch) and (problem := install(torch, "--index-url", TORCH_INDEX)):
            raise SetupError(f"{torch[0]} is neither in the configured sources nor on {TORCH_INDEX}: {problem}")
        if problem := install(rest):
            raise SetupError(f"packages cannot be installed: {problem}")
        UNFINISHED.unlink()
    site = output(PYTHON, "-c", "import sysconfig; print(sysconfig.get_path('purelib'))")
    # The rooms are importable from everywhere; a copy of them that is run in place (a Ray job's) comes first.
    (Path(site) / "relook.pth").write_text(f"{ROOT}\n")


def install(pins: list[str], *source: str) -> str:
    """Installs exactly these, with uv where it is there and works, else with pip. The problem, or empty."""
    if not pins:
        return ""
    uv, where = VENV / "bin" / "uv", source or uv_sources()
    # Compiled once here, or else by every process that starts where Python may not write what it compiled.
    command = [str(uv), "pip", "install", "--python", PYTHON, "--no-deps", "--compile-bytecode"]
    if uv.exists() and not run(*command, *where, *pins):
        return ""
    return run(PYTHON, "-m", "pip", "install", "--quiet", "--no-deps", *source, *pins)


def uv_sources() -> list[str]:
    """Where pip was told to look, as uv's options: uv does not read pip's configuration."""
    told: dict[str, str] = {}
    lines = output(PYTHON, "-m", "pip", "config", "list").splitlines()
    # A later one counts: what is configured for all commands, for `install`, in the environment.
    for section in ("global.", "install.", ":env:."):
        for line in lines:
            name, _, value = line.partition("=")
            if name.startswith(section):
                told[name[len(section) :]] = str(ast.literal_eval(value))
    options = ["--index-strategy", "unsafe-best-match"]
    for name, option in (("index-url", "--index-url"), ("extra-index-url", "--index"), ("find-links", "--find-links")):
        for place in told.get(name, "").split():
            options += [option, place]
    if "cert" in told:
        os.environ.setdefault("SSL_CERT_FILE", told["cert"])
    return options


def read_lock() -> dict[str, str]:
    """Package to version, as the lock pins them."""
    return dict(re.findall(r"^([\w.\-]+)(?:\[.*\])?==(\S+)", LOCK.read_text(), re.MULTILINE))


def installed() -> dict[str, str]:
    """Normalised name to version of every package in .venv."""
    code = "import importlib.metadata as m; print('\\n'.join(f'{d.name} {d.version}' for d in m.distributions()))"
    pairs = (line.rsplit(" ", 1) for line in output(PYTHON, "-c", code).splitlines())
    return {normal(name): version for name, version in pairs}


def normal(name: str) -> str:
    """A package's name as indexes compare it."""
    return re.sub(r"[-_.]+", "-", name).lower()


def lock_packages() -> None:
    """Resolves the lock anew from pyproject.toml and the overrides. Raises SetupError."""
    command = [str(VENV / "bin" / "uv"), "pip", "compile", "pyproject.toml", "--extra", "cpu", "--extra", "dev"]
    command += ["--override", "requirements/cpu-overrides.txt", "--python-version", "3.11", "--no-header"]
    command += ["--no-emit-index-url", "--no-emit-find-links", "-o", str(LOCK.relative_to(ROOT)), *uv_sources()]
    if run(*command) and (problem := run(*command, "--index", TORCH_INDEX)):
        raise SetupError(f"the lock cannot be resolved: {problem}")


# --- the proof that everything loads, and how it is said


def prove() -> None:
    """Imports every engine in a process of its own, a few at once. Raises the first SetupError there is."""
    with ThreadPoolExecutor(max_workers=os.cpu_count()) as pool:
        list(pool.map(try_import, ENGINES))


def try_import(name: str) -> None:
    """Imports one engine. Raises SetupError."""
    if problem := run(PYTHON, "-c", f"import {name}"):
        raise SetupError(f"{name} cannot be imported: {problem}; remove .venv and call again")


@contextlib.contextmanager
def stage(name: str) -> Iterator[None]:
    """Says what is being done, and how long it took."""
    started = time.monotonic()
    print(f"setup: {name} … ", end="", flush=True)
    try:
        yield
    except BaseException:
        print("failed", flush=True)
        raise
    print(f"{time.monotonic() - started:.0f} s", flush=True)


@contextlib.contextmanager
def alone() -> Iterator[None]:
    """One set-up at a time in a checkout."""
    with (CACHE / "setup.flock").open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        # Children hold it too: where this process is killed, the next waits until they no longer write to .venv.
        os.set_inheritable(file.fileno(), True)
        yield


if __name__ == "__main__":
    sys.exit(main())
