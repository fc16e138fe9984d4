"""Tests of the comparison of Design2Code's terms with the embedded critic's score."""

from pathlib import Path

import pytest

from cluster.experiments.design2code_agreement import damaged, main, table
from reward.designs import draw

PAGES = {
    str(seed): draw(seed, family=family).task.reference_html or "" for seed, family in enumerate(("cards", "table"))
}


def test_damages_are_repeatable_and_as_many_as_asked_for_if_the_page_has_the_parts() -> None:
    for num in (1, 3):
        html, names = damaged(PAGES["0"], num, seed=5)
        assert (html, names) == damaged(PAGES["0"], num, seed=5)
        assert len(names) == len(set(names)) == num
        assert html != PAGES["0"]
    assert damaged("", 3, seed=5) == ("", [])


def test_table_has_the_correlations_of_compared_pages_only() -> None:
    rows = [
        {
            "outcome": "ok",
            "block": x,
            "text": x,
            "position": 1 - x,
            "color": x,
            "mean": x,
            "gated": x**3,
            "critic": x / 2,
        }
        for x in (0.2, 0.4, 0.8, 1.0)
    ]
    lines = table([*rows, {"outcome": "exception"}]).splitlines()
    assert lines[0].startswith("4 of 5 damaged pages")
    assert "| block | 0.600 | 1.00 | 1.00 |" in lines
    assert "| position | 0.400 | -1.00 | -1.00 |" in lines
    assert any(line.startswith("| gated |") and line.endswith("| 1.00 |") for line in lines)
    assert table(rows[:2]).count("\n") == 0


@pytest.mark.browser
def test_command_plays_a_folder_once(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder, out = tmp_path / "pages", tmp_path / "out.jsonl"
    folder.mkdir()
    for name, html in PAGES.items():
        (folder / f"{name}.html").write_text(html)
    command = [str(folder), "--out", str(out), "--most", "1"]
    assert main(command) == 0
    played = out.read_text()
    assert played.count("\n") == 2
    assert main(command) == 0
    assert out.read_text() == played
    assert "of 2 damaged pages" in capsys.readouterr().out
    assert main([str(tmp_path / "nothing"), "--out", str(out)]) == 1
