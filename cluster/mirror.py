"""Builds the library mirror: `python -m cluster.mirror build [FOLDER]`, `python -m cluster.mirror pin NAME@VERSION …`.

The mirror is a folder of pinned npm packages that renderers serve to pages under the addresses of public CDNs
(`browser.mirror`). `deploy/libraries.toml` lists the packages and their hashes; `pin` prints lines for that list.
Packages come from the npm registry that is configured.
"""

import argparse
import base64
import fnmatch
import hashlib
import json
import shutil
import subprocess
import sys
import tarfile
import tempfile
import tomllib
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from actors.mirror.folder import INDEX, Mirror
from cluster.commands import program
from cluster.paths import resolve_path
from rollout.errors import BadInput, SettingsError

LIST = Path(__file__).parent.parent / "deploy" / "libraries.toml"
ALWAYS = ("package.json", "LICENSE*", "LICENCE*", "license*", "NOTICE*")
"""Patterns of files kept from every package."""
NPM_TIMEOUT_S = 300


@dataclass(frozen=True, slots=True, kw_only=True)
class Package:
    """One pinned package. Example: `Package(name="d3", version="7.9.0", integrity="sha512-…", keep=("dist/*",))`."""

    name: str
    version: str
    integrity: str
    """Hash of the tarball in npm's format: algorithm and base64 digest."""
    keep: tuple[str, ...] = field(default=("*",))
    """Patterns of the files to serve; `*` matches across folders."""

    def __str__(self) -> str:
        return f"{self.name}@{self.version}"


def main(argv: list[str] | None = None) -> int:
    """Runs the command. Returns its exit code."""
    parser = argparse.ArgumentParser(prog=program("mirror"), description="Builds the library mirror.")
    commands = parser.add_subparsers(dest="command", required=True)
    build = commands.add_parser("build", help="download the missing packages of the list into a folder")
    build.add_argument("folder", nargs="?", type=Path, default=Path("mirror"), help="mirror folder (default: mirror)")
    build.add_argument("--list", type=Path, default=LIST, help="TOML file of packages (default: deploy/libraries.toml)")
    pin = commands.add_parser("pin", help="print list entries for packages, with their hashes")
    pin.add_argument("packages", nargs="+", metavar="NAME@VERSION")
    options = parser.parse_args(argv)
    try:
        if options.command == "pin":
            print_pins(options.packages)
        else:
            build_mirror(resolve_path(str(options.folder)), read_list(options.list))
    except BadInput as error:
        print(f"relook: {error}", file=sys.stderr)
        return 2
    return 0


def read_list(path: Path) -> list[Package]:
    """Reads the list of packages. Raises SettingsError."""
    try:
        listed = tomllib.loads(path.read_text(encoding="utf-8"))["packages"]
        return [
            Package(name=name, version=version, integrity=integrity, keep=tuple(entry.get("keep", ("*",))))
            for name, entry in listed.items()
            for version, integrity in entry["versions"].items()
        ]
    except (OSError, ValueError, KeyError, AttributeError, TypeError) as error:
        raise SettingsError(
            f"{path} is not a list of packages: {error!r}; wanted [packages.NAME] with keep = [patterns], and "
            '[packages.NAME.versions] with "1.2.3" = "sha512-…", as `python -m cluster.mirror pin NAME@1.2.3` prints it'
        ) from error


