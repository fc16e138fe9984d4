"""Tests of task files: round trips, and one-line errors for unusable files."""

import hashlib
import json
from dataclasses import replace
from pathlib import Path

import pytest

from actors.browser.chromium import probes
from actors.browser.chromium.input import KEY_CODES
from rollout.errors import TaskFileError
from rollout.probes import KEYS, LONGEST_WAIT_MS
from rollout.records import Probe, ProbeStep, Task, Viewport
from rollout.tasks import digest, read_tasks, write_tasks

FULL = Task(
    id="a",
    brief='Say "héllo" 🎈\u2028in two\nlines',
    reference_html="<!doctype html><p>héllo</p>",
    probes=(
        Probe(
            name="more",
            steps=(
                ProbeStep(kind="click", selector="#more"),
                ProbeStep(kind="expect_style", selector=".bar", name="width", value="50px"),
            ),
        ),
    ),
    checklist=("It is red.", "It is large."),
    viewports=(Viewport(width=1280, height=800), Viewport(width=360, height=640)),
)
TASKS = [FULL, Task(id="b", brief="A page.")]


@pytest.mark.parametrize("name", ["tasks.parquet", "tasks.jsonl"])
@pytest.mark.parametrize("tasks", [TASKS, TASKS[1:]], ids=["mixed", "plain"])
def test_task_file_round_trips(tmp_path: Path, name: str, tasks: list[Task]) -> None:
    write_tasks(tmp_path / "new" / name, tasks)
    assert read_tasks(tmp_path / "new" / name) == tasks
    assert [path.name for path in (tmp_path / "new").iterdir()] == [name]


def refusal(path: Path) -> str:
    with pytest.raises(TaskFileError) as caught:
        read_tasks(path)
    message = str(caught.value)
    assert str(path) in message
    assert "\n" not in message
    return message


def test_truncated_parquet_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "tasks.parquet"
    write_tasks(path, TASKS)
    whole = path.read_bytes()
    for size in (0, 3, len(whole) // 2, len(whole) - 1):
        path.write_bytes(whole[:size])
        assert "cannot be read as Parquet" in refusal(path)


def test_parquet_error_names_the_row(tmp_path: Path) -> None:
    path = tmp_path / "tasks.parquet"
    write_tasks(path, [TASKS[1], Task(id="c", brief=" ")])
    assert "row 2: `brief` is ' '" in refusal(path)


def test_missing_file_and_wrong_suffix_are_refused(tmp_path: Path) -> None:
    assert "no such task file" in refusal(tmp_path / "none.parquet")
    (tmp_path / "tasks.csv").write_text("id,brief\n")
    assert "wanted .parquet or .jsonl" in refusal(tmp_path / "tasks.csv")
    with pytest.raises(TaskFileError):
        write_tasks(tmp_path / "tasks.csv", TASKS)


PROBE = {"name": "p", "steps": [{"kind": "click", "selector": "a"}]}


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("{", "line 2: not JSON"),
        ("[]", "line 2: got [], wanted an object"),
        ({"brief": "x"}, "line 2: `id` is missing"),
        ({"id": "", "brief": "x"}, "line 2: `id` is ''"),
        ({"id": 7.5, "brief": "x"}, "line 2: `id` is 7.5"),
        ({"id": True, "brief": "x"}, "line 2: `id` is True"),
        ('{"id": "x", "brief": "one", "brief": "two"}', "line 2: `brief` appears twice in one object"),
        ({"id": "x"}, "line 2: `brief` is missing"),
        ({"id": "one", "brief": "x"}, "line 2: id 'one' is taken"),
        ({"id": "x", "brief": "x", "color": "red"}, "line 2: unknown column 'color'"),
        (
            {"id": "x", "brief": "x", "source": "web", "difficulty": 2},
            "line 2: unknown columns 'source', 'difficulty', wanted only id, brief",
        ),
        (
            {"id": "x", "brief": "x", "refrence_html": "<p>"},
            "line 2: unknown column 'refrence_html'; did you mean 'reference_html'?",
        ),
        ({"id": "x", "brief": "x", "reference_html": ""}, "line 2: `reference_html` is ''"),
        ({"id": "x", "brief": "x", "checklist": "red"}, "line 2: `checklist` is 'red', wanted a list"),
        ({"id": "x", "brief": "x", "checklist": ["a", 3]}, "line 2: `checklist[1]` is 3"),
        ({"id": "x", "brief": "x", "probes": ["p"]}, "line 2: probes[0]: got 'p'"),
        ({"id": "x", "brief": "x", "probes": [{"name": "p"}]}, "line 2: probes[0]: `steps` is missing"),
        (
            {"id": "x", "brief": "x", "probes": [PROBE, {"name": "p", "steps": [{"kind": "tickle"}]}]},
            "line 2: probes[1].steps[0]: `kind` is 'tickle', wanted one of click",
        ),
        (
            {"id": "x", "brief": "x", "probes": [{"name": "p", "steps": [{"kind": "wait", "value": 50}]}]},
            "line 2: probes[0].steps[0]: `value` is 50",
        ),
        ({"id": "x", "brief": "x", "viewports": "mobile"}, "line 2: `viewports` is 'mobile', wanted a list"),
        (
            {"id": "x", "brief": "x", "viewports": ["mobile", "phone"]},
            "line 2: `viewports[1]`: got 'phone', wanted desktop, tablet, mobile, or a size from 64x64",
        ),
        ({"id": "x", "brief": "x", "viewports": ["390x8440"]}, "line 2: `viewports[0]`: got '390x8440'"),
        ({"id": "x", "brief": "x", "viewports": [[390, 844]]}, "line 2: `viewports[0]` is [390, 844], wanted text"),
        ({"id": "x", "brief": "x", "viewports": ["mobile", "390x844"]}, "`viewports[1]` is 390x844, like an earlier"),
        (r'{"id": "x", "brief": "\ud800"}', "line 2: `brief` holds half a character"),
        ({"id": "x" * 400, "brief": ["y" * 4000]}, "line 2: `brief` is ['yyy"),
    ],
)
def test_unusable_row_is_refused_with_its_line_and_field(tmp_path: Path, line: object, said: str) -> None:
    path = tmp_path / "tasks.jsonl"
    text = line if isinstance(line, str) else json.dumps(line)
    path.write_text(f'{{"id": "one", "brief": "first"}}\n{text}\n')
    message = refusal(path)
    assert said in message
    assert len(message) < 500


