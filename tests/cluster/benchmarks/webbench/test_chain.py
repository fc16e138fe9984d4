"""Tests of a chain: files carried on, attempts, its end, what is tested again, and what the policy reads."""

from collections.abc import Sequence
from pathlib import Path

import pytest
from benchmarks.tiny_webbench import PaperSpecs, answer, page, write_clone

from cluster.benchmarks.records import Answer
from cluster.benchmarks.webbench.chain import MAX_FAILURES, Chain, Outcome
from cluster.benchmarks.webbench.projects import Project, read_projects
from rollout.records import Message


class Script:
    """Writes answers by key, and remembers the prompts."""

    def __init__(self, answers: dict[str, str]) -> None:
        self.answers = answers
        self.prompts: dict[str, str] = {}

    async def write(self, key: str, messages: Sequence[Message]) -> Answer:
        self.prompts[key] = messages[-1].content
        return Answer(text=self.answers.get(key), detail="no answer")


@pytest.fixture
def projects(tmp_path: Path) -> dict[str, Project]:
    return {project.name: project for project in read_projects(write_clone(tmp_path))}


async def play(project: Project, script: Script, specs: PaperSpecs, *, faithful: bool = False) -> dict[str, Outcome]:
    outcomes = await Chain(project, script, specs, faithful=faithful).play()
    return {outcome.task: outcome for outcome in outcomes}


async def test_files_are_carried_on_and_all_specifications_so_far_are_run(projects: dict[str, Project]) -> None:
    script = Script({"dom/init": answer(0), "dom/task-1": answer(1), "dom/task-2": "```js\na.js\nrun()\n```"})
    specs = PaperSpecs()
    outcomes = await play(projects["dom"], script, specs)
    assert [outcomes[name].passed for name in ("init", "task-1", "task-2")] == [True, True, False]
    assert "```index.html" not in script.prompts["dom/init"]
    assert "The project has these files: index.html." in script.prompts["dom/init"]
    assert f"```index.html\n{page(1)}\n```" in script.prompts["dom/task-2"]
    assert specs.runs[1].specs == projects["dom"].specs("task-1")
    assert specs.runs[2].files["src/index.html"] == page(1).encode()
    assert specs.runs[2].files["src/a.js"] == b"run()"
    assert specs.runs[2].environment["EVAL_PROJECT_ROOT"] == "/specs/src"


async def test_the_second_attempt_reads_the_error_on_the_files_of_the_first(projects: dict[str, Project]) -> None:
    script = Script({"color/task-1": answer(0, "<i>"), "color/task-1/2": answer(1)})
    outcomes = await play(projects["color"], script, PaperSpecs())
    assert (outcomes["task-1"].passed, outcomes["task-1"].attempts) == (True, 2)
    assert "test/task-1.spec.js › p1 is there: #p1 is not visible" in script.prompts["color/task-1/2"]
    assert page(0, "<i>") in script.prompts["color/task-1/2"]
    assert "#p1" not in script.prompts["color/task-1"]


async def test_a_later_task_that_breaks_an_earlier_one_ends_the_chain(projects: dict[str, Project]) -> None:
    broken = page(2).replace("id=p1", "id=other")
    script = Script({"dom/init": answer(0), "dom/task-1": answer(1), "dom/task-2": f"```index.html\n{broken}\n```"})
    outcomes = await play(projects["dom"], script, PaperSpecs())
    assert (outcomes["task-2"].passed, outcomes["task-2"].own_passed) == (False, True)
    assert not outcomes["task-3"].in_chain


async def test_after_the_chain_a_task_is_tested_by_its_own_specification(projects: dict[str, Project]) -> None:
    script = Script({"dom/init": answer(0), "dom/task-2": answer(0, "<p id=p2>")})
    specs = PaperSpecs()
    outcomes = await play(projects["dom"], script, specs)
    assert not outcomes["task-1"].answered
    assert (outcomes["task-2"].in_chain, outcomes["task-2"].own_passed) == (False, True)
    assert (specs.runs[-1].specs, specs.runs[-1].max_failures) == (("test/task-2.spec.js",), 1)
    assert len(outcomes) == 21
    faithful = await play(projects["dom"], script, PaperSpecs(), faithful=True)
    assert list(faithful) == ["init", "task-1"]


