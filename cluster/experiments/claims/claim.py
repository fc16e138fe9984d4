"""The claims of the method: each is a difference between finished runs that should be above 0."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from statistics import fmean, stdev

from cluster.experiments.claims.results import Result
from learner.promotion import crossed_bootstrap

Results = Mapping[str, Mapping[int, Result]]
"""Finished runs by variant and seed."""
Measure = Callable[[Result], Mapping[str, float]]
"""Measured values of a run: one for each held-out task, or a single one."""


FEWEST_SEEDS = 3
"""Minimum number of seeds for a verdict."""


@dataclass(frozen=True, kw_only=True)
class Claim:
    """A statement that holds if the interval of a difference is above 0."""

    text: str
    variant: str
    against: str | None = None
    """Variant to compare with, by seed and task; None if `of` already is a difference."""
    of: Measure
    than: Measure | None = None
    """Measure of the compared variant, if it differs from `of`."""
    what: str = "reward"
    """Name of the measured quantity, for the table."""


def reward_gain(result: Result) -> dict[str, float]:
    """Gain in reward of each held-out task through training."""
    return {task: value - result.before.rewards[task] for task, value in result.after.rewards.items()}


def _valid_gain(result: Result) -> dict[str, float]:
    return {task: value - result.before.valid[task] for task, value in result.after.valid.items()}


def rewards(result: Result) -> Mapping[str, float]:
    """Reward of each held-out task after training."""
    return result.after.rewards


def _valid(result: Result) -> Mapping[str, float]:
    return result.after.valid


def _round_gain(result: Result) -> dict[str, float]:
    return {"rounds": result.rounds[-1] - result.rounds[0]}


def _revision_gain(result: Result) -> dict[str, float]:
    revised = result.revised
    return {} if revised is None else {"revision": revised.attempt - revised.page}


def _edited_once(result: Result) -> dict[str, float]:
    return {"written": result.inference("self_edit", "reward_1")}


def _written(result: Result) -> dict[str, float]:
    return {"written": result.inference("base")}


def _edit_gain(result: Result) -> dict[str, float]:
    return {"edit": result.inference("self_edit") - result.inference("base")}


def _kept(result: Result, reward: str = "reward") -> dict[str, float]:
    base, loop = result.inference("base"), result.inference("with_critic")
    # If the full loop gains nothing, self-edit cannot keep any of it.
    return {"kept": result.inference("self_edit", reward) - (base + loop) / 2 if loop > base else loop - base}


def _kept_at_once(result: Result) -> dict[str, float]:
    return _kept(result, "reward_1")


def _quick(result: Result) -> dict[str, float]:
    return {"quick": 2.5 * result.inference("base", "seconds") - result.inference("self_edit", "seconds_1")}


def _faster(result: Result) -> dict[str, float]:
    return {"faster": result.inference("with_critic", "seconds") / 2 - result.inference("self_edit", "seconds")}


CLAIMS = (
    Claim(
        text="Training raises the share of pages that render validly",
        variant="relook",
        of=_valid_gain,
        what="valid share, after minus before",
    ),
    Claim(text="ReLook beats the base policy", variant="relook", of=reward_gain, what="reward, after minus before"),
    Claim(
        text="Vision-reward RL beats the base policy",
        variant="vision_only",
        of=reward_gain,
        what="reward, after minus before",
    ),
    Claim(text="ReLook beats vision-reward RL", variant="relook", against="vision_only", of=rewards),
    Claim(
        text="ReLook with one round of self-edit beats vision-reward RL",
        variant="relook",
        against="vision_only",
        of=_edited_once,
        than=_written,
        what="reward, with self-edit and without",
    ),
    Claim(
        text="Forced Optimization keeps revisions from collapsing",
        variant="relook",
        against="no_forcing",
        of=_round_gain,
        what="reward of the last round minus the first page's, in training",
    ),
    Claim(
        text="A revision is better than its page before any is selected",
        variant="relook",
        of=_revision_gain,
        what="reward of the first attempt minus its first page's, in training",
    ),
    Claim(text="Forced Optimization makes a better policy", variant="relook", against="no_forcing", of=rewards),
    Claim(
        text="The zero rule anchors renderability",
        variant="relook",
        against="no_zero_rule",
        of=_valid,
        what="valid share",
    ),
    Claim(
        text="Distilled feedback makes self-edit better",
        variant="relook",
        against="no_distillation",
        of=_edit_gain,
        what="reward of self-edit minus base decode's",
    ),
    Claim(
        text="Self-edit keeps more than half of what the full loop gains",
        variant="relook",
        of=_kept,
        what="reward of self-edit minus the midpoint to the full loop",
    ),
    Claim(
        text="One round of self-edit keeps more than half of that gain",
        variant="relook",
        of=_kept_at_once,
        what="reward of one round minus the midpoint to the full loop",
    ),
    Claim(
        text="One round of self-edit takes less than 2.5 times the base decode's time",
        variant="relook",
        of=_quick,
        what="seconds, 2.5 times the base decode's minus one round's",
    ),
    Claim(
        text="Self-edit takes less than half of the full loop's time",
        variant="relook",
        of=_faster,
        what="seconds, half of the full loop's minus self-edit's",
    ),
)


@dataclass(frozen=True, kw_only=True)
class ClaimResult:
    """A mean difference over seeds (and tasks), its 95 % interval, and the number of seeds."""

    mean: float
    low: float
    high: float
    seeds: int

    @property
    def verdict(self) -> str:
        """The verdict in plain words."""
        if self.seeds < FEWEST_SEEDS:
            return f"too few seeds: {self.seeds} of {FEWEST_SEEDS}"
        if self.low > 0:
            return "**holds**"
        return "does not hold: the opposite is shown" if self.high < 0 else "not shown: 0 is within the interval"


def find(
    results: Results, variant: str, against: str | None, of: Measure, than: Measure | None = None
) -> ClaimResult | None:
    """Mean of `of`, minus the mean of `than` (default `of`) of `against`, if given; None if no seed has both.

    The 95 % interval is a bootstrap over seeds and tasks for values by task, else Student's t over seeds.
    """
    mine, theirs = results.get(variant, {}), results.get(against or variant, {})
    table = []
    for seed in sorted(mine.keys() & theirs.keys()):
        ours, other = of(mine[seed]), (than or of)(theirs[seed]) if against else {}
        if against and ours.keys() != other.keys():
            raise ValueError(f"seed {seed}: {variant} and {against} have exams with different tasks")
        if ours:
            table.append([ours[name] - other.get(name, 0.0) for name in sorted(ours)])
    if not table:
        return None
    single = len(table[0]) == 1
    mean, low, high = student([row[0] for row in table]) if single else crossed_bootstrap(table, seed=0)
    return ClaimResult(mean=mean, low=low, high=high, seeds=len(table))


def student(values: Sequence[float]) -> tuple[float, float, float]:
    """Mean and 95 % interval of a few values by Student's t: `(mean, low, high)`; unbounded for a single value.

    A bootstrap of three values is hardly wider than their range, and is above 0 by chance in one of eight cases.
    """
    from scipy.stats import t

    mean, num = fmean(values), len(values)
    if num < 2:
        return mean, float("-inf"), float("inf")
    reach = float(t.ppf(0.975, num - 1)) * stdev(values) / num**0.5
    return mean, mean - reach, mean + reach