def test_viewport_can_be_a_name_or_a_size(tmp_path: Path) -> None:
    path = tmp_path / "tasks.jsonl"
    path.write_text('{"id": "a", "brief": "x", "viewports": ["mobile", "1000x64"]}\n')
    assert [str(viewport) for viewport in read_tasks(path)[0].viewports] == ["390x844", "1000x64"]


@pytest.mark.parametrize(
    ("step", "said"),
    [
        ({"kind": "wait", "value": "half a second"}, "`value` is 'half a second', wanted the milliseconds to wait"),
        ({"kind": "wait"}, "a step of kind 'wait' needs `value`, got None"),
        ({"kind": "wait", "value": "-1"}, "`value` is '-1', wanted the milliseconds"),
        ({"kind": "wait", "value": "nan"}, "`value` is 'nan', wanted the milliseconds"),
        ({"kind": "wait", "value": "60000"}, "at most 10000"),
        ({"kind": "press", "value": ""}, "a step of kind 'press' needs `value`, got ''"),
        ({"kind": "press", "value": "Return"}, "`value` is 'Return', wanted the key to press: a single character or"),
        ({"kind": "click"}, "a step of kind 'click' needs `selector`"),
        ({"kind": "type", "selector": "input"}, "a step of kind 'type' needs `value`"),
        ({"kind": "expect_text", "selector": "p"}, "a step of kind 'expect_text' needs `value`"),
        ({"kind": "expect_attribute", "selector": "p", "value": "x"}, "a step of kind 'expect_attribute' needs `name`"),
        ({"kind": "click", "selector": "p", "text": "x"}, "got `selector` and `text`, wanted one locator"),
        ({"kind": "fill", "value": "x"}, "needs `selector` or another locator"),
        ({"kind": "click", "text": "x", "negated": True}, "cannot be negated"),
        ({"kind": "click", "text": "x", "negated": "yes"}, "`negated` is 'yes', wanted true or false"),
        ({"kind": "click", "text": "x", "nth": "1"}, "`nth` is '1', wanted a whole number"),
        ({"kind": "expect_count", "text": "x", "value": "two"}, "wanted the number of elements"),
        ({"kind": "drag", "text": "x", "value": "right"}, "wanted `to` or an offset such as '40,0'"),
        ({"kind": "click", "text": "x", "accessible_name": "x"}, "`accessible_name` needs `role`"),
        ({"kind": "expect_text", "text": "x", "pattern": "x"}, "wanted `/pattern/flags`"),
        ({"kind": "click", "text": "x", "pattern": "/x/"}, "`pattern` replaces `value` in expect_text"),
        ({"kind": "click", "text": "x", "to": "p"}, "has no use for `to`"),
        ({"kind": "expect_change", "text": "x"}, "takes no other locator"),
    ],
)
def test_impossible_probe_step_is_refused(tmp_path: Path, step: dict[str, str], said: str) -> None:
    path = tmp_path / "tasks.jsonl"
    path.write_text(json.dumps({"id": "x", "brief": "x", "probes": [{"name": "p", "steps": [step]}]}))
    message = refusal(path)
    assert "line 1: probes[0].steps[0]: " in message
    assert said in message


