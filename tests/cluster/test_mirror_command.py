"""Tests of the mirror command: package list, kept files, refused packages. A script replaces npm."""

import base64
import hashlib
import io
import os
import tarfile
from pathlib import Path

import pytest

from actors.mirror.folder import Mirror
from cluster import mirror
from rollout.errors import SettingsError

FILES = {
    "package.json": '{"name": "lib", "version": "1.0.0", "main": "dist/lib.js"}',
    "LICENSE": "MIT",
    "dist/lib.js": "window.lib = 1;",
    "dist/deep/more.js": "window.more = 1;",
    "docs/big.html": "x",
}


@pytest.fixture
def npm(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Folder of tarballs from which `npm pack NAME@VERSION` copies; an unknown name fails as in npm."""
    registry, programs = tmp_path / "registry", tmp_path / "bin"
    registry.mkdir()
    programs.mkdir()
    script = f'#!/bin/sh\ncp "{registry}/$2.tgz" "$6/lib.tgz" || {{ echo "npm error 404 $2" >&2; exit 1; }}\n'
    (programs / "npm").write_text(script)
    (programs / "npm").chmod(0o755)
    monkeypatch.setenv("PATH", f"{programs}:{os.environ['PATH']}")
    return registry


def publish(registry: Path, name: str, files: dict[str, str]) -> str:
    path = registry / f"{name}.tgz"
    with tarfile.open(path, "w:gz") as archive:
        for file, text in files.items():
            member = tarfile.TarInfo(f"package/{file}")
            member.size = len(text)
            archive.addfile(member, io.BytesIO(text.encode()))
    return "sha512-" + base64.b64encode(hashlib.sha512(path.read_bytes()).digest()).decode()


def write_list(folder: Path, integrity: str, keep: str = '["dist/*"]') -> Path:
    path = folder / "libraries.toml"
    path.write_text(f'[packages.lib]\nkeep = {keep}\n[packages.lib.versions]\n"1.0.0" = "{integrity}"\n')
    return path


def test_mirror_is_built_once_and_serves_the_kept_files(
    npm: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    listed = write_list(tmp_path, publish(npm, "lib@1.0.0", FILES))
    folder = tmp_path / "mirror"
    assert mirror.main(["build", str(folder), "--list", str(listed)]) == 0
    home = folder / "lib@1.0.0"
    kept = {str(path.relative_to(home)) for path in home.rglob("*") if path.is_file()}
    assert kept == {".integrity", "LICENSE", "package.json", "dist/lib.js", "dist/deep/more.js"}
    answer = Mirror(folder).answer("https://unpkg.com/lib@1")
    assert answer is not None
    assert answer.body == b"window.lib = 1;"
    (npm / "lib@1.0.0.tgz").unlink()
    assert mirror.main(["build", str(folder), "--list", str(listed)]) == 0
    assert capsys.readouterr().out.count("lib@1.0.0 …") == 1


def test_tarball_with_another_hash_is_refused_and_not_kept(
    npm: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    publish(npm, "lib@1.0.0", FILES)
    listed = write_list(tmp_path, "sha512-other")
    assert mirror.main(["build", str(tmp_path / "mirror"), "--list", str(listed)]) == 2
    shown = capsys.readouterr().err
    assert "lib@1.0.0 has the hash sha512-" in shown
    assert "wanted sha512-other" in shown
    assert not (tmp_path / "mirror" / "lib@1.0.0").exists()


def test_error_names_the_package_that_npm_cannot_fetch(npm: Path, tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match=r"npm cannot fetch lib@1\.0\.0: .*404"):
        mirror.build_mirror(tmp_path / "mirror", mirror.read_list(write_list(tmp_path, "sha512-x")))


def test_error_without_npm_says_how_to_install_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(SettingsError, match="apt-get install npm"):
        mirror.build_mirror(tmp_path / "mirror", mirror.read_list(write_list(tmp_path, "sha512-x")))


def test_tarball_cannot_write_outside_its_folder(npm: Path, tmp_path: Path) -> None:
    integrity = publish(npm, "lib@1.0.0", {"package.json": "{}", "../../../evil.js": "x"})
    with pytest.raises(tarfile.OutsideDestinationError):
        mirror.build_mirror(tmp_path / "mirror", mirror.read_list(write_list(tmp_path, integrity, '["*"]')))
    assert not list(tmp_path.rglob("evil.js"))


def test_pins_are_printed_in_the_format_of_the_list(npm: Path, capsys: pytest.CaptureFixture[str]) -> None:
    integrity = publish(npm, "lib@1.0.0", FILES)
    mirror.print_pins(["lib@1.0.0"])
    assert capsys.readouterr().out == f'[packages."lib".versions]\n"1.0.0" = "{integrity}"\n'


@pytest.mark.parametrize("text", ["", "packages = 3", "[packages.lib]\nkeep = []", "not toml ["])
def test_malformed_package_list_is_refused(tmp_path: Path, text: str) -> None:
    path = tmp_path / "list.toml"
    path.write_text(text)
    with pytest.raises(SettingsError, match=r"list\.toml is not a list of packages"):
        mirror.read_list(path)


def test_the_shipped_list_pins_every_package() -> None:
    packages = mirror.read_list(mirror.LIST)
    assert {"three", "p5", "plotly.js-dist-min", "mathjax", "mathjs", "d3", "chart.js", "react", "vue", "jquery"} <= {
        package.name for package in packages
    }
    for package in packages:
        algorithm, _, digest = package.integrity.partition("-")
        assert algorithm == "sha512"
        assert len(base64.b64decode(digest)) == 64
