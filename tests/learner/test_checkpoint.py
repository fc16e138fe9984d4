"""Tests of checkpoint directories: complete, absent, or refused."""

import errno
from pathlib import Path

import pytest

from learner.checkpoint import verify, writing
from rollout.errors import CheckpointError, StorageFault


def write(path: Path, text: str = "weights") -> None:
    """A checkpoint of two files, one of them in a folder."""
    with writing(path) as filling:
        (filling / "weights").write_text(text)
        (filling / "shards").mkdir()
        (filling / "shards" / "0").write_text("optimizer")


def test_written_checkpoint_verifies_and_replaces_the_old_one(tmp_path: Path) -> None:
    path = tmp_path / "runs" / "step-1"
    write(path, "old")
    write(path, "new")
    verify(path)
    assert (path / "weights").read_text() == "new"
    assert [left.name for left in path.parent.iterdir()] == ["step-1"]


@pytest.mark.parametrize(
    ("damage", "says"),
    [
        (
            lambda path: (path / "weights").write_text("weightz"),
            "weights is damaged: got 7 bytes of .*, wanted 7 bytes",
        ),
        (lambda path: (path / "shards" / "0").write_text(""), "shards/0 is damaged: got 0 bytes"),
        (lambda path: (path / "weights").unlink(), "weights is missing"),
        (lambda path: (path / "manifest.json").unlink(), "manifest.json is missing"),
        (lambda path: (path / "manifest.json").write_text('{"we'), "not readable"),
    ],
)
def test_damaged_checkpoint_is_refused_and_the_last_valid_one_is_named(
    tmp_path: Path, damage: object, says: str
) -> None:
    for step in (1, 2, 3):
        write(tmp_path / f"step-{step}")
    damage(tmp_path / "step-2")  # type: ignore[operator]
    with pytest.raises(CheckpointError, match=f"step-2: .*{says}.*step-2\\* to go on from step-1"):
        verify(tmp_path / "step-2")
    damage(tmp_path / "step-3")  # type: ignore[operator]
    with pytest.raises(CheckpointError, match="to go on from step-1,"):
        verify(tmp_path / "step-3")
    damage(tmp_path / "step-1")  # type: ignore[operator]
    with pytest.raises(CheckpointError, match="there is no sound one before it"):
        verify(tmp_path / "step-1")


def test_full_disk_keeps_the_old_checkpoint_and_no_partial_one(tmp_path: Path) -> None:
    write(tmp_path / "step-1")

    def fill() -> None:
        with writing(tmp_path / "step-1") as filling:
            (filling / "weights").write_text("half")
            raise OSError(errno.ENOSPC, "No space left on device")

    with pytest.raises(StorageFault, match="cannot write .*step-1: No space left on device; free space"):
        fill()
    verify(tmp_path / "step-1")
    assert [left.name for left in tmp_path.iterdir()] == ["step-1"]


def test_full_disk_in_a_library_error_is_a_storage_fault(tmp_path: Path) -> None:
    def serialize() -> None:
        with writing(tmp_path / "step-1"):
            raise RuntimeError("Error while serializing: I/O error: No space left on device (os error 28)")

    with pytest.raises(StorageFault, match="cannot write .*step-1: No space left on device; free space"):
        serialize()


def test_other_exception_while_writing_is_not_a_storage_fault(tmp_path: Path) -> None:
    def stumble() -> None:
        with writing(tmp_path / "step-1"):
            raise KeyError("bug")

    with pytest.raises(KeyError):
        stumble()
    assert not list(tmp_path.iterdir())
