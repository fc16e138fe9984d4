"""Tests of reference pages of task files in the real browser: each is rendered once, broken pages give one line."""

from pathlib import Path

import pytest

from cluster import evaluate, tasks
from cluster.preflight.references import Proven, broken_references, browsers, check_rendered, proven_at
from cluster.settings import RunSettings
from reward.designs import tasks as designs
from rollout.errors import TaskFileError
from rollout.records import Page, Probe, Render, Task, Viewport
from rollout.tasks import write_tasks

BROKEN = "<!doctype html><script>tailwind.config = {}</script><h1>Hello</h1>"
GOOD = designs(3, seed=0, split="train")
BAD = Task(id="bad", brief="A page.", reference_html=BROKEN)


class Counting:
    """A renderer that records the pages it renders."""

    def __init__(self, renderer: object) -> None:
        self.renderer, self.pages = renderer, list[str]()

    async def render(self, page: Page, probes: tuple[Probe, ...] = (), viewports: tuple[Viewport, ...] = ()) -> Render:
        self.pages.append(page.sha256)
        render: Render = await self.renderer.render(page, probes, viewports)  # type: ignore[attr-defined]
        return render


@pytest.mark.browser
async def test_each_reference_is_rendered_once_and_broken_ones_are_named(tmp_path: Path) -> None:
    settings = RunSettings(cache=str(tmp_path))
    some = [*GOOD, BAD, Task(id="twin", brief="The same page.", reference_html=GOOD[0].reference_html)]
    told: list[tuple[int, int]] = []
    async with browsers(settings, 2) as several:
        renderer, proven = Counting(several), proven_at(settings, several.all[0].name)
        faults = await broken_references(
            some, renderer, proven, at_once=2, progress=lambda done, total: told.append((done, total))
        )
        assert sorted(told) == [(1, 4), (2, 4), (3, 4), (4, 4)]
        assert len(renderer.pages) == 4
        again = proven_at(settings, several.all[0].name)
        assert await broken_references(some, renderer, again, at_once=2) == faults
        assert len(renderer.pages) == 5, "only the broken page is rendered again"
    assert list(faults) == ["bad"]
    with pytest.raises(TaskFileError) as caught:
        check_rendered(faults, "train.jsonl", len(some))
    said = str(caught.value)
    assert "train.jsonl: 1 of 5 reference pages do not render: task 'bad': 'exception' (ReferenceError" in said
    assert "\n" not in said


def test_rendered_references_are_cached_by_browser_page_and_viewport(tmp_path: Path) -> None:
    settings = RunSettings().browser
    proven = Proven(tmp_path / "references.txt", "frames-1/Chromium 1/fonts", settings)
    proven.add(GOOD[0])
    assert GOOD[0] in Proven(tmp_path / "references.txt", "frames-1/Chromium 1/fonts", settings)
    assert GOOD[1] not in proven
    assert GOOD[0] not in Proven(tmp_path / "references.txt", "frames-1/Chromium 2/fonts", settings)
    wider = settings.model_copy(update={"viewport_width": 1280})
    assert GOOD[0] not in Proven(tmp_path / "references.txt", "frames-1/Chromium 1/fonts", wider)


@pytest.mark.browser
def test_tasks_command_checks_the_references_of_a_file(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("RELOOK_HOME", str(tmp_path))
    write_tasks(tmp_path / "good.jsonl", GOOD)
    assert tasks.main(["check", str(tmp_path / "good.jsonl")]) == 0
    assert "3 of 3 reference pages render" in capsys.readouterr().out
    write_tasks(tmp_path / "bad.jsonl", [*GOOD, BAD])
    assert tasks.main(["check", str(tmp_path / "bad.jsonl")]) == 2
    said = capsys.readouterr()
    assert "task 'bad': its reference page does not render: 'exception'" in said.out
    assert "1 of 1 reference pages rendered" in said.err
    (tmp_path / "bad.jsonl").write_text("{")
    assert tasks.main(["check", str(tmp_path / "bad.jsonl")]) == 2
    assert capsys.readouterr().err.count("\n") == 1


@pytest.mark.browser
@pytest.mark.parametrize("reference", [BROKEN, None])
def test_evaluation_with_bad_references_reports_the_task(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, reference: str | None
) -> None:
    monkeypatch.setenv("RELOOK_HOME", str(tmp_path))
    champion = tmp_path / "runs" / "one" / "champion"
    champion.mkdir(parents=True)
    (champion / "config.json").write_text("{}")
    settings = RunSettings().model_dump_json()
    (champion.parent / "run.json").write_text(f'{{"settings": {settings}}}')
    write_tasks(tmp_path / "exam.jsonl", [Task(id="odd", brief="A page.", reference_html=reference)])
    assert evaluate.main(["--tasks", str(tmp_path / "exam.jsonl"), "--num", "1"]) == 2
    said = capsys.readouterr().err
    assert said.count("\n") == 1
    assert "task 'odd'" in said
