"""Tests of what `relook sft` refuses before anything is launched, and of its report."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from drawn_episodes import PICTURES, attempt
from played_groups import attempt as played
from played_groups import group

from cluster.report.filmstrips import Pair
from cluster.sft import main
from cluster.storage.store import Store
from cluster.supervised.report import SupervisedReport, render
from cluster.supervised.requests import plan_new, plan_resume
from cluster.supervised.samples import sample_figures
from cluster.supervised.summary import summarise
from rollout.errors import CheckpointError, SettingsError, TaskFileError
from rollout.records import Page, Task
from rollout.tasks import write_tasks

EVIL = "</script><img src=x onerror=alert(1)>"


def settings_file(folder: Path, *lines: str) -> Path:
    path = folder / "settings.toml"
    path.write_text("\n".join((f'runs = "{folder / "runs"}"', f'cache = "{folder / "cache"}"', *lines)))
    return path


def tasks(folder: Path, *rows: Task) -> Path:
    write_tasks(folder / "tasks.jsonl", rows)
    return folder / "tasks.jsonl"


def row(name: str, html: str | None = "<p>a</p>") -> Task:
    return Task(id=name, brief=f"Build {name}.", reference_html=html)


def test_a_plan_keeps_its_tasks_and_holds_some_out(tmp_path: Path) -> None:
    source = tasks(tmp_path, *(row(f"page-{i}") for i in range(10)))
    path = settings_file(tmp_path, "[task]", f'source = "{source}"', "[sft]", "held_out = 0.2", "tasks = 5")
    plan = plan_new(path, ["sft.lr=1e-4"])
    assert [task.id for task in plan.tasks] == [f"page-{i}" for i in range(5)]
    assert len(plan.held_out) == 1
    assert plan.settings.sft.lr == 1e-4
    settings = plan.settings.model_dump(mode="json")
    plan.store.write_json("run.json", {"run_id": plan.run_id, "mlflow_run": "m", "settings": settings})
    source.write_text("")
    again = plan_resume(plan.run_id, tmp_path / "runs")
    assert (again.tasks, again.settings, again.mlflow_run) == (plan.tasks, plan.settings, "m")
    assert again.resumed


def test_built_in_designs_need_no_file(tmp_path: Path) -> None:
    plan = plan_new(settings_file(tmp_path, "[sft]", "tasks = 20"), [])
    assert len(plan.tasks) == 20
    assert len(plan.held_out) == 2


@pytest.mark.parametrize(
    ("rows", "said"),
    [
        ((row("a"), row("b", None)), "task 'b' has no reference_html"),
        ((row("a"), replace(row("b"), brief="Build a.")), "leaves none to train on"),
    ],
)
def test_tasks_without_references_or_without_a_split_are_refused(
    tmp_path: Path, rows: tuple[Task, ...], said: str
) -> None:
    path = settings_file(tmp_path, "[task]", f'source = "{tasks(tmp_path, *rows)}"')
    with pytest.raises(TaskFileError, match=said):
        plan_new(path, [])
    assert not (tmp_path / "runs").exists(), "refused before a run's folder is made"


def test_unknown_settings_and_runs_are_refused_in_one_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SettingsError, match="did you mean 'epochs'"):
        plan_new(settings_file(tmp_path), ["sft.epoch=3"])
    store = Store(tmp_path / "runs" / "other")
    store.write_json("run.json", {"run_id": "other", "settings": {}})
    with pytest.raises(CheckpointError, match="no run of `relook sft`"):
        plan_resume("other", tmp_path / "runs")
    assert main(["--resume", "gone", "--runs", str(tmp_path)]) == 2
    assert capsys.readouterr().err.startswith("relook: no run 'gone'")
    with pytest.raises(SystemExit):
        main([])


def history() -> list[dict[str, float]]:
    first = {"step": 0.0, "held_out_first": 2.0, "held_out_revise": 1.5, "held_out_loss": 1.8}
    update = {"step": 1.0, "loss": 1.9, "match": 0.4, "lr": 1e-4, "tokens_per_s": 50.0, "peak_memory_gib": 2.5}
    return [first, update | {"held_out_first": 1.0, "held_out_revise": 0.5, "held_out_loss": 0.8}]


def report(**changes: Any) -> SupervisedReport:
    summary = summarise(
        run_id="x",
        status="finished",
        model="m",
        history=history(),
        seconds={"train": 1.234},
        corpus={
            "tasks": 3,
            "damages": {"open_tag": {"judged": 4, "kept": 3}},
            "examples": {"first": 3, "revise": 3, "review": 3},
        },
        held_out_tasks=1,
        samples={"before": {"answers": 4, "pages": 0, "valid": 0}, "after": {"answers": 4, "pages": 3, "valid": 2}},
    )
    pair = Pair(task=Task(id="t", brief=EVIL), before=attempt(0, 0, 0.0), after=attempt(0, 0, 0.5), reference=None)
    values: dict[str, Any] = {
        "run_id": "x",
        "status": "finished",
        "summary": summary,
        "settings": {"sft": {"lr": 1e-4}},
        "history": history(),
        "pairs": [pair],
        "picture": PICTURES.get,
    }
    return SupervisedReport(**values | changes)


def test_the_report_shows_losses_pages_and_damages_and_escapes_texts() -> None:
    html = render(report())
    assert "first page 2.000 → 1.000, revision 1.500 → 0.500" in html
    assert "0 of 4 before training, 3 of 4 after" in html
    assert "open tag" in html
    assert "onerror=alert" not in html.replace("&lt;img src=x onerror=alert(1)&gt;", "")
    assert "No update is finished yet" in render(report(history=(), summary={}, pairs=()))


def test_sample_figures_count_pages_and_valid_ones() -> None:
    found = group("a", [played(0, 0.5)]).trajectories[0]
    silent = replace(found.accepted[0], page=Page(html=None, problem="no_fence"))
    other = replace(found, turns=(replace(found.turns[0], attempts=(silent,)),))
    assert sample_figures([found, other]) == {"answers": 2, "pages": 1, "valid": 0, "reward": 0.5}
    assert sample_figures([])["answers"] == 0
