"""Tests of `cluster.replay`: retraining and rejudging of stored runs, on paper, on the real engine and in a browser."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from doubles import (
    NoisyCritic,
    Notebook,
    PaperCritic,
    PaperCurriculum,
    PaperLearner,
    PaperPolicy,
    PaperRenderer,
    services,
    task,
    worker,
)

from cluster.replay import changed_settings, judge, learn, main, retrain
from cluster.settings import RunSettings, check_settings
from cluster.storage.store import Store
from cluster.training.compare_judges import StoredJudgment, compare, judge_again, judged_pages
from cluster.training.loop import train
from cluster.training.run import Run
from cluster.training.state import RunState
from rollout.errors import CheckpointError, SettingsError
from rollout.records import Batch, Critique, Group, Page, Trajectory, Turn, Update


class Pupil(PaperLearner):
    """A paper learner that updates its own policy."""

    def __init__(self) -> None:
        super().__init__(PaperPolicy())

    async def update(self, batch: Batch) -> Update:
        update = await super().update(batch)
        await self.sync()
        return update


async def finished_run(path: Path, **values: Any) -> Run:
    fields: dict[str, Any] = {
        "steps": 4,
        "groups": 6,
        "group_size": 4,
        "episode": {"rounds": 1, "attempts": 2, "max_tokens": 16},
        "exam": {"tasks": 4, "every": 4, "inference_tasks": 2},
    }
    settings: RunSettings = check_settings(fields | values, "test")
    policy, store = PaperPolicy(), Store(path)
    run = Run(
        settings=settings,
        curriculum=PaperCurriculum(),  # type: ignore[arg-type]
        store=store,
        workers=worker(services(policy=policy), settings.episode, store),
        learner=PaperLearner(policy),
        observer=Notebook(),
        state=RunState(),
    )
    await train(run)
    store.write_json("run.json", {"settings": settings.model_dump(mode="json")})
    return run


@pytest.mark.parametrize("revision", ["page", "edits"])
async def test_replay_with_the_same_settings_gives_the_same_policy(tmp_path: Path, revision: str) -> None:
    episode = {"rounds": 1, "attempts": 2, "max_tokens": 16, "revision": revision}
    run, pupil = await finished_run(tmp_path / "run", episode=episode), Pupil()
    settings = changed_settings(run.store, [], ("learner",))
    found = await learn(run.store, settings, pupil, tmp_path / "again")
    assert pupil.logits == run.learner.logits  # type: ignore[attr-defined]
    rows = [json.loads(line) for line in (tmp_path / "again" / "metrics.jsonl").read_text().splitlines()]
    assert [row["step"] for row in rows] == [1, 2, 3, 4]
    assert [row["flat_groups"] for row in rows] == [row["flat_groups"] for row in run.state.history]
    assert [row["reward_best"] for row in rows] == [row["reward_best"] for row in run.state.history]
    assert found == {"steps": 4}
    assert json.loads((tmp_path / "again" / "weights" / "champion.json").read_text()) == pupil.logits


async def test_replay_with_another_credit_gives_another_policy(tmp_path: Path) -> None:
    run, pupil = await finished_run(tmp_path / "run"), Pupil()
    settings = changed_settings(run.store, ["learner.credit=siblings", "steps=3"], ("learner", "steps"))
    rows = [row async for row in retrain(run.store, settings, pupil)]
    assert len(rows) == 3
    assert rows[0]["samples"] > len(run.learner.batches[0].samples), "rejected pages teach too"  # type: ignore[attr-defined]
    assert pupil.logits != run.learner.logits  # type: ignore[attr-defined]


async def test_replay_refuses_unsupported_settings_and_missing_steps(tmp_path: Path) -> None:
    run = await finished_run(tmp_path / "run")
    with pytest.raises(SettingsError, match="a replay can change only learner, steps"):
        changed_settings(run.store, ["episode.rounds=3"], ("learner", "steps"))
    with pytest.raises(SettingsError, match="unknown setting 'learner.credits'"):
        changed_settings(run.store, ["learner.credits=turn"], ("learner", "steps"))
    with pytest.raises(CheckpointError, match="no trajectories of step 1"):
        await anext(retrain(Store(tmp_path / "empty"), run.settings, Pupil()))


def test_replay_refuses_an_unknown_run(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["nowhere", "--runs", str(tmp_path)]) == 2
    assert "no run 'nowhere'" in capsys.readouterr().err


async def test_judge_comparison_tells_the_same_judge_from_a_noisy_one(tmp_path: Path) -> None:
    run = await finished_run(tmp_path / "run")
    pages = judged_pages(run.store, 40, seed=1)
    assert len({(one.id, attempt.page.sha256) for one, attempt in pages}) == len(pages) == 40
    itself, lost = await judge_again(pages, PaperRenderer(faults=2), PaperCritic())
    assert lost == 0, "asked again after a fault"
    figures = compare(itself)
    assert figures["pages"] == 40
    assert [figures[name] for name in ("mean_difference", "low", "high", "spread", "same_order")] == [0, 0, 0, 0, 1]
    assert figures["correlation"] == figures["rank_correlation"] == pytest.approx(1)
    noise, _ = await judge_again(pages, PaperRenderer(), NoisyCritic(1))
    figures = compare(noise)
    # The noise depends only on the page, and only four different pages are judged, so the correlation is not near 0.
    assert (figures["rank_correlation"] or 0) < 0.95
    assert (figures["spread"] or 0) > 0.1
    _, lost = await judge_again(pages[:3], PaperRenderer(faults=99), PaperCritic())
    assert lost == 3


def test_judge_comparison_matches_values_computed_by_hand() -> None:
    scores = [("a", 0.0, 0.5), ("a", 0.25, 0.25), ("a", 0.5, 1.0), ("b", 0.75, 0.75), ("b", 0.0, None)]
    judgments = [StoredJudgment(task=name, page_sha256="", then=then, now=now) for name, then, now in scores]
    figures = compare(judgments)
    assert (figures["pages"], figures["now_invalid"]) == (4, 1)
    assert (figures["mean_then"], figures["mean_now"], figures["mean_difference"]) == (0.375, 0.625, 0.25)
    assert figures["same_order"] == pytest.approx(2 / 3), "one of the three pairs of a is turned; b has none left"
    assert figures["rank_correlation"] == pytest.approx(0.6), "1 - 6·(1 + 1 + 1 + 1)/(4·15)"
    alike = compare([StoredJudgment(task="a", page_sha256="", then=0.5, now=now) for now in (0.1, 0.9)])
    assert alike["correlation"] is alike["rank_correlation"] is alike["same_order"] is None


REFERENCE = "<!doctype html><body style='background:#fff'><h1 style='background:#b00'>A title on red</h1><p>Words"
OTHER = "<!doctype html><body style='background:#234'><h2 style='color:#fff;background:#084'>Something else"


async def stored(path: Path, pages: dict[str, float]) -> Store:
    """A run of one group whose pages have these critic scores."""
    run = await finished_run(path / "played", steps=1)
    hero = task("hero", reference_html=REFERENCE)
    group = (run.store.read_groups(1) or [])[0]
    played = group.trajectories[0].turns[0].attempts[0]
    attempts = [
        replace(played, page=Page(html=html), critique=Critique(score=score, feedback=(), judge="then"))
        for html, score in pages.items()
    ]
    trajectories = [
        Trajectory(id=f"hero/{i}", task=hero, turns=(Turn(round=0, attempts=(one,)),)) for i, one in enumerate(attempts)
    ]
    store = Store(path / "hero")
    store.write_groups(1, [Group(task=hero, trajectories=tuple(trajectories))])
    return store


@pytest.mark.browser
async def test_stored_pages_are_rendered_and_judged_again(tmp_path: Path) -> None:
    store = await stored(tmp_path, {REFERENCE: 0.75, OTHER: 0.5})
    figures = (await judge(store, check_settings({}, "test"), 9, tmp_path / "judged"))["judges"]
    rows = [json.loads(line) for line in (tmp_path / "judged" / "judgments.jsonl").read_text().splitlines()]
    now = {row["then"]: row["now"] for row in rows}
    assert now[0.75] > 0.99 > now[0.5]
    assert (figures["pages"], figures["same_order"], figures["lost"]) == (2, 1, 0)
    assert rows[0]["judge"].startswith("visual")


@pytest.mark.engine
@pytest.mark.filterwarnings("ignore::DeprecationWarning")
@pytest.mark.filterwarnings("ignore::FutureWarning")
@pytest.mark.filterwarnings("ignore::UserWarning")
def test_replay_command_trains_again_on_the_real_engine(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.syspath_prepend(str(Path(__file__).parents[1] / "support"))
    from played_groups import attempt, group
    from tiny_model import tiny_model

    tiny_model(tmp_path / "model")
    settings: dict[str, Any] = {
        "steps": 2,
        "model": str(tmp_path / "model"),
        "episode": {"max_tokens": 16},
        "learner": {"lr": 1e-3, "token_budget": 128, "autocast": False, "threads": 1, "distill_weight": 0},
    }
    store = Store(tmp_path / "run")
    store.write_json("run.json", {"settings": check_settings(settings, "test").model_dump(mode="json")})
    for step in (1, 2):
        store.write_groups(step, [group(f"hero-{step}", *([attempt(0, reward)] for reward in (0.25, 0.5, 1.0)))])
    weights = []
    for overrides in ([], [], ["--set", "learner.lr=1e-2"]):
        before = set(tmp_path.glob("run-learnt-*"))
        assert main(["run", "--runs", str(tmp_path), *overrides]) == 0
        (folder,) = set(tmp_path.glob("run-learnt-*")) - before
        weights.append((folder / "weights" / "model.safetensors").read_bytes())
        rows = [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]
        assert [row["samples"] for row in rows] == [3, 3]
        assert json.loads((folder / "replay.json").read_text())["replay_of"] == "run"
    assert weights[0] == weights[1] != weights[2]
    said = capsys.readouterr()
    assert "evaluate it: python -m cluster.evaluate" in said.out
    assert "another policy than the learner's wrote these pages" in said.err, "made-up log-probs are not this model's"
