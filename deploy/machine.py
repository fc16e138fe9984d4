"""What the machine has to bring for `make setup`: Chromium, a sandbox, fonts, a compiler; and running its commands."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
VENV, CACHE = ROOT / ".venv", ROOT / ".cache"
PYTHON = str(VENV / "bin" / "python")
LOG, EXTENSIONS = CACHE / "setup.log", CACHE / "torch_extensions"
FONTS = {
    "Liberation": "fonts-liberation",
    "Noto Sans CJK": "fonts-noto-cjk",
    "Noto Color Emoji": "fonts-noto-color-emoji",
}


class SetupError(Exception):
    """Why the set-up cannot go on, and what to do, in one line."""


def install_system() -> None:
    """Chromium, bubblewrap, fonts and a compiler, by the system's package manager. Raises SetupError."""
    wanted = [package for package, there in company().items() if not there]
    if wanted:
        apt_install(wanted)
    if not find_chromium() and not apt_install(["chromium-headless-shell"]):
        run(PYTHON, "-m", "playwright", "install", "chromium-headless-shell")
    if not find_chromium():
        raise SetupError(
            "no Chromium: install Debian's chromium-headless-shell (as root: apt-get install chromium-headless-shell), "
            f"or, where the network allows, {PYTHON} -m playwright install --with-deps chromium-headless-shell"
        )
    missing = [package for package, there in company().items() if not there]
    compiler = [package for package in missing if package in ("g++", "python3.11-dev")]
    if compiler:
        raise SetupError(f"DeepSpeed compiles an op once and wants {' '.join(compiler)}: apt-get install them as root")
    if missing:
        print(f"\n  warning: without {' '.join(missing)} (no root here) pages render, but less contained or "
              "with other fonts; apt-get install them; ", end="", flush=True)  # fmt: skip


def company() -> dict[str, bool]:
    """What Chromium and DeepSpeed need beside them: the system's package, and whether it is there."""
    fonts = output("fc-list") or " ".join(str(path) for path in Path("/usr/share/fonts").rglob("*"))
    squeezed = fonts.replace(" ", "").lower()
    found = {package: name.replace(" ", "").lower() in squeezed for name, package in FONTS.items()}
    headers = output(PYTHON, "-c", "import sysconfig; print(sysconfig.get_path('include'))")
    found["bubblewrap"] = shutil.which("bwrap") is not None
    found["g++"] = shutil.which("g++") is not None
    found["python3.11-dev"] = (Path(headers) / "Python.h").is_file()
    return found


def find_chromium() -> str:
    """A headless Chromium that is installed: the system's, or the one Playwright downloaded; else empty."""
    system = shutil.which("chromium-headless-shell")
    if system:
        return system
    own = Path(os.environ.get("PLAYWRIGHT_BROWSERS_PATH") or Path.home() / ".cache" / "ms-playwright")
    downloaded = sorted(own.glob("chromium_headless_shell-*/*/*headless*shell"))
    return str(downloaded[-1]) if downloaded else shutil.which("chromium") or ""


def apt_install(packages: list[str]) -> bool:
    """Installs packages of the system, where we may."""
    root = [] if os.geteuid() == 0 else ["sudo", "-n"]
    if not shutil.which("apt-get") or (root and not shutil.which("sudo")):
        return False
    quiet = ["env", "DEBIAN_FRONTEND=noninteractive"]
    run(*root, "apt-get", "update")
    return not run(*root, *quiet, "apt-get", "install", "-y", "--no-install-recommends", *packages)


def run(*command: str, **variables: str) -> str:
    """Runs a command with its output in the log. Empty when it went well, else the last line it printed."""
    environment = {**os.environ, "TORCH_EXTENSIONS_DIR": str(EXTENSIONS), "PIP_DISABLE_PIP_VERSION_CHECK": "1"}
    environment["PATH"] = f"{VENV / 'bin'}{os.pathsep}{environment.get('PATH', '')}"
    shown = subprocess.run(
        command, cwd=ROOT, env={**environment, **variables}, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT, text=True, errors="replace", check=False,
    )  # fmt: skip
    with LOG.open("a") as log:
        words = f"$ {' '.join(command)[:500]}\n{shown.stdout}[exit code {shown.returncode}]\n"
        log.write(re.sub(r"//[^/@\s]+@", "//***@", words))  # an index may be configured with a password
    if shown.returncode == 0:
        return ""
    lines = shown.stdout.strip().splitlines() or [f"exit code {shown.returncode}"]
    return f"{lines[-1].strip()[:300]} (all of it: {LOG.relative_to(ROOT)})"


def output(*command: str) -> str:
    """What a command prints, stripped; empty when it fails or cannot be started."""
    try:
        shown = subprocess.run(command, capture_output=True, text=True, stdin=subprocess.DEVNULL, check=False)
    except OSError:
        return ""
    return shown.stdout.strip() if shown.returncode == 0 else ""
