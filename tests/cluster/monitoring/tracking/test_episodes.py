"""Tests of the table of episodes and of held-out images: samples are spread over groups, keys are valid."""

import re
from typing import Any

import pytest
from played_groups import attempt, group

from cluster.monitoring.tracking.episodes import COLUMNS, in_turn, table_row
from cluster.monitoring.tracking.exam_pictures import image_key


def test_sample_takes_each_group_in_turn() -> None:
    groups = [group(name, [attempt(0, 0.1)], [attempt(0, 0.2)]) for name in ("a", "b")]
    tasks = [(one.task.id, one.reward) for one in in_turn(groups, 3)]
    assert tasks == [("a", 0.1), ("b", 0.1), ("a", 0.2)]
    assert list(in_turn([], 3)) == []


def test_row_has_the_scores_and_verdicts_of_all_attempts() -> None:
    (trajectory,) = group("a", [attempt(0, 0.1), attempt(1, 0.4, feedback="Larger title.")]).trajectories
    row: dict[str, Any] = dict(zip(COLUMNS, table_row(2, trajectory, "tr-1"), strict=True))
    assert (row["step"], row["task"], row["rounds"], row["trace"]) == (2, "a", 1, "tr-1")
    assert (row["reward before"], row["reward after"]) == (0.1, 0.4)
    assert (row["critic scores"], row["verdicts"]) == ("0.100, 0.400", "accepted, accepted")
    assert row["feedback"] == "Larger title."


@pytest.mark.parametrize("task", ["hero-17", "train/3/2", "Überschrift: ein Test"])
def test_image_key_has_only_characters_that_mlflow_allows(task: str) -> None:
    assert re.fullmatch(r"[a-zA-Z0-9_\-./ ]+", image_key(task))
