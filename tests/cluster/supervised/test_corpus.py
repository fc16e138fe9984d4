"""Tests of the corpus: which damaged pages give examples, the cache of judgments, and lost pages."""

from pathlib import Path

import pytest
from doubles import PaperCritic, PaperRenderer, services, task, worker

from cluster.settings import RunSettings, check_settings
from cluster.storage.store import Store
from cluster.supervised.corpus import (
    CorpusCounts,
    describe,
    encode,
    make_examples,
    read_encoded,
    write_examples,
)
from cluster.supervised.judged_pages import (
    JudgedPage,
    JudgedTask,
    PageJudge,
    judgment_key,
    read_pages,
    write_pages,
)
from rollout.errors import TaskFileError
from rollout.prompts import answer
from rollout.records import Task

PAGE = "<html><body><h1>Plans</h1>\n<p>level 3</p>\n<div><b>One</b></div>\n<div><b>Two</b></div></body></html>"
HERO: Task = task("hero", reference_html=PAGE)


def settings(**changes: object) -> RunSettings:
    values = {"episode": {"max_tokens": 16, "retries": 0}, "sft": {"damages": 4}}
    return check_settings(values | changes, "test")


def judge(path: Path, renderer: PaperRenderer | None = None) -> PageJudge:
    own = settings()
    cast = services(renderer=renderer or PaperRenderer(), critic=PaperCritic())
    return PageJudge(worker(cast, own.episode, Store(path / "run")), own, path / "cache")


async def test_damaged_pages_get_the_reward_and_feedback_of_episodes_and_are_cached(tmp_path: Path) -> None:
    renderer = PaperRenderer()
    first = judge(tmp_path, renderer)
    progress: list[tuple[int, int]] = []
    (found,) = await first.judge_all([HERO], at_once=1, progress=lambda *now: progress.append(now))
    assert len(found.pages) == 4
    assert found.lost == 0
    assert progress == [(1, 1)]
    read = [page for page in found.pages if page.outcome == "ok"]
    assert {page.feedback for page in read} == {("The level should be higher.",)}
    assert all(page.reference == pytest.approx(0.75, abs=0.2) for page in found.pages)
    cut = JudgedPage(
        task="hero", damage="unfinished_answer", answer="", outcome="no_page", reward=0, reference=1, feedback=("x",)
    )
    assert cut.is_worse(0.5)
    assert not cut.is_worse(1.0)
    rendered = len(renderer.pages)
    assert await judge(tmp_path, renderer).judge(HERO) == found
    assert len(renderer.pages) == rendered, "from the cache"


async def test_a_page_lost_to_a_machine_fault_is_counted_and_asked_again(tmp_path: Path) -> None:
    found = await judge(tmp_path, PaperRenderer(faults=1)).judge(HERO)
    assert found.lost > 0
    assert (await judge(tmp_path).judge(HERO)).lost == 0


def test_judgments_depend_on_the_actors_and_the_settings() -> None:
    one = judgment_key(settings(), "chromium-1", "visual-4")
    assert one == judgment_key(settings(seed=0), "chromium-1", "visual-4")
    others = [
        judgment_key(settings(), "chromium-2", "visual-4"),
        judgment_key(settings(), "chromium-1", "visual-5"),
        judgment_key(settings(seed=1), "chromium-1", "visual-4"),
        judgment_key(settings(sft={"damages": 5}), "chromium-1", "visual-4"),
    ]
    assert len({one, *others}) == 5


def judged(damage: str, reward: float, *feedback: str, html: str = PAGE[:-20]) -> JudgedPage:
    return JudgedPage(
        task="hero", damage=damage, answer=answer(html), outcome="ok", reward=reward, reference=0.9, feedback=feedback
    )


def test_only_pages_that_the_critic_sees_as_worse_give_examples(tmp_path: Path) -> None:
    pages = (
        judged("truncated", 0.5, "The box is missing."),
        judged("wrong_color", 0.9, "Nothing is wrong."),
        judged("wrong_size", 0.2),
    )
    write_pages(tmp_path / "judged.parquet", pages)
    assert read_pages(tmp_path / "judged.parquet") == pages
    counts = CorpusCounts()
    found = make_examples([HERO], [JudgedTask(pages=pages, lost=2)], settings(), counts)
    assert [(one.form, one.damage) for one in found] == [
        ("first", ""),
        ("revise", "truncated"),
        ("review", "truncated"),
    ]
    said = counts.as_json()
    assert (said["not_worse"], said["without_feedback"], said["lost"], said["tasks"]) == (1, 1, 2, 1)
    assert said["damages"]["truncated"] == {"judged": 1, "kept": 1}
    assert said["damages"]["wrong_color"] == {"judged": 1, "kept": 0}


async def test_examples_are_tokenized_and_long_ones_are_left_out(tmp_path: Path) -> None:
    from tiny_model import tiny_model

    tiny_model(tmp_path / "model")
    counts = CorpusCounts()
    hero, card = HERO, task("card", reference_html=PAGE)
    results = [JudgedTask(pages=(judged("truncated", 0.5, "The box is missing."),)), JudgedTask(pages=())]
    examples = make_examples([hero, card], results, settings(), counts)
    write_examples(tmp_path / "examples.parquet", examples, frozenset({"card"}))
    await encode(tmp_path / "model", tmp_path / "examples.parquet", tmp_path / "encoded.parquet", {})
    whole = read_encoded(tmp_path / "examples.parquet", tmp_path / "encoded.parquet", 9999, counts)
    assert [(one.form, one.held_out) for one in whole] == [
        ("first", False),
        ("revise", False),
        ("review", False),
        ("first", True),
    ]
    shorter = read_encoded(tmp_path / "examples.parquet", tmp_path / "encoded.parquet", whole[0].length, counts)
    assert {one.form for one in shorter} == {"first"}
    assert counts.too_long == 2
    assert describe(counts.as_json()) == (
        "2 tasks, 1 of 1 damaged pages kept; examples: 2 first, 0 revise, 0 review; 2 examples are too long"
    )
    with pytest.raises(TaskFileError, match="no training example has at most 5 tokens"):
        read_encoded(tmp_path / "examples.parquet", tmp_path / "encoded.parquet", 5, counts)
