"""Tests of the checks before a run starts: lengths, LoRA targets, contradictory settings, changed task files."""

import json
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from tiny_model import TEMPLATE, tiny_model

from cluster.preflight import checks
from cluster.preflight.requests import plan_new, plan_resume
from cluster.settings import load_settings
from cluster.train import main
from cluster.training.curriculum import Curriculum
from rollout.errors import SettingsError, TaskFileError
from rollout.records import Task
from rollout.tasks import write_tasks

PAGE = "<!doctype html><h1>Hello</h1>"
TASKS = [Task(id=f"t{i}", brief=f"Build page {i}.", reference_html=PAGE) for i in range(4)]
OTHERS = [Task(id=f"e{i}", brief=f"Build exam page {i}.", reference_html=PAGE) for i in range(2)]
RUN = """
steps = 1
groups = 2
group_size = 2
[episode]
rounds = 1
max_tokens = 32
[exam]
tasks = 2
inference_tasks = 2
"""


@pytest.fixture
def run(tmp_path: Path) -> Path:
    """Settings with separate task files, and a runs folder next to them."""
    write_tasks(tmp_path / "train.jsonl", TASKS)
    write_tasks(tmp_path / "exam.jsonl", OTHERS)
    path = tmp_path / "run.toml"
    path.write_text(
        f"runs = '{tmp_path}/runs'\n{RUN}\n"
        f"[task]\nsource = '{tmp_path}/train.jsonl'\nheld_out = '{tmp_path}/exam.jsonl'"
    )
    return path


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A tiny model with a context of 2048 tokens."""
    folder = tmp_path_factory.mktemp("model")
    tiny_model(folder)
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps(config | {"max_position_embeddings": 2048}))
    return folder


def refusal(run: Path, capsys: pytest.CaptureFixture[str], *overrides: str) -> str:
    """The one-line error of the command, which exits with code 2 and leaves no files."""
    options = [part for override in overrides for part in ("--set", override)]
    assert main([str(run), *options]) == 2
    said = capsys.readouterr().err
    assert said.count("\n") == 1
    assert not (run.parent / "runs").exists()
    return said


@pytest.mark.parametrize(
    ("override", "said"),
    [
        ("policy.max_model_len=32", "policy.max_model_len is 32 tokens, but a page alone may have 32"),
        ("learner.token_budget=63", "learner.token_budget is 63, but a sample may have 64 tokens without its brief"),
        ("exam.inference_tasks=3", "exam.inference_tasks is 3, the file has 2 tasks; lower exam.inference_tasks"),
        ("exam.tasks=3", "exam.tasks is 3, the file has 2 tasks; lower exam.tasks"),
    ],
)
def test_contradictory_settings_give_one_line(
    run: Path, capsys: pytest.CaptureFixture[str], override: str, said: str
) -> None:
    assert said in refusal(run, capsys, override)


def test_default_settings_are_consistent(tmp_path: Path) -> None:
    (tmp_path / "run.toml").write_text("")
    settings = load_settings(tmp_path / "run.toml")
    assert settings.learner.token_budget > 2 * settings.episode.max_tokens


def test_too_long_brief_is_named_with_its_token_count(
    run: Path, tmp_path: Path, model: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    write_tasks(tmp_path / "train.jsonl", [*TASKS, Task(id="long", brief="wide " * 4000, reference_html=PAGE)])
    said = refusal(run, capsys, f"model={model}")
    for words in (
        "1 of 7 briefs are too long",
        "the prompt of task 'long' has",
        "the model's context = 2048",
        "remove",
    ):
        assert words in said


@pytest.mark.parametrize(
    ("template", "said"),
    [
        (
            "{% if messages[0].role == 'system' %}{{ raise_exception('no system message') }}{% endif %}" + TEMPLATE,
            "the prompt of task 'long' has 2",
        ),
        (
            "{% if not answers %}{{ raise_exception('answers is not set') }}{% endif %}" + TEMPLATE,
            "the prompt of task 'long' has 2",
        ),
        (
            "{{ raise_exception('never') }}",
            "refuses a conversation of system, user, assistant and user messages (never)",
        ),
        (None, "the model's tokenizer has no chat template"),
    ],
)
def test_prompts_are_counted_as_the_engine_tokenizes_them(
    run: Path, tmp_path: Path, model: Path, capsys: pytest.CaptureFixture[str], template: str | None, said: str
) -> None:
    write_tasks(tmp_path / "train.jsonl", [*TASKS, Task(id="long", brief="é" * 900, reference_html=PAGE)])
    other = tmp_path / "model"
    shutil.copytree(model, other, ignore=shutil.ignore_patterns("chat_template.jinja"))
    if template is not None:
        (other / "chat_template.jinja").write_text(template)
    assert said in refusal(run, capsys, f"model={other}", "policy.template_arguments.answers=true")


def test_token_budget_is_compared_with_the_longest_sample(
    run: Path, model: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    said = refusal(run, capsys, f"model={model}", "learner.token_budget=100", "episode.rounds=0")
    assert "learner.token_budget is 100, but a sample may have" in said
    assert "raise the budget to at least" in said


def test_token_budget_must_hold_a_page_that_every_round_of_edits_made_longer(
    run: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    chosen = ["episode.revision=edits", "episode.rounds=3", "learner.token_budget=127"]
    said = refusal(run, capsys, *chosen)
    assert "a sample may have 128 tokens" in said
    assert "a page that every earlier round made longer" in said


@pytest.mark.parametrize("target", ["q_prof", "q_proj"])
def test_lora_targets_without_layers_in_the_model_are_refused(
    run: Path, model: Path, capsys: pytest.CaptureFixture[str], target: str
) -> None:
    chosen = [f"model={model}", "learner.lora_rank=4", f'learner.lora_targets=["{target}"]']
    if target == "q_proj":
        assert plan_new(run, chosen).settings.learner.lora_rank == 4
        return
    said = refusal(run, capsys, *chosen)
    assert "learner.lora_targets must be among" in said
    assert "got 'q_prof'" in said


def test_exam_on_training_tasks_gives_a_warning(run: Path) -> None:
    assert plan_new(run, []).notes == ()
    source = run.parent / "train.jsonl"
    (note,) = plan_new(run, [f"task.held_out={source}"]).notes
    assert "WARNING: 2 of 2 exam tasks are training tasks (such as 't0')" in note
    renamed = [replace(task, id=f"other-{task.id}") for task in TASKS[:1]] + OTHERS[:1]
    write_tasks(run.parent / "exam.jsonl", renamed)
    (note,) = plan_new(run, []).notes
    assert "1 of 2 exam tasks are training tasks (such as 'other-t0')" in note


def begun(run: Path) -> str:
    """A run that was started and stopped before its first step."""
    plan = plan_new(run, [])
    about: dict[str, Any] = {"run_id": plan.run_id, "settings": plan.settings.model_dump(mode="json")}
    plan.store.write_json("run.json", about)
    return str(plan.store.path)


def test_changed_task_file_is_refused_on_resume_unless_allowed(run: Path, capsys: pytest.CaptureFixture[str]) -> None:
    stopped, runs = begun(run), run.parent / "runs"
    write_tasks(run.parent / "train.jsonl", TASKS)
    assert plan_resume(stopped, runs).notes == ()
    changed = [replace(TASKS[0], brief="Another page."), *TASKS[2:], Task(id="new", brief="x", reference_html=PAGE)]
    write_tasks(run.parent / "train.jsonl", changed)
    assert main(["--resume", stopped]) == 2
    said = capsys.readouterr().err
    assert said.count("\n") == 1
    for words in ("task.source: 1 tasks changed, 1 tasks added, 1 tasks removed", "--changed-tasks"):
        assert words in said
    (note,) = plan_resume(stopped, runs, changed_tasks=True).notes
    assert "the run continues with changed tasks: task.source: 1 tasks changed" in note
    assert plan_resume(stopped, runs).notes == (), "what was allowed once is what the run goes on with"


def test_reordered_tasks_count_as_changed(run: Path) -> None:
    stopped = begun(run)
    write_tasks(run.parent / "train.jsonl", TASKS[::-1])
    with pytest.raises(SettingsError, match="task.source: 4 tasks in another order"):
        plan_resume(stopped, run.parent / "runs")


def test_task_without_a_reference_is_refused_for_the_visual_critic(run: Path) -> None:
    write_tasks(run.parent / "train.jsonl", [*TASKS, Task(id="bare", brief="x")])
    with pytest.raises(TaskFileError, match="task 'bare' has no reference_html"):
        plan_new(run, [])


def test_task_digests_of_a_run_are_stored(run: Path) -> None:
    kept = json.loads((Path(begun(run)) / "tasks.json").read_text())
    assert list(kept["task.source"]) == [task.id for task in TASKS]
    settings = load_settings(run)
    assert checks.changes(kept, checks.digests(settings, Curriculum(settings))) == ""
