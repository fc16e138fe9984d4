"""Tests of the MLflow metric names: every metric of a step and of an exam has a section, identities have no curve."""

from pathlib import Path

import pytest
from doubles import Notebook, PaperCurriculum, PaperLearner, PaperPolicy, services, worker

from actors.judge_api.usage import COUNTED
from cluster.monitoring.observer import EXAM_METRICS
from cluster.monitoring.tracking.metric_names import HIDDEN, NAMES, OTHER, metric_name, named
from cluster.settings import RunSettings, check_settings
from cluster.storage.store import Store
from cluster.training.loop import train
from cluster.training.metrics import update_metrics
from cluster.training.run import Run
from learner.losses.batch_counts import BatchCounts
from learner.losses.row_loss import SUMS, metrics_of
from learner.settings import LearnerSettings
from rollout.records import Update

SECTIONS = {"reward", "pages", "revisions", "learner", "time", "pools", "judge", "faults", "exam", "held_out"}


def without_section(keys: set[str]) -> list[str]:
    return sorted(key for key in keys if key not in HIDDEN and metric_name(key).startswith(OTHER))


async def test_every_metric_of_a_step_has_a_section(tmp_path: Path) -> None:
    chosen: RunSettings = check_settings(
        {
            "steps": 2,
            "groups": 4,
            "group_size": 2,
            "episode": {"rounds": 1, "attempts": 2, "max_tokens": 16},
            "exam": {"tasks": 2, "inference_tasks": 2},
            "critic": {"drift_every": 1},
        },
        "test",
    )
    policy, store = PaperPolicy(), Store(tmp_path)
    run = Run(
        settings=chosen,
        curriculum=PaperCurriculum(),  # type: ignore[arg-type]
        store=store,
        workers=worker(services(policy=policy), chosen.episode, store),
        learner=PaperLearner(policy),
        observer=Notebook(),
    )
    await train(run)
    assert without_section({key for row in run.state.history for key in row}) == []


def test_every_metric_of_the_learner_the_critics_and_an_exam_has_a_section() -> None:
    settings = LearnerSettings(kl_weight=0.1)
    loss = metrics_of(dict.fromkeys(SUMS, 1.0), BatchCounts(tokens=1), settings)
    more = {"samples": 1, "logprob_gap_max": 0, "grad_norm": 1, "lr": 1, "seconds": 1, "tokens": 1}
    keys = set(update_metrics(Update(version=1, metrics=loss | more)))
    keys |= {f"critic_{name}" for name in COUNTED} | {"critic_tokens_total", "cores", "cpu_busy", "compared"}
    assert without_section(keys | set(EXAM_METRICS.values()) | {"preferred_rate", "flag_dialog_flood"}) == []


def test_metric_without_a_section_is_found() -> None:
    assert without_section({"reward_first", "brand_new"}) == ["brand_new"]
    assert metric_name("brand_new") == "other/brand_new"


def test_names_are_in_known_sections_and_distinct() -> None:
    assert {name.partition("/")[0] for name in NAMES.values()} == SECTIONS
    assert len(set(NAMES.values())) == len(NAMES)


@pytest.mark.parametrize(
    ("key", "name"),
    [
        ("reward_first", "reward/first"),
        ("seconds_step", "time/step"),
        ("mean_judge_s", "time/attempt_judge"),
        ("pages_per_s", "time/pages_per_s"),
        ("exam_reward", "exam/reward"),
        ("faults_BrowserFault", "faults/BrowserFault"),
        ("learner_seconds", "learner/seconds"),
    ],
)
def test_key_is_named_in_its_section(key: str, name: str) -> None:
    assert metric_name(key) == name


def test_identities_have_no_curve() -> None:
    assert named({"step": 3, "batch_id": 7, "loss": 1}) == {"learner/loss": 1.0}
