"""Tests of the setup: choice of the Python, reading of locks, and locks for several Python versions."""

import importlib.metadata
import os
import re
import runpy
import subprocess
import sys
import tomllib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from packaging.requirements import Requirement
from packaging.specifiers import SpecifierSet
from packaging.utils import canonicalize_name

from cluster.preflight import machine as checks

ROOT = Path(__file__).parent.parent.parent
HERE = f"{sys.version_info.major}.{sys.version_info.minor}"

sys.path.insert(0, str(ROOT / "deploy"))
import interpreter  # noqa: E402
import machine  # noqa: E402
import setup  # noqa: E402


@pytest.fixture(autouse=True)
def this_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    """Read locks for the Python that runs the tests."""
    monkeypatch.setattr(setup, "PYTHON", sys.executable)


@pytest.fixture
def interpreters(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    """A machine with the given interpreters: scripts that report these versions."""
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setenv("PYENV_ROOT", str(tmp_path / "pyenv"))
    monkeypatch.setattr(sys, "executable", str(tmp_path / "runs-the-set-up"))

    def make(**versions: str) -> None:
        for name, version in versions.items():
            path = tmp_path / name.replace("_", ".")
            path.write_text(f"#!/bin/sh\necho {version}\necho {path}\n" if version else "#!/bin/sh\nexit 127\n")
            path.chmod(0o755)

    return make


def name_of(path: str) -> str:
    return Path(path).name


def test_any_supported_python_is_accepted(interpreters: Callable[..., None]) -> None:
    interpreters(python3="3.13")
    assert name_of(interpreter.find()) == "python3"


def test_supported_python_is_preferred_to_an_unsupported_one(interpreters: Callable[..., None]) -> None:
    interpreters(python3="3.14", python3_12="3.12")
    assert name_of(interpreter.find()) == "python3.12"


def test_broken_pyenv_shim_is_skipped_for_an_installed_version(
    interpreters: Callable[..., None], tmp_path: Path
) -> None:
    (tmp_path / "pyenv/versions/3.13.1/bin").mkdir(parents=True)
    interpreters(python3="3.9", python3_13="", **{"pyenv/versions/3_13_1/bin/python": "3.13"})
    assert interpreter.find().endswith("versions/3.13.1/bin/python")


def test_python_of_the_environment_is_kept(interpreters: Callable[..., None], tmp_path: Path) -> None:
    interpreters(python3_11="3.11", kept="3.13")
    assert name_of(interpreter.find(kept=str(tmp_path / "kept"))) == "kept"
    assert name_of(interpreter.find("3.11", kept=str(tmp_path / "kept"))) == "python3.11"


@pytest.mark.parametrize("wanted", ["3.12", "python3.12"])
def test_python_is_chosen_by_version_or_path(interpreters: Callable[..., None], wanted: str) -> None:
    interpreters(python3_11="3.11", python3_12="3.12", python3="3.13")
    assert name_of(interpreter.find(wanted)) == "python3.12"


@pytest.mark.parametrize(("wanted", "got"), [("python3", "Python 3.9"), ("gone", "no Python that starts")])
def test_unusable_python_is_refused_in_one_line(interpreters: Callable[..., None], wanted: str, got: str) -> None:
    interpreters(python3="3.9")
    with pytest.raises(
        machine.SetupError, match=f"^PYTHON={wanted} is {got}; wanted a path or version of Python 3.11, 3.12 or 3.13$"
    ):
        interpreter.find(wanted)


def test_machine_without_a_supported_python_gets_one_line(interpreters: Callable[..., None]) -> None:
    interpreters(python3="3.9")
    with pytest.raises(machine.SetupError) as refused:
        interpreter.find()
    assert re.fullmatch(r"Python 3.11, 3.12 or 3.13 is required, got 3.\d+.\d+; install it: .*", str(refused.value))


def test_make_reports_a_missing_python(tmp_path: Path) -> None:
    for name in ("make", "sh"):
        found = next(path for folder in ("/usr/bin", "/bin") if (path := Path(folder, name)).exists())
        (tmp_path / name).symlink_to(found)
    command = ["make", "-f", str(ROOT / "Makefile"), "setup"]
    environment = {"PATH": str(tmp_path)}
    shown = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True, check=False)
    assert shown.stderr.splitlines()[0] == "setup: no Python found; install Python 3.11, 3.12 or 3.13"
    assert shown.returncode == 2


