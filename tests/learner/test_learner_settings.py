"""Schedules of the learner's settings."""

import pytest

from learner.settings import LearnerSettings


@pytest.mark.parametrize(
    ("schedule", "wanted"),
    [
        ("constant", [0.5, 1.0, 1.0, 1.0, 1.0, 1.0, 1.0]),
        ("linear", [0.5, 1.0, 1.0, 0.75, 0.5, 0.25, 0.0]),
        ("cosine", [0.5, 1.0, 1.0, 0.853553, 0.5, 0.146447, 0.0]),
    ],
)
def test_learning_rate(schedule: str, wanted: list[float]) -> None:
    settings = LearnerSettings(lr=1.0, warmup_steps=2, schedule=schedule, decay_steps=6)  # type: ignore[arg-type]
    assert [settings.lr_at(update) for update in range(1, 8)] == pytest.approx(wanted, abs=1e-6)


def test_a_schedule_must_end() -> None:
    with pytest.raises(ValueError, match="decay_steps must exceed warmup_steps"):
        LearnerSettings(schedule="linear", warmup_steps=3, decay_steps=3)


def test_distillation_fades() -> None:
    settings = LearnerSettings(distill_weight=0.5, distill_steps=4)
    assert [settings.distill_weight_at(update) for update in range(1, 7)] == [0.5, 0.375, 0.25, 0.125, 0.0, 0.0]
    assert LearnerSettings(distill_weight=0.5).distill_weight_at(99) == 0.5
