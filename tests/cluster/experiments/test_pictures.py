"""Tests of the README's pictures, taken from the report of a small run in a browser."""

import io
import json
from pathlib import Path

import numpy as np
import pytest
from browsing.command_pages import held_out_pairs
from drawn_episodes import PICTURES, history
from PIL import Image

from cluster.experiments import pictures
from cluster.report.page import Report, write_report
from rollout.errors import CheckpointError

README = Path(__file__).parents[3] / "README.md"


def finished_run(path: Path, pairs: int = 8, status: str = "finished") -> Path:
    """A run's folder with the files that the command reads."""
    summary = {"status": status, "steps": 12, "valid_render_rate": {"first": 0.4, "last": 0.8}}
    report = Report(run_id=path.name, title="demo", status=status, settings={}, summary=summary, history=history(12),
                    exams=[], pairs=held_out_pairs(pairs), picture=PICTURES.get)  # fmt: skip
    path.mkdir()
    (path / "run.json").write_text("{}")
    (path / "summary.json").write_text(json.dumps(summary))
    write_report(path / "report.html", report)
    return path


@pytest.mark.browser
def test_command_writes_small_pictures_of_the_results_and_of_pages_before_and_after(tmp_path: Path) -> None:
    run = finished_run(tmp_path / "demo-1")
    assert pictures.main(["demo-1", "--runs", str(tmp_path), "--to", str(tmp_path / "out")]) == 0
    written = {path.name: path for path in (tmp_path / "out").iterdir()}
    assert written.keys() == {"results.webp", "before-and-after.webp"}
    assert sum(path.stat().st_size for path in written.values()) <= 300_000
    for path in written.values():
        with Image.open(path) as shown:
            assert shown.format == "WEBP"
            assert shown.width > pictures.SCALE * (pictures.WIDTH - 64)
            assert shown.height > 400
            assert np.asarray(shown.convert("L")).std() > 5, "something is drawn"
    assert run.joinpath("report.html").exists()


@pytest.mark.browser
def test_run_without_better_exam_is_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    finished_run(tmp_path / "demo-1", pairs=0)
    assert pictures.main([str(tmp_path / "demo-1"), "--to", str(tmp_path / "out")]) == 2
    assert "no exam of this run was better" in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


def test_unfinished_run_is_refused(tmp_path: Path) -> None:
    finished_run(tmp_path / "demo-1", pairs=0, status="running")
    with pytest.raises(CheckpointError, match="is running, not finished"):
        pictures.finished_report(tmp_path, "demo-1")


def test_picture_that_stays_too_large_is_refused() -> None:
    noise = np.random.default_rng(1).integers(0, 255, (900, 1600, 3), dtype=np.uint8)
    sink = io.BytesIO()
    Image.fromarray(noise).save(sink, "PNG")
    with pytest.raises(CheckpointError, match="wanted at most 150000"):
        pictures.webp(sink.getvalue())


def test_readme_shows_the_pictures_that_the_command_writes() -> None:
    text = README.read_text(encoding="utf-8")
    assert [name for name in pictures.PICTURES if f"docs/pictures/{name}.webp)" not in text] == []
