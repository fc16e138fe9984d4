"""System dependencies of `make setup` (Chromium, sandbox, fonts, network tools), and helpers that run commands."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
VENV, CACHE = ROOT / ".venv", ROOT / ".cache"
PYTHON = str(VENV / "bin" / "python")
LOG = CACHE / "setup.log"
SHELLS = ("chromium-headless-shell", "chrome-headless-shell", "headless_shell")
WHOLE = (
    "/usr/lib/chromium/chromium",
    "/usr/lib/chromium-browser/chromium-browser",
    "/usr/lib64/chromium-browser/chromium-browser",
    "/opt/google/chrome/chrome",
)
DOWNLOADS = Path.home() / ".cache" / "ms-playwright"
PROGRAMS = {"bwrap": "bubblewrap", "ip": "iproute2"}
"""Program to package: the sandbox of pages, and the tool with which a test creates hosts."""
SUPPORTED = ("3.11", "3.12", "3.13")
"""Supported versions of Python, equal to `requires-python` of pyproject.toml; the first is preferred."""
FONTS = {
    "Liberation": "fonts-liberation",
    "Noto Sans CJK": "fonts-noto-cjk",
    "Noto Color Emoji": "fonts-noto-color-emoji",
}


class SetupError(Exception):
    """The set-up cannot continue. The message gives the cause and the fix in one line."""


def install_system() -> None:
    """Installs Chromium's headless shell, bubblewrap and fonts with the package manager. Raises SetupError."""
    missing = missing_company()
    if missing:
        apt_install(missing)
    if not find_shell() and not apt_install(["chromium-headless-shell"]):
        run(
            PYTHON, "-m", "playwright", "install", "chromium-headless-shell", PLAYWRIGHT_BROWSERS_PATH=str(DOWNLOADS)
        )  # fmt: skip
    if not find_chromium():
        raise SetupError(
            "no Chromium, and its headless shell cannot be installed: as root, apt-get install "
            "chromium-headless-shell; or, if the network allows it, "
            f"{PYTHON} -m playwright install --with-deps chromium-headless-shell (see {LOG})"
        )
    if not find_shell():
        print(f"\n  using {find_chromium()}, as chromium-headless-shell is missing: slower, and pages that "
              "move may differ by a frame; ", end="", flush=True)  # fmt: skip
    missing = missing_company()
    if missing:
        print(f"\n  {' '.join(missing)} cannot be installed: pages render with a weaker sandbox or other fonts, and "
              "tests with two hosts are skipped; install them as root; ", end="", flush=True)  # fmt: skip


def missing_company() -> list[str]:
    """Missing system packages that Chromium and the tests need in addition to Chromium."""
    fonts = output("fc-list") or " ".join(str(path) for path in Path("/usr/share/fonts").rglob("*"))
    squeezed = fonts.replace(" ", "").lower()
    missing = [package for name, package in FONTS.items() if name.replace(" ", "").lower() not in squeezed]
    return [package for name, package in PROGRAMS.items() if not find_program(name)] + missing


def find_program(name: str) -> str:
    """The path of a program, searched in the PATH and the sbin folders; empty if it is missing."""
    return shutil.which(name, path=f"{os.environ.get('PATH', '')}{os.pathsep}/usr/sbin{os.pathsep}/sbin") or ""


def find_shell() -> str:
    """The browser actor's headless shell: the system's, or Playwright's download; empty if there is none."""
    return next((path for name in SHELLS if (path := shutil.which(name))), "") or downloaded(
        "chromium_headless_shell-*/*/*headless*shell"
    )


def find_chromium() -> str:
    """The browser that the browser actor uses: the headless shell, else a full Chromium; empty if there is none."""
    whole = next((path for path in WHOLE if os.access(path, os.X_OK)), "")
    return find_shell() or whole or downloaded("chromium-*/*/chrome")


def downloaded(pattern: str) -> str:
    """The newest of Playwright's downloads; empty if there is none."""
    return str(max(DOWNLOADS.glob(pattern), default=""))


def apt_install(packages: list[str]) -> bool:
    """Installs system packages, as root or with sudo. Returns whether the installation succeeded."""
    root = [] if os.geteuid() == 0 else ["sudo", "-n"]
    if not shutil.which("apt-get") or (root and not shutil.which("sudo")):
        return False
    quiet = ["env", "DEBIAN_FRONTEND=noninteractive"]
    run(*root, "apt-get", "update")
    return not run(*root, *quiet, "apt-get", "install", "-y", "--no-install-recommends", *packages)


def run(*command: str, **variables: str) -> str:
    """Runs a command and logs its output. Returns an empty string on success, else the last line of the output."""
    environment = {**os.environ, "PIP_DISABLE_PIP_VERSION_CHECK": "1"}
    environment["PATH"] = f"{VENV / 'bin'}{os.pathsep}{environment.get('PATH', '')}"
    shown = subprocess.run(
        command, cwd=ROOT, env={**environment, **variables}, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT, text=True, errors="replace", check=False, close_fds=False,
    )  # fmt: skip
    with LOG.open("a") as log:
        words = f"$ {' '.join(command)[:500]}\n{shown.stdout}[exit code {shown.returncode}]\n"
        log.write(re.sub(r"//[^/@\s]+@", "//***@", words))  # the address of an index may hold a password
    if shown.returncode == 0:
        return ""
    lines = shown.stdout.strip().splitlines() or [f"exit code {shown.returncode}"]
    return f"{lines[-1].strip()[:300]} (full output: {LOG.relative_to(ROOT)})"


def output(*command: str) -> str:
    """The output of a command, stripped; empty if the command fails or cannot be started."""
    try:
        shown = subprocess.run(command, capture_output=True, text=True, stdin=subprocess.DEVNULL, check=False)
    except OSError:
        return ""
    return shown.stdout.strip() if shown.returncode == 0 else ""