async def test_a_failed_init_falls_back_to_the_first_files(projects: dict[str, Project]) -> None:
    script = Script({"dom/init": "```a.js\nrun()\n```", "dom/task-1": answer(1)})
    specs = PaperSpecs()
    outcomes = await play(projects["dom"], script, specs)
    assert (outcomes["init"].passed, outcomes["task-1"].passed, outcomes["task-1"].in_chain) == (False, True, True)
    assert page(0) in script.prompts["dom/task-1"]
    assert "src/a.js" not in specs.runs[-1].files


@pytest.mark.parametrize(
    ("text", "words"),
    [
        (page(1), "The answer has no fenced block with a file."),
        (f"```html\n{page(1)}\n```", "A block has no file name"),
        ("```js\nindex.html/a.js\nrun()\n```", "index.html is both a file and a folder"),
    ],
)
async def test_an_answer_that_cannot_be_used_is_not_run_but_told(
    projects: dict[str, Project], text: str, words: str
) -> None:
    script = Script({"color/task-1": text, "color/task-1/2": text})
    specs = PaperSpecs()
    outcomes = await play(projects["color"], script, specs)
    assert words in script.prompts["color/task-1/2"]
    assert words in outcomes["task-1"].error
    assert not outcomes["task-1"].answered
    assert not specs.runs


async def test_an_empty_block_leaves_the_file_as_it_is(projects: dict[str, Project]) -> None:
    script = Script({"color/task-1": f"{answer(1)}```js\na.js\n\n```", "color/task-2": "```js\nindex.html\n\n```"})
    script.answers["color/task-2"] = "```css\nb.css\np {}\n```\n```js\na.js\nrun()\n```"
    specs = PaperSpecs()
    await play(projects["color"], script, specs)
    assert specs.runs[0].files["src/a.js"] == b""
    assert specs.runs[1].files["src/a.js"] == b"run()"


async def test_unchanged_files_that_pass_are_tested_with_the_next_specifications(projects: dict[str, Project]) -> None:
    class Same(Script):
        async def write(self, key: str, messages: Sequence[Message]) -> Answer:
            return Answer(text=answer(20))

    specs = PaperSpecs()
    outcomes = await play(projects["dom"], Same({}), specs)
    assert all(outcome.passed and outcome.own_passed for outcome in outcomes.values())
    assert [len(run.specs) for run in specs.runs] == [1, 8, 8, 4]


async def test_unchanged_files_that_failed_are_not_run_again(projects: dict[str, Project]) -> None:
    script = Script({"color/task-1": answer(0), "color/task-1/2": answer(0)})
    specs = PaperSpecs()
    outcomes = await play(projects["color"], script, specs)
    assert (outcomes["task-1"].answered, outcomes["task-1"].attempts, len(specs.runs)) == (True, 2, 1)


@pytest.mark.parametrize("faithful", [False, True])
async def test_limits_are_those_of_the_public_harness_when_faithful(
    projects: dict[str, Project], faithful: bool
) -> None:
    specs = PaperSpecs()
    await play(projects["color"], Script({"color/task-1": answer(1)}), specs, faithful=faithful)
    run = specs.runs[0]
    assert (run.test_timeout_s, run.expect_timeout_s) == (30.0, 5.0)
    assert run.max_failures == (0 if faithful else MAX_FAILURES)
    assert run.action_timeout_s == (0.0 if faithful else 5.0)
    assert run.faults_fail is faithful
    assert (run.served, run.environment["IS_EVAL_PRODUCTION"]) == ("src", "true")
