"""How many groups to play at once: enough to keep the slowest pool busy, as measured on the groups that finish.

A network of pools with N episodes in it finishes at most min(N / R, 1 / D) of them a second (Lazowska et al.,
Quantitative System Performance, 1984, chapter 5): R is what an episode takes when it waits for nobody, D what it costs
the slowest pool, in seconds of its servers divided by their number. Both are equal at N = R / D. More than that fills
queues, and what waits in them grows stale.
"""

from collections import deque
from collections.abc import Mapping
from statistics import median

from cluster.settings import RunSettings
from cluster.training.metrics import judge_s, render_s
from rollout.records import Attempt, Group, Trajectory

SLACK = 2.0
"""Of the number at which the bounds meet: where stages take now little and now much, a pool runs dry below that."""
REMEMBERED = 64
"""Groups whose times count, the last ones."""


class ConcurrencyTuner:
    """The stage times of the last groups, and what follows from them."""

    def __init__(self, settings: RunSettings) -> None:
        self.settings = settings
        self.most = max(1, settings.in_flight // settings.group_size)
        self.seen: deque[Mapping[str, float]] = deque(maxlen=REMEMBERED)
        self.learnt_s: deque[float] = deque(maxlen=5)
        """Seconds from one step's last group until the next step wanted its first."""
        self.servers = {
            "generate": settings.policy.engines * settings.policy.max_num_seqs,
            "render": settings.browser.count,
            "judge": settings.critic.count * settings.critic.at_once,
        }

    def played(self, group: Group) -> None:
        """A group is finished."""
        if group.trajectories:
            self.seen.append(_seconds(group.trajectories))

    def learnt(self, seconds: float) -> None:
        """A step's groups were learnt from while others were played, which took so long."""
        self.learnt_s.append(seconds)

    def groups(self) -> int:
        """Groups to play at once; at most `in_flight` episodes, and that many as long as nothing is measured."""
        if not self.seen:
            return self.most
        mean = {name: sum(group[name] for group in self.seen) / len(self.seen) for name in self.seen[0]}
        costs = [mean[name] / servers for name, servers in self.servers.items()]
        if self.learnt_s:  # Their median: after an exam it was long.
            costs.append(median(self.learnt_s) / (self.settings.groups * self.settings.group_size))
        slowest = max(*costs, 1e-9)
        episodes = SLACK * mean["alone"] / slowest
        return max(1, min(self.most, round(episodes / self.settings.group_size)))


def _seconds(trajectories: tuple[Trajectory, ...]) -> dict[str, float]:
    """Mean seconds of an episode: in each stage, and in all had it waited for no browser and no critic."""
    attempts = [attempt for one in trajectories for turn in one.turns for attempt in turn.attempts]
    spent = {
        "generate": sum(attempt.completion.seconds for attempt in attempts),
        "render": sum(map(render_s, attempts)),
        "judge": sum(map(judge_s, attempts)),
    }
    spent["alone"] = sum(one.seconds for one in trajectories) - sum(map(_waited, attempts))
    return {name: seconds / len(trajectories) for name, seconds in spent.items()}


def _waited(attempt: Attempt) -> float:
    looked, judged = (attempt.seconds.get(name, 0.0) for name in ("render", "judge"))
    return looked - render_s(attempt) + judged - judge_s(attempt)
