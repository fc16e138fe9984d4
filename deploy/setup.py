"""Sets up this checkout: `make setup`, or `python3 deploy/setup.py [--python PATH]`.

Needs only the standard library of Python 3.8 or later. Installs Python packages from the lock without dependency
resolution, and Chromium, sandbox and fonts from the system; then imports every engine. Writes the stamp last, so that
a second call takes no time and the next call completes an interrupted one. Concurrent calls wait for each other.
"""

from __future__ import annotations

import argparse
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

import interpreter
from machine import (
    CACHE,
    LOG,
    PYTHON,
    ROOT,
    SUPPORTED,
    VENV,
    SetupError,
    apt_install,
    find_chromium,
    install_system,
    output,
    run,
)

LOCK, GPU_LOCK = ROOT / "requirements" / "cpu.lock", ROOT / "requirements" / "gpu.lock"
OVERRIDES, EXTRAS = Path("requirements") / "cpu-overrides.txt", ("cpu", "dev", "bench")
STAMP, UNFINISHED = VENV / "setup-stamp", VENV / "setup-unfinished"
UV = "uv==0.13.9"
TORCH_INDEX = "https://download.pytorch.org/whl/cpu"
"""The index of PyTorch builds without CUDA, used if the configured sources have none."""
CUDA_LIBRARIES = frozenset(
    ["nvidia-cublas", "nvidia-cuda-cupti", "nvidia-cuda-nvrtc", "nvidia-cuda-runtime", "nvidia-cudnn-cu13"]
    + ["nvidia-cufft", "nvidia-cufile", "nvidia-curand", "nvidia-cusolver", "nvidia-cusparse"]
    + ["nvidia-cusparselt-cu13", "nvidia-nccl-cu13", "nvidia-nvjitlink", "nvidia-nvshmem-cu13", "nvidia-nvtx"]
)
"""Libraries that PyTorch's CUDA build loads on import, pinned in gpu.lock."""
ENGINES = ("vllm.v1.engine.async_llm", "torch", "transformers", "ray", "deepspeed", "playwright.async_api", "mlflow")


