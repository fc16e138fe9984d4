"""MLflow names of the metrics of a step and of an exam: one table of sections, which MLflow draws as groups of charts.

The run's own files keep the keys; only MLflow shows these names.
"""

import re
from collections.abc import Mapping

STEP_MARK, EXAM_MARK = "seconds_step", "exam_reward"
"""A key of every step row, and one of every exam row; the last delivered step of its metric is where to resume."""

HIDDEN = ("step", "batch_id")
"""Keys that are no quantities: the x-axis, and the identity of the step's training data."""

OTHER = "other/"
"""Section of keys that `NAMES` does not list."""

NAMES = {
    "reward_*": "reward/*",
    "part_*": "reward/part_*",
    "valid_render_rate": "pages/valid_share",
    "first_pages_*": "pages/first_*",
    "outcome_*": "pages/outcome_*",
    "flag_*": "pages/flag_*",
    "flagged": "pages/flagged",
    "truncated": "pages/truncated",
    "context_full": "pages/context_full",
    "tokens_mean": "pages/tokens_mean",
    "pages": "pages/rendered",
    "tokens": "pages/tokens",
    "trajectories": "pages/episodes",
    "accept_rate": "revisions/accept_rate",
    "round_accept_rate": "revisions/round_accept_rate",
    "attempts_mean": "revisions/attempts_mean",
    "gain_per_round": "revisions/gain_per_round",
    "violations": "revisions/violations",
    "compared": "revisions/compared",
    "preferred_rate": "revisions/preferred_rate",
    "loss": "learner/loss",
    "match": "learner/match",
    "held_out_*": "held_out/*",
    "answer_tokens": "learner/answer_tokens",
    "distill_*": "learner/distill_*",
    "kl": "learner/kl",
    "entropy": "learner/entropy",
    "grad_norm": "learner/grad_norm",
    "lr": "learner/lr",
    "clip_share": "learner/clip_share",
    "logprob_gap_*": "learner/logprob_gap_*",
    "ratio_tail": "learner/ratio_tail",
    "padding_waste": "learner/padding_waste",
    "samples": "learner/samples",
    "computed_tokens": "learner/computed_tokens",
    "learner_*": "learner/*",
    "sync_*": "learner/sync_*",
    "staleness": "learner/staleness",
    "staleness_max": "learner/staleness_max",
    "signal_groups": "learner/signal_groups",
    "flat_groups": "learner/flat_groups",
    "flat_groups_*": "learner/flat_groups_*",
    "groups_given_up": "learner/groups_given_up",
    "seconds_*": "time/*",
    "mean_*_s": "time/attempt_*",
    "*_per_s": "time/*_per_s",
    "busy_*": "pools/busy_*",
    "idle_*": "pools/idle_*",
    "queue_*": "pools/queue_*",
    "in_flight": "pools/in_flight",
    "cores": "pools/cores",
    "cpu_busy": "pools/cpu_busy",
    "judge_*": "judge/*",
    "critic_*": "judge/http_*",
    "machine_faults": "faults/machine_faults",
    "dropped": "faults/dropped_episodes",
    "faults_*": "faults/*",
    "exam_*": "exam/*",
    "critique_*": "exam/critique_*",
}
"""MLflow name of each key; the `*` of a name is the text that the `*` of its key stands for. The first match counts."""

_PATTERNS = [(re.compile(re.escape(key).replace(r"\*", "(.+)")), name) for key, name in NAMES.items()]


def metric_name(key: str) -> str:
    """MLflow name of a key of a step row or an exam row. Example: `reward_first` → `reward/first`."""
    for pattern, name in _PATTERNS:
        if match := pattern.fullmatch(key):
            return name.replace("*", match[1]) if match.groups() else name
    return OTHER + key


def named(row: Mapping[str, float]) -> dict[str, float]:
    """A row's quantities by MLflow name."""
    return {metric_name(key): float(value) for key, value in row.items() if key not in HIDDEN}