def test_all_files_name_the_same_python_versions() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())
    asked = SpecifierSet(project["project"]["requires-python"])
    versions = [f"3.{minor}" for minor in range(20) if f"3.{minor}.1" in asked]
    assert versions == list(machine.SUPPORTED)
    assert (
        (checks.OLDEST_PYTHON, checks.NEWEST_PYTHON)
        == ((3, 11), (3, 13))
        == tuple(tuple(map(int, versions[place].split("."))) for place in (0, -1))
    )
    assert project["tool"]["ruff"]["target-version"] == "py" + versions[0].replace(".", "")
    assert [checks.check_python((3, minor, 1)).status for minor in (10, 11, 12, 13, 14)] == [
        "FAIL", "ok", "ok", "ok", "FAIL",
    ]  # fmt: skip


def test_lock_is_read_with_its_environment_markers(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    lock = tmp_path / "some.lock"
    lock.write_text(
        "# a comment\n"
        "one-package==1.2.3\n    # via another\n"
        f'here[extra]==2.0 ; python_version == "{HERE}"\n'
        'elsewhere==3.0 ; python_version < "3.8"\n'
        "torch==2.13.0+cpu  # a remark\n"
    )
    wanted = {"one-package": "1.2.3", "here": "2.0", "torch": "2.13.0+cpu"}
    assert setup.read_lock(lock) == wanted
    assert checks.read_pins(lock) == wanted


def test_locks_of_several_pythons_are_merged() -> None:
    same = "alpha==1.0\n    # via relook\n"
    locks = [f"{same}beta==2.0\n", f"{same}beta==2.0\n", f"{same}beta==3.0\ngamma==4.0\n"]
    assert setup.merged(locks) == (
        "alpha==1.0\n"
        "    # via relook\n"
        'beta==2.0 ; python_version == "3.11" or python_version == "3.12"\n'
        'beta==3.0 ; python_version == "3.13"\n'
        'gamma==4.0 ; python_version == "3.13"\n'
    )
    assert setup.merged([same] * 3) == same


def test_gpu_lock_contains_the_cuda_libraries() -> None:
    """PyTorch's CUDA build loads these libraries on import; gpu.lock has their versions."""
    pins = {canonicalize_name(name) for name in setup.read_lock(ROOT / "requirements" / "gpu.lock")}
    assert pins >= setup.CUDA_LIBRARIES
    assert setup.same("torch", "2.13.0", "2.13.0+cpu")
    assert not setup.same("torch", "2.12.0", "2.13.0+cpu")
    assert not setup.same("numpy", "2.3.5", "2.3.5+cpu")


def test_doctor_accepts_the_cuda_build_as_the_pinned_version(tmp_path: Path) -> None:
    lock = tmp_path / "cpu.lock"
    version = importlib.metadata.version("torch").partition("+")[0]
    lock.write_text(f"torch=={version}+cpu\n")
    assert checks.check_packages(lock).status == "ok"
    lock.write_text("torch==1.0.0+cpu\n")
    assert checks.check_packages(lock).status == "FAIL"


def test_every_pin_satisfies_pyproject() -> None:
    project: dict[str, Any] = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    pins = setup.read_lock()
    extras = project["optional-dependencies"]
    for line in [*project["dependencies"], *(line for extra in setup.EXTRAS for line in extras[extra])]:
        asked = Requirement(line)
        assert asked.specifier.contains(pins[canonicalize_name(asked.name)]), line


def test_relook_command_is_installed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "bin").mkdir()
    monkeypatch.setattr(setup, "VENV", tmp_path)
    setup.write_command()
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    shown = subprocess.run(
        [tmp_path / "bin" / "relook", "plan", "--help"], env=environment, capture_output=True, text=True, check=False
    )
    assert shown.returncode == 0, shown.stderr
    assert shown.stdout.startswith("usage: relook plan ")
    # A spawned process imports the script, which must not run the command again.
    monkeypatch.setattr(sys, "argv", ["relook", "plan", "--help"])
    runpy.run_path(str(tmp_path / "bin" / "relook"), run_name="__mp_main__")