def main() -> int:
    """Completes the set-up. Returns 0, 2 if a dependency is missing, 130 if it was interrupted."""
    parser = argparse.ArgumentParser(prog="deploy/setup.py", description="Sets up this checkout.")
    parser.add_argument("--python", default="", help="path or version of the Python for .venv")
    parser.add_argument("--lock", action="store_true", help="only resolve requirements/cpu.lock again")
    parser.add_argument("--versions", action="store_true", help="only list the supported Pythons of this machine")
    options = parser.parse_args()
    if options.versions:
        print(*sorted(interpreter.available(), key=SUPPORTED.index))
        return 0
    started = time.monotonic()
    CACHE.mkdir(exist_ok=True)
    try:
        if options.lock:
            lock_packages()
            return 0
        with alone():
            if is_ready(options.python):
                return 0
            set_up(options.python)
    except SetupError as error:
        print(f"setup: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print("\nsetup: interrupted; run it again to continue", file=sys.stderr)
        return 130
    print(f"setup: ready after {time.monotonic() - started:.0f} s")
    return 0


def is_ready(wanted: str) -> bool:
    """Whether the set-up is complete, with the requested Python if `wanted` is not empty."""
    if not (STAMP.is_file() and STAMP.read_text() == fingerprint() and environment_works() and find_chromium()):
        return False
    return not wanted or interpreter.version_of(interpreter.find(wanted)) == interpreter.version_of(PYTHON)


def set_up(wanted: str) -> None:
    """Runs all stages in order; each installs only missing parts."""
    LOG.write_text("")
    python = interpreter.find(wanted, kept=PYTHON if environment_works() else "")
    with stage(f"Python {interpreter.version_of(python)} environment in .venv"):
        make_environment(python)
    with stage(f"packages of {LOCK.relative_to(ROOT)}"):
        install_packages()
    with stage("browser, sandbox, fonts"):
        install_system()
    with stage("importing every engine"):
        prove()
    STAMP.write_text(fingerprint())


def fingerprint() -> str:
    """The stamp: a hash of the lock, of the set-up code and of the path (an environment cannot be moved)."""
    files = (LOCK, *sorted(Path(__file__).parent.glob("*.py")))
    return hashlib.sha256(b"\0".join([str(ROOT).encode(), *(file.read_bytes() for file in files)])).hexdigest()


# --- Python and its packages


def make_environment(python: str) -> None:
    """Creates an empty virtual environment, unless .venv works and has the same version. Raises SetupError."""
    if environment_works() and interpreter.version_of(PYTHON) == interpreter.version_of(python):
        return
    shutil.rmtree(VENV, ignore_errors=True)
    if not run(python, "-m", "venv", str(VENV)):
        return
    package = f"python{interpreter.version_of(python)}-venv"
    apt_install([package])
    shutil.rmtree(VENV, ignore_errors=True)
    if problem := run(python, "-m", "venv", str(VENV)):
        raise SetupError(f"{python} -m venv failed: {problem}; on Debian and Ubuntu: apt-get install {package}")


def environment_works() -> bool:
    """Whether .venv works: created at this path, no interrupted installation, and its Python starts."""
    activate = VENV / "bin" / "activate"
    if UNFINISHED.exists() or not activate.is_file() or str(VENV) not in activate.read_text():
        return False
    return output(PYTHON, "-c", "import pip; print('ok')") == "ok"


def install_packages() -> None:
    """Installs the missing pins of the lock and puts this checkout on the path. Raises SetupError."""
    pins = read_lock()
    here = installed()
    missing = [
        f"{name}=={version}" for name, version in pins.items() if not same(name, here.get(normal(name)), version)
    ]
    if missing:
        UNFINISHED.touch()
        if run(PYTHON, "-m", "pip", "install", "--quiet", UV):
            print("(uv is not available, using pip, which is slower) ", end="", flush=True)
        torch = [pin for pin in missing if pin.startswith("torch==")]
        install_torch(torch)
        if problem := install([pin for pin in missing if pin not in torch]):
            raise SetupError(f"packages cannot be installed: {problem}")
        UNFINISHED.unlink()
    site = output(PYTHON, "-c", "import sysconfig; print(sysconfig.get_path('purelib'))")
    # The packages can be imported from any folder; a copy in the working directory (of a Ray job) has priority.
    (Path(site) / "relook.pth").write_text(f"{ROOT}\n")
    write_command()


def write_command() -> None:
    """Writes `.venv/bin/relook`, as an installation with pip does."""
    path = VENV / "bin" / "relook"
    # Guarded, because processes that vLLM spawns import the script again.
    call = 'if __name__ == "__main__":\n    sys.exit(main())\n'
    path.write_text(f"#!{PYTHON}\nimport sys\n\nfrom cluster.__main__ import main\n\n{call}")
    path.chmod(0o755)


def install_torch(pins: list[str]) -> None:
    """Installs PyTorch's CPU build, or its CUDA build, which also runs without a GPU. Raises SetupError."""
    if not install(pins) or not install(pins, "--index-url", TORCH_INDEX):
        return
    print("(PyTorch's CPU build is not available, its CUDA build takes 3 GB more) ", end="", flush=True)
    general = [pin.partition("+")[0] for pin in pins]
    gpu = read_lock(GPU_LOCK)
    libraries = [f"{name}=={version}" for name, version in gpu.items() if name in CUDA_LIBRARIES]
    if problem := install(general + libraries):
        raise SetupError(
            f"{pins[0]} is neither in the configured sources nor on {TORCH_INDEX}, and its CUDA build cannot be "
            f"installed instead: {problem}"
        )


def same(name: str, here: str | None, wanted: str) -> bool:
    """Whether an installed version matches the pin; PyTorch's CUDA build matches a pin of its CPU build."""
    return here == wanted or (name == "torch" and here == wanted.partition("+")[0])


def install(pins: list[str], *source: str) -> str:
    """Installs exactly these pins with uv, else with pip. Returns the error, or an empty string."""
    if not pins:
        return ""
    uv, where = VENV / "bin" / "uv", source or uv_sources()
    # Compiled here once; otherwise every process compiles again if Python cannot write its bytecode.
    command = [str(uv), "pip", "install", "--python", PYTHON, "--no-deps", "--compile-bytecode"]
    if uv.exists() and not run(*command, *where, *pins):
        return ""
    return run(PYTHON, "-m", "pip", "install", "--quiet", "--no-deps", *source, *pins)


def uv_sources() -> list[str]:
    """The sources of pip's configuration as options of uv: uv does not read this configuration."""
    told: dict[str, str] = {}
    lines = output(PYTHON, "-m", "pip", "config", "list").splitlines()
    # Later sections override earlier ones: all commands, `install`, the environment.
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


def read_lock(lock: Path = LOCK) -> dict[str, str]:
    """The pins of a lock for the Python of .venv: package to version."""
    code = (
        "import sys; from pip._vendor.packaging.requirements import Requirement\n"
        "for line in map(str.strip, open(sys.argv[1], encoding='utf-8')):\n"
        "    if line and not line.startswith('#'):\n"
        "        one = Requirement(line.partition(' #')[0])\n"
        "        if one.marker is None or one.marker.evaluate(): print(one.name, str(one.specifier)[2:])"
    )
    pins = dict(line.split() for line in output(PYTHON, "-c", code, str(lock)).splitlines())
    if not pins:
        raise SetupError(f"{lock.relative_to(ROOT)} cannot be read by {PYTHON}; remove .venv and run make setup again")
    return pins


def installed() -> dict[str, str]:
    """Normalised name to version of every package in .venv."""
    code = "import importlib.metadata as m; print('\\n'.join(f'{d.name} {d.version}' for d in m.distributions()))"
    pairs = (line.rsplit(" ", 1) for line in output(PYTHON, "-c", code).splitlines())
    return {normal(name): version for name, version in pairs}


def normal(name: str) -> str:
    """A package's name in the normal form of indexes."""
    return re.sub(r"[-_.]+", "-", name).lower()


def lock_packages() -> None:
    """Resolves the lock again from pyproject.toml and the overrides, for all supported Pythons. Raises SetupError."""
    LOCK.write_text(merged([resolved(version) for version in SUPPORTED]))


def resolved(version: str) -> str:
    """The lock for one version of Python; prefers the pins of the present lock. Raises SetupError."""
    path = CACHE / f"cpu-{version}.lock"
    path.write_text(LOCK.read_text())
    command = [str(VENV / "bin" / "uv"), "pip", "compile", "pyproject.toml", "--override", str(OVERRIDES)]
    command += [word for extra in EXTRAS for word in ("--extra", extra)]
    command += ["--python-version", version, "--no-python-downloads", "--no-header", "-o", str(path)]
    command += ["--no-emit-index-url", "--no-emit-find-links"]
    # An extra index may have a release for some Pythons only, which hides the same release of the main index.
    if run(*command, *uv_sources()) and (problem := run(*command)):
        raise SetupError(f"the lock cannot be resolved for Python {version}: {problem}")
    return re.sub(r"^(torch==[\d.]+)$", r"\1+cpu", path.read_text(), flags=re.MULTILINE)


def merged(locks: list[str]) -> str:
    """Merges the locks of all supported Pythons: a pin of only some Pythons names them in a marker."""
    having: dict[str, list[str]] = {}
    for version, lock in zip(SUPPORTED, locks):  # noqa: B905 - this file also runs on Python 3.8
        for pin in re.findall(r"^\S.*$", lock, re.MULTILINE):
            having.setdefault(pin, []).append(version)
    some = {pin: versions for pin, versions in having.items() if len(versions) < len(SUPPORTED)}
    lines = []
    for line in locks[0].splitlines() + [pin for pin in some if not re.search(f"^{re.escape(pin)}$", locks[0], re.M)]:
        which = " or ".join(f'python_version == "{version}"' for version in some.get(line, ()))
        lines.append(f"{line} ; {which}" if which else line)
    return "\n".join(lines) + "\n"


# --- import checks and progress messages


def prove() -> None:
    """Imports every engine in a separate process, several at once. Raises the first SetupError."""
    with ThreadPoolExecutor(max_workers=os.cpu_count()) as pool:
        list(pool.map(try_import, ENGINES))


def try_import(name: str) -> None:
    """Imports one engine. Raises SetupError."""
    if problem := run(PYTHON, "-c", f"import {name}"):
        raise SetupError(f"{name} cannot be imported: {problem}; remove .venv and run make setup again")


@contextlib.contextmanager
def stage(name: str) -> Iterator[None]:
    """Prints the name of a stage and its duration."""
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
    """Holds a lock that allows one set-up at a time in a checkout."""
    with (CACHE / "setup.flock").open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        # Children inherit the lock: if this process is killed, the next waits until they no longer write to .venv.
        os.set_inheritable(file.fileno(), True)
        yield


if __name__ == "__main__":
    sys.exit(main())
