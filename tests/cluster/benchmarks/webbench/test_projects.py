"""Tests of reading Web-Bench's projects: both formats of tasks, and folders that are not the benchmark."""

import re
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
from benchmarks.tiny_webbench import WITHOUT_INIT, page, write_clone

from cluster.benchmarks.webbench.projects import PROJECTS, digest_of, read_projects
from rollout.errors import TaskFileError


def test_projects_have_tasks_files_and_specifications(tmp_path: Path) -> None:
    projects = {project.name: project for project in read_projects(write_clone(tmp_path))}
    assert tuple(projects) == PROJECTS
    bom, color = projects["bom"], projects[WITHOUT_INIT]
    assert [task.id for task in bom.tasks][:2] == ["init", "task-1"]
    assert [task.id for task in color.tasks][:2] == ["task-1", "task-2"]
    assert color.tasks[0].description == "- add task-1\n"
    assert bom.initial == {"index.html": page(0)}
    assert bom.reference == {"index.html": page(20)}
    assert bom.specs("init") == ("test/init.spec.js",)
    assert bom.specs("task-2") == ("test/init.spec.js", "test/task-1.spec.js", "test/task-2.spec.js")
    assert "package.json" in bom.harness


def test_every_file_is_in_the_hash(tmp_path: Path) -> None:
    before = digest_of(read_projects(write_clone(tmp_path)))
    (tmp_path / "projects/table/test/task-20.spec.js").write_text("changed")
    assert digest_of(read_projects(tmp_path)) != before


@pytest.mark.parametrize(
    ("call", "imports"),
    [
        ("await import(path.join(root, 'nodejs/index.js'))", True),
        ("/** @param {import('@playwright/test').Page} page */", False),
        ("import { test } from '@playwright/test'", False),
    ],
)
def test_specifications_that_import_the_answer_are_found(tmp_path: Path, call: str, imports: bool) -> None:
    write_clone(tmp_path)
    (tmp_path / "projects/bom/test/init.spec.js").write_text(call)
    assert read_projects(tmp_path)[0].imports_answer("test/init.spec.js") is imports


def shorten(project: Path) -> None:
    lines = (project / "tasks.jsonl").read_text().splitlines()
    (project / "tasks.jsonl").write_text("\n".join(lines[:10]))


def link(project: Path) -> None:
    (project / "src" / "a.js").symlink_to("/etc/hostname")


@pytest.mark.parametrize(
    ("damage", "words"),
    [
        (lambda project: shutil.rmtree(project.parent), "14 of 14 projects are missing (bom, calculator, calculator-f"),
        (shutil.rmtree, "1 of 14 projects are missing (bom); wanted a clone of bytedance/web-bench, with projects/<na"),
        (lambda project: (project / "tasks.jsonl").unlink(), "neither tasks.jsonl nor tasks.yml is there"),
        (shorten, "its tasks are init, task-1, task-2 … (10), wanted task-1 to task-20 in order"),
        (lambda project: (project / "test/task-7.spec.js").unlink(), "test/task-7.spec.js is missing"),
        (lambda project: shutil.rmtree(project / "src"), "src: no such folder, or it is empty"),
        (lambda project: (project / "src/a.js").write_bytes(b"\xff"), "a file is not UTF-8 text"),
        (link, "a.js: it is a link"),
        (lambda project: (project / "tasks.jsonl").write_text('{"id": "init"}'), "`description` is missing"),
    ],
)
def test_half_a_benchmark_is_one_clear_line(tmp_path: Path, damage: Callable[[Path], object], words: str) -> None:
    damage(write_clone(tmp_path) / "projects" / "bom")
    with pytest.raises(TaskFileError, match=re.escape(words)) as caught:
        read_projects(tmp_path)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(("text", "words"), [("- [", "not YAML"), ("id: 1", "wanted a list"), ("- 1", "wanted an obj")])
def test_unreadable_yaml_is_one_clear_line(tmp_path: Path, text: str, words: str) -> None:
    (write_clone(tmp_path) / "projects" / WITHOUT_INIT / "tasks.yml").write_text(text)
    with pytest.raises(TaskFileError, match=words) as caught:
        read_projects(tmp_path)
    assert "\n" not in str(caught.value)
