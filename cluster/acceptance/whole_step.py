"""One whole step, smaller than the settings' own, and the prediction of a step that follows from it."""

from collections.abc import Mapping
from dataclasses import replace

from cluster.acceptance.measurement import Measurement, Prediction
from cluster.plan import ASSUMED_ACCEPT_RATE, attempts, rescale
from cluster.settings import RunSettings
from cluster.training.bottleneck import NOUNS, Costs, advise, forecast, measure
from cluster.training.exam import Exam
from cluster.training.loop import one_step, play_group
from cluster.training.metrics import pool_sizes
from cluster.training.run import Run
from cluster.training.state import RunState
from cluster.training.stream import Stream
from rollout.records import Group

MOST_EPISODES = 64
"""Episodes of the measured step at most, so that it takes minutes."""


class SilentObserver:
    """Run observer that reports nothing; the figures are in the run's state."""

    def stage(self, text: str) -> None:
        """See `cluster.training.run.RunObserver`."""

    def progress(self, done: int, total: int, text: str) -> None:
        """See `cluster.training.run.RunObserver`."""

    def step(self, state: RunState, groups: list[Group]) -> None:
        """See `cluster.training.run.RunObserver`."""

    def exam(self, exam: Exam, state: RunState) -> None:
        """See `cluster.training.run.RunObserver`."""

    def note(self, text: str) -> None:
        """See `cluster.training.run.RunObserver`."""


def reduced(settings: RunSettings, groups: int | None) -> RunSettings:
    """The settings of the measured step: `groups` groups or as many as MOST_EPISODES allows, on-policy, no refills."""
    most = max(1, MOST_EPISODES // settings.group_size)
    changes = {"groups": groups or min(settings.groups, most), "steps": 1, "max_staleness": 0, "refill": 0.0}
    return settings.model_copy(update=changes)


async def play_step(run: Run) -> Mapping[str, float]:
    """Plays, learns and syncs one step of a run; returns its metrics. Raises MachineError."""
    stream = Stream(lambda step, place: play_group(run, step, place), run.settings)
    try:
        await one_step(run, stream)
    finally:
        await stream.close()
    return run.state.history[-1]


def judge_step(row: Mapping[str, float], settings: RunSettings) -> list[Measurement]:
    """Measurements of the step: its duration, judgments, and episodes that were lost."""
    episodes = settings.groups * settings.group_size
    lost = row.get("dropped", 0.0)
    judged = row.get("mean_judge_s", 0.0)
    return [
        Measurement(
            what=f"a step of {episodes} episodes",
            figure=row["seconds_step"],
            unit="s",
            expected="no episode lost to machine faults",
            verdict="wrong" if lost > settings.max_fault_share * episodes else "slow" if lost else "ok",
            advice=f"play {row['seconds_play']:.1f} s, learn {row['seconds_learn']:.1f} s, sync "
            f"{row['seconds_sync']:.1f} s" + (f"; {lost:.0f} episodes lost" if lost else ""),
        ),
        Measurement(
            what="seconds of a judgment",
            figure=judged,
            unit="s",
            expected="less than a tenth of cluster.call_timeout_s",
            verdict="slow" if judged > settings.cluster.call_timeout_s / 10 else "ok",
        ),
        Measurement(
            what="first pages that render",
            figure=100 * row.get("valid_render_rate", 0.0),
            unit="%",
            expected="none: a property of the initial policy",
            verdict="ok",
        ),
    ]


def costs_of(
    row: Mapping[str, float], step: RunSettings, settings: RunSettings, learner_tokens_per_s: float
) -> tuple[Costs, str]:
    """Costs of a whole step with `settings`, from the row of the measured `step`, and their origin in words.

    The update is computed from the learner's measured speed, with all accepted turns of average length: in the measured
    step some groups may have had no signal.
    """
    accept = row.get("accept_rate", ASSUMED_ACCEPT_RATE)
    costs = rescale(measure([row], step), step, settings, accept)
    kept = settings.groups * settings.group_size * attempts(settings.episode, accept)[2]
    tokens = kept * (row["tokens_mean"] * 2 if settings.episode.rounds else row["tokens_mean"])
    learn_s = tokens / learner_tokens_per_s if learner_tokens_per_s else 0.0
    busy_learner = max(costs.busy_learner, learn_s * settings.learner.ranks)
    words = f"a step of {step.groups * step.group_size} episodes, and updates at {learner_tokens_per_s:,.0f} tokens/s"
    return replace(costs, busy_learner=busy_learner), words


def predict(costs: Costs, settings: RunSettings, origin: str) -> Prediction:
    """The time of a step with these settings, and its bottleneck."""
    sizes = pool_sizes(settings)
    step = forecast(costs, sizes, settings.max_staleness)
    longest = max(
        [(step.play_s, NOUNS.get(step.holds_up, step.holds_up)), (step.learn_s, "learner rank"), (step.sync_s, "sync")]
    )
    return Prediction(
        step_s=step.step_s,
        play_s=step.play_s,
        learn_s=step.learn_s,
        sync_s=step.sync_s,
        steps=settings.steps,
        bottleneck=longest[1],
        advice=advise(costs, sizes, settings.max_staleness),
        origin=origin,
    )
