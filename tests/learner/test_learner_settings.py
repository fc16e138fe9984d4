"""Tests of the learner settings: schedules and consistency checks."""

from typing import Any

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
def test_learning_rate_follows_its_schedule(schedule: str, wanted: list[float]) -> None:
    settings = LearnerSettings(lr=1.0, warmup_steps=2, schedule=schedule, decay_steps=6)  # type: ignore[arg-type]
    assert [settings.lr_at(update) for update in range(1, 8)] == pytest.approx(wanted, abs=1e-6)


def test_schedule_without_an_end_is_refused() -> None:
    with pytest.raises(ValueError, match="decay_steps must exceed warmup_steps"):
        LearnerSettings(schedule="linear", warmup_steps=3, decay_steps=3)


@pytest.mark.parametrize(
    ("changes", "complaint"),
    [
        ({"loss": "dr_grpo"}, "loss = 'dr_grpo' needs length_limit, .* set it to max_tokens"),
        ({"overlong": "soft"}, "overlong = 'soft' needs length_limit"),
        ({"overlong": "soft", "length_limit": 100}, r"overlong_tokens must be at most length_limit \(100\), got 512"),
        ({"offload": "all"}, "offload = 'all' needs zero_stage = 3, got 1; or offload the optimizer"),
        ({"lora_targets": ("q_proj",)}, r"lora_targets = \['q_proj'\] needs lora_rank, got 0"),
        ({"baseline": "earlier"}, "baseline = 'earlier' needs credit = 'siblings', got 'outcome'"),
        ({"baseline": "earlier", "credit": "siblings"}, "baseline = 'earlier' needs normalize_std = false"),
    ],
)
def test_inconsistent_settings_give_one_line(changes: dict[str, Any], complaint: str) -> None:
    with pytest.raises(ValueError, match=complaint) as caught:
        LearnerSettings(**changes)
    assert len(caught.value.errors()) == 1  # type: ignore[attr-defined]


def test_length_penalty_rises_over_the_last_tokens_before_the_limit() -> None:
    settings = LearnerSettings(overlong="soft", length_limit=100, overlong_tokens=20)
    assert [settings.length_penalty(num) for num in (1, 80, 90, 100)] == pytest.approx([0, 0, 0.5, 1])
    assert LearnerSettings(length_limit=100).length_penalty(100) == 0