@pytest.mark.parametrize("suffix", ["jsonl", "parquet"])
def test_steps_with_options_survive_a_task_file(tmp_path: Path, suffix: str) -> None:
    steps = (
        ProbeStep(kind="click", role="button", accessible_name="Add", exact=True, nth=0),
        ProbeStep(kind="expect_text", label="Total", pattern="/EUR/i", negated=True),
        ProbeStep(kind="drag", selector="#a", to="#b"),
        ProbeStep(kind="expect_visible", selector="p"),
    )
    task = Task(id="x", brief="x", probes=(Probe(name="p", steps=steps),))
    path = tmp_path / f"tasks.{suffix}"
    write_tasks(path, [task])
    assert read_tasks(path) == [task]
    assert [step.patience_ms for step in steps] == [5000, 5000, 5000, 500]
    assert digest(read_tasks(path)[0]) == digest(task)


def test_digest_of_a_plain_probe_is_that_of_its_four_fields() -> None:
    row = {"id": "x", "brief": "x", "probes": [{"name": "p", "steps": [PLAIN]}]}
    task = Task(id="x", brief="x", probes=(Probe(name="p", steps=(ProbeStep(kind="click", selector="a"),)),))
    assert digest(task) == hashlib.sha256(json.dumps(row, sort_keys=True).encode()).hexdigest()[:16]


PLAIN = {"kind": "click", "selector": "a", "value": "", "name": ""}


def test_key_names_are_those_that_the_browser_can_press() -> None:
    assert set(KEYS) == set(KEY_CODES)
    assert LONGEST_WAIT_MS == probes.LONGEST_WAIT_MS


ROWS = [{"id": "a", "brief": "eine schöne Seite"}, {"id": 7, "brief": "x", "probes": json.dumps([PROBE])}]
LINES = "".join(f"{json.dumps(row, ensure_ascii=False)}\n" for row in ROWS)
LAYOUTS = {
    "byte-order mark": b"\xef\xbb\xbf" + LINES.encode(),
    "UTF-16": LINES.encode("utf-16"),
    "CRLF": LINES.replace("\n", "\r\n\r\n").encode(),
    "array": json.dumps(ROWS).encode(),
    "array over lines": json.dumps(ROWS, indent=2).encode(),
    "objects over lines": "\n".join(json.dumps(row, indent=2) for row in ROWS).encode(),
}


@pytest.mark.parametrize("name", ["tasks.jsonl", "tasks.json"])
@pytest.mark.parametrize("layout", LAYOUTS)
def test_every_json_layout_is_read_equally(tmp_path: Path, name: str, layout: str) -> None:
    path = tmp_path / name
    path.write_bytes(LAYOUTS[layout])
    plain, probed = read_tasks(path)
    assert plain == Task(id="a", brief="eine schöne Seite")
    assert (probed.id, probed.probes[0].steps[0].kind) == ("7", "click")


def test_number_and_text_with_the_same_digits_are_the_same_id(tmp_path: Path) -> None:
    path = tmp_path / "tasks.jsonl"
    path.write_text('{"id": 7, "brief": "x"}\n{"id": "7", "brief": "y"}\n')
    assert "line 2: id '7' is taken by an earlier row" in refusal(path)


def test_damaged_multi_line_object_is_reported_with_a_line(tmp_path: Path) -> None:
    path = tmp_path / "tasks.jsonl"
    path.write_text('{"id": "a", "brief": "x"}\n{\n "id": "b",\n "brief": \n')
    assert "line 2: not JSON" in refusal(path)


def test_task_digest_does_not_depend_on_the_file_format(tmp_path: Path) -> None:
    for name in ("tasks.parquet", "tasks.jsonl"):
        write_tasks(tmp_path / name, TASKS)
    read = [[digest(task) for task in read_tasks(tmp_path / name)] for name in ("tasks.parquet", "tasks.jsonl")]
    assert read[0] == read[1]
    assert len(set(read[0])) == len(TASKS)
    assert digest(replace(FULL, brief="other")) != digest(FULL)


def test_empty_and_binary_files_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "tasks.jsonl"
    path.write_text("\n\n")
    assert "has no tasks" in refusal(path)
    path.write_bytes(b"\xff\xfe\x00")
    assert "not UTF-8" in refusal(path)
