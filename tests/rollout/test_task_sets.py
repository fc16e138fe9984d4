"""Tests of the readers of public task sets, on small files in each set's published form."""

import json
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from rollout.errors import TaskFileError
from rollout.records import Task
from rollout.task_sets.page_text import LONGEST, brief_of_page
from rollout.task_sets.public import SEED_BRIEF, SETS, read_task_set
from rollout.task_sets.split import split_by_brief
from rollout.tasks import read_tasks

CHECK = {"task": "Search a stock.", "expected_result": "It is listed.", "task_category": {"primary_category": "x"}}
NO_CHECK = {"task": "", "expected_result": "", "task_category": {"primary_category": ""}}
CRITERION = {"id": 0, "title": "Is it?", "description": "Check.", "maxScore": 10}
SNAPSHOT = {"screenshot_id": "1", "checklist": ["Red.", "Blue."]}
ROWS: dict[str, tuple[dict[str, Any], Task]] = {
    "webgen": (
        {"id": "000001", "instruction": "A stock site.", "ui_instruct": [CHECK, NO_CHECK], "application_type": "x"},
        Task(id="000001", brief="A stock site.", checklist=("Search a stock. It is listed.",)),
    ),
    "mm-webagent": ({"instruction": "Plan:", "input": "A camp.", "file_id": "007"}, Task(id="007", brief="A camp.")),
    "frontcoder": (
        {"subcat_id": 500, "class": "Charts", "sub_category": "3D charts"},
        Task(id="500", brief=SEED_BRIEF.format(kind="3D charts", group="Charts")),
    ),
    "artifactsbench": (
        {"index": 57, "question": "Draw.", "checklist": [CRITERION]},
        Task(id="57", brief="Draw.", checklist=("Is it? Check.",)),
    ),
    "interactscience": (
        {"id": "Dissection", "question": "Plan.", "snapshot_checklists": [SNAPSHOT]},
        Task(id="Dissection", brief="Plan.", checklist=("Red.", "Blue.")),
    ),
}


@pytest.mark.parametrize("name", ROWS)
def test_rows_of_a_public_file_become_tasks(tmp_path: Path, name: str) -> None:
    row, task = ROWS[name]
    path = tmp_path / "set.jsonl"
    path.write_text(f"{json.dumps(row)}\n", encoding="utf-8")
    assert read_task_set(name, path) == [task]


def test_webgen_is_read_from_parquet_with_numbers_as_ids(tmp_path: Path) -> None:
    rows = [{"id": i, "instruction": f"Site {i}.", "ui_instruct": [CHECK if i == 2 else NO_CHECK]} for i in (1, 2)]
    pq.write_table(pa.Table.from_pylist(rows), tmp_path / "train.parquet")
    first, second = read_task_set("webgen", tmp_path / "train.parquet")
    assert first == Task(id="1", brief="Site 1.")
    assert second.checklist == ("Search a stock. It is listed.",)


def test_examples_have_a_reference_page_where_the_repository_has_one(tmp_path: Path) -> None:
    (tmp_path / "examples").mkdir()
    for name in ("clock", "clock-5.2"):
        (tmp_path / "examples" / f"{name}.yaml").write_text(f"id: {name}\nprompt: |\n  A clock.\n", encoding="utf-8")
    (tmp_path / "apps" / "clock").mkdir(parents=True)
    (tmp_path / "apps" / "clock" / "index.html").write_text("<p>12:00</p>")
    assert read_task_set("gpt5", tmp_path) == [
        Task(id="clock-5.2", brief="A clock.\n"),
        Task(id="clock", brief="A clock.\n", reference_html="<p>12:00</p>"),
    ]


def test_design2code_briefs_list_the_texts_of_the_page(tmp_path: Path) -> None:
    html = """<!doctype html><title>Two
      shops</title><style>p{}</style><h1>Our <b>shops</b></h1><ul><li>Bern<li>Oslo</ul>
      <img src=rick.jpg><script>"no"</script><p>Open<br>daily<button>Call</button>"""
    (tmp_path / "10.html").write_text(html)
    (tmp_path / "9.html").write_text("<p>One.")
    (tmp_path / "11.html").write_text("<script>nothing()</script>")
    small, large = read_task_set("design2code", tmp_path)
    assert (small.id, large.id, large.reference_html) == ("9", "10", html)
    assert large.brief.splitlines() == [
        "Build one complete HTML page.",
        "Title: Two shops",
        "Texts from top to bottom:",
        "- heading: Our shops",
        "- list item: Bern",
        "- list item: Oslo",
        "- text: Open daily",
        "- button: Call",
        "Pictures: 1, shown as grey boxes.",
    ]


def test_a_long_page_gives_a_bounded_brief_that_counts_the_rest() -> None:
    brief = brief_of_page("".join(f"<p>{'word ' * 40}{i}</p>" for i in range(100)))
    assert len(brief) < LONGEST + 100
    shown = brief.count("- text:")
    assert brief.endswith(f"- and {100 - shown} more texts of the same kinds")


@pytest.mark.parametrize(
    ("name", "content", "wanted"),
    [
        ("webgen", None, "no such file"),
        ("webgen", "", "no task found"),
        ("webgen", '{"id": "1"}', "`instruction` is missing"),
        ("webgen", '{"id": "1", "instruction": "A.", "ui_instruct": ["x"]}', "wanted an object"),
        ("webgen", '{"id": "1", "instruction": "A."}\n{"id": "1", "instruction": "B."}', "occurs twice"),
        ("artifactsbench", '{"index": 1, "question": "A.", "checklist": [{"title": "T"}]}', "`description` is missing"),
        ("gpt5", "{}", "no such folder"),
        ("nowhere", "{}", "no task set 'nowhere'"),
    ],
)
def test_unusable_files_are_refused_in_one_line(tmp_path: Path, name: str, content: str | None, wanted: str) -> None:
    path = tmp_path / "set.jsonl"
    if content is not None:
        path.write_text(content)
    with pytest.raises(TaskFileError, match=wanted) as caught:
        read_task_set(name, path)
    assert "\n" not in str(caught.value)


def test_tasks_with_one_brief_are_never_split() -> None:
    tasks = [Task(id=f"{brief}{copy}", brief=brief) for brief in "abcdefgh" for copy in "12"]
    training, held_out = split_by_brief(tasks, 0.25)
    assert len(held_out) == 4
    assert {task.brief for task in training}.isdisjoint(task.brief for task in held_out)
    assert sorted([*training, *held_out], key=lambda task: task.id) == tasks
    assert split_by_brief(tasks, 0.0) == (tasks, [])
    assert split_by_brief(tasks[::-1], 0.25)[1] == held_out[::-1]


def test_every_set_says_what_it_holds_and_under_which_licence() -> None:
    assert all(one.holds and one.files and one.licence for one in SETS.values())


def test_the_shipped_set_has_disjoint_briefs_and_reference_pages() -> None:
    folder = Path("tasks/gpt5")
    training, held_out = (read_tasks(folder / f"{name}.parquet") for name in ("train", "held-out"))
    assert (len(training), len(held_out)) == (46, 18)
    assert all(task.reference_html for task in (*training, *held_out))
    assert {task.brief for task in training}.isdisjoint(task.brief for task in held_out)
    assert len({task.brief for task in (*training, *held_out)}) == 52
