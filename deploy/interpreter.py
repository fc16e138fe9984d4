"""Selects the Python for .venv: the requested one, else the one of .venv, else one of this machine."""

from __future__ import annotations

import os
import shutil
import sys
from collections.abc import Iterator
from pathlib import Path

from machine import SUPPORTED, SetupError, output, run

PREFERRED = "3.12"
"""The version that uv fetches if the machine has no supported Python."""
ASK = "import sys; print('%d.%d' % sys.version_info[:2]); print(getattr(sys, '_base_executable', sys.executable))"


def find(wanted: str = "", kept: str = "") -> str:
    """A supported interpreter outside virtual environments. Raises SetupError if there is none.

    `wanted` is a path or a version; `kept` is the interpreter to use unless `wanted` names another.
    """
    versions = (wanted,) if wanted in SUPPORTED else SUPPORTED
    if wanted and wanted not in SUPPORTED:
        version, base = ask(wanted)
        if version in SUPPORTED:
            return base
        got = f"Python {version}" if version else "no Python that starts"
        raise SetupError(f"PYTHON={wanted} is {got}; wanted a path or version of Python {named()}")
    if kept and ask(kept)[0] in versions and os.access(ask(kept)[1], os.X_OK):
        return ask(kept)[1]
    found = available(versions)
    return next((found[version] for version in versions if version in found), "") or fetched(versions)


def available(versions: tuple[str, ...] = SUPPORTED) -> dict[str, str]:
    """Supported versions of this machine: version to interpreter."""
    found: dict[str, str] = {}
    for candidate in candidates(versions):
        version, base = ask(candidate)
        if version in versions and os.access(base, os.X_OK):
            found.setdefault(version, base)
    return found


def candidates(versions: tuple[str, ...]) -> Iterator[str]:
    """Interpreters that may have one of the versions: this one, those on the PATH, pyenv's and uv's."""
    yield sys.executable
    names = [f"python{version}" for version in versions] + ["python3", "python"]
    yield from filter(None, map(shutil.which, names))
    # A pyenv shim on the PATH starts only activated versions.
    pyenv = Path(os.environ.get("PYENV_ROOT") or Path.home() / ".pyenv")
    yield from (str(path) for version in versions for path in sorted(pyenv.glob(f"versions/{version}.*/bin/python")))
    if uv := shutil.which("uv"):
        finds = (output(uv, "python", "find", "--no-python-downloads", version) for version in versions)
        yield from filter(None, finds)


def fetched(versions: tuple[str, ...]) -> str:
    """Fetches an interpreter with uv. Raises SetupError if uv is missing or fails."""
    asked = versions[0] if len(versions) == 1 else PREFERRED
    missing = f"Python {named(versions)} is required, got {'.'.join(map(str, sys.version_info[:3]))}"
    fix = f"install it: apt-get install python{asked}-venv, pyenv install {asked}, or uv python install {asked}"
    uv = shutil.which("uv")
    if not uv:
        raise SetupError(f"{missing}; {fix}")
    print(f"setup: installing Python {asked} with uv", flush=True)
    problem = run(uv, "python", "install", asked)
    found = output(uv, "python", "find", "--no-python-downloads", asked)
    if not found:
        raise SetupError(f"{missing}, and uv cannot install it: {problem}; {fix}")
    return found


def version_of(python: str) -> str:
    """The version of an interpreter. Example: `"3.12"`; empty if it does not start."""
    return ask(python)[0]


def ask(python: str) -> tuple[str, str]:
    """Version and path of an interpreter, outside its virtual environment if it has one; empty if it does not start."""
    lines = output(python, "-c", ASK).splitlines()
    return (lines[0], lines[1]) if len(lines) == 2 else ("", "")


def named(versions: tuple[str, ...] = SUPPORTED) -> str:
    """Versions as text. Example: `"3.11, 3.12 or 3.13"`."""
    return " or ".join(filter(None, [", ".join(versions[:-1]), versions[-1]]))