def build_mirror(folder: Path, packages: list[Package]) -> None:
    """Fetches the packages missing from `folder`, then writes its index. Raises SettingsError."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise SettingsError(f"cannot create {folder}: {error.strerror}; choose another folder") from error
    for number, package in enumerate(packages, start=1):
        home = folder / str(package)
        if not _is_whole(home, package):
            print(f"mirror: {number}/{len(packages)} {package} …", flush=True)
            _install(package, home)
    index = {"packages": {str(package): package.integrity for package in packages}}
    (folder / INDEX).write_text(json.dumps(index, indent=1) + "\n", encoding="utf-8")
    size = sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())
    print(f"mirror: {len(packages)} packages, {size / 2**20:.0f} MiB, hash {Mirror(folder).hash} in {folder}")
    print(f"mirror: use it with --set browser.mirror={folder}")


def print_pins(names: list[str]) -> None:
    """Prints list entries for packages as they are in the registry now. Raises SettingsError."""
    for name in names:
        with tempfile.TemporaryDirectory() as scratch:
            tarball = _download(name, Path(scratch))
            package, _, _ = name.rpartition("@")
            with tarfile.open(tarball) as archive:
                manifest = json.load(archive.extractfile(_root(archive) + "/package.json"))  # type: ignore[arg-type]
            print(f'[packages."{package or name}".versions]')
            print(f'"{manifest["version"]}" = "{_integrity(tarball)}"', flush=True)


def _is_whole(home: Path, package: Package) -> bool:
    """Whether the package was unpacked completely, with this hash and these patterns."""
    stamp = home / ".integrity"
    return stamp.is_file() and stamp.read_text(encoding="utf-8") == _stamp(package)


def _install(package: Package, home: Path) -> None:
    """Downloads, verifies and unpacks one package atomically. Raises SettingsError."""
    aside = home.with_name(f"{home.name}.part")
    with tempfile.TemporaryDirectory() as scratch:
        tarball = _download(str(package), Path(scratch))
        found = _integrity(tarball)
        if found != package.integrity:
            raise SettingsError(
                f"{package} has the hash {found}, wanted {package.integrity} from the list; find out "
                "why the package changed, then pin it again"
            )
        shutil.rmtree(aside, ignore_errors=True)
        _unpack(tarball, aside, package.keep)
    (aside / ".integrity").write_text(_stamp(package), encoding="utf-8")
    shutil.rmtree(home, ignore_errors=True)
    aside.rename(home)


def _stamp(package: Package) -> str:
    return f"{package.integrity} {' '.join(package.keep)}"


def _download(name: str, folder: Path) -> Path:
    """Downloads the tarball of `NAME@VERSION` with npm. Raises SettingsError."""
    npm = shutil.which("npm")
    if npm is None:
        raise SettingsError("npm is not on the PATH; install it (apt-get install npm); only this command needs it")
    command = [npm, "pack", name, "--json", "--ignore-scripts", "--pack-destination", str(folder)]
    try:
        shown = subprocess.run(
            command, capture_output=True, text=True, cwd=folder, timeout=NPM_TIMEOUT_S, check=False, encoding="utf-8"
        )
    except subprocess.TimeoutExpired as error:
        raise SettingsError(f"npm did not fetch {name} within {NPM_TIMEOUT_S} s; check its registry") from error
    tarballs = list(folder.glob("*.tgz"))
    if shown.returncode != 0 or len(tarballs) != 1:
        words = " ".join(line for line in shown.stderr.split("\n") if line.strip())[:300]
        raise SettingsError(f"npm cannot fetch {name}: {words or 'no tarball'}")
    return tarballs[0]


def _integrity(tarball: Path) -> str:
    with tarball.open("rb") as file:
        return "sha512-" + base64.b64encode(hashlib.file_digest(file, "sha512").digest()).decode()


def _unpack(tarball: Path, home: Path, keep: tuple[str, ...]) -> None:
    """Extracts the files that match a pattern, without the archive's top folder."""
    with tarfile.open(tarball) as archive:
        root = _root(archive)
        members = list(_members(archive, root, keep))
        archive.extractall(home, members=members, filter="data")


def _members(archive: tarfile.TarFile, root: str, keep: tuple[str, ...]) -> Iterator[tarfile.TarInfo]:
    for member in archive.getmembers():
        path = member.name.removeprefix(f"{root}/")
        if member.isfile() and any(fnmatch.fnmatchcase(path, pattern) for pattern in (*keep, *ALWAYS)):
            yield member.replace(name=path, mode=0o644)


def _root(archive: tarfile.TarFile) -> str:
    """Top folder of an npm tarball, usually `package`."""
    return archive.getnames()[0].split("/")[0]


if __name__ == "__main__":
    sys.exit(main())
