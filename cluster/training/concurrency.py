"""Tunes the number of groups played concurrently: enough to keep the slowest pool busy, from measured stage times.

A network of pools with N episodes in it finishes at most min(N / R, 1 / D) of them a second (Lazowska et al.,
Quantitative System Performance, 1984, chapter 5): R is the duration of an episode without queueing, D its demand on the
slowest pool, in server seconds divided by the number of servers. The bounds meet at N = R / D. A higher N only
lengthens queues, and queued episodes grow stale.
"""

from collections import deque
from collections.abc import Mapping
from statistics import median

from cluster.settings import RunSettings
from cluster.training.metrics import judge_s, render_s
from rollout.records import Attempt, Group, Trajectory

SLACK = 2.0
"""Factor on the N at which the bounds meet: stage times vary, and a pool would run dry below it."""
REMEMBERED = 64
"""Number of last groups whose times are averaged."""


class ConcurrencyTuner:
    """Computes the number of concurrent groups from the stage times of the last groups."""

    def __init__(self, settings: RunSettings) -> None:
        self.settings = settings
        self.most = max(1, settings.in_flight // settings.group_size)
        self.seen: deque[Mapping[str, float]] = deque(maxlen=REMEMBERED)
        self.learnt_s: deque[float] = deque(maxlen=5)
        """Seconds from a step's last group to the next step's first request."""
        self.servers = {
            "generate": settings.policy.engines * settings.policy.max_num_seqs,
            "render": settings.browser.count,
            "judge": settings.critic.count * settings.critic.at_once,
        }

    def played(self, group: Group) -> None:
        """Records the stage times of a finished group."""
        if group.trajectories:
            self.seen.append(_seconds(group.trajectories))

    def learnt(self, seconds: float) -> None:
        """Records the seconds between two steps, while the learner worked and other groups were played."""
        self.learnt_s.append(seconds)

    def groups(self) -> int:
        """Number of groups to play concurrently, at most `in_flight` episodes; the maximum before any measurement."""
        if not self.seen:
            return self.most
        mean = {name: sum(group[name] for group in self.seen) / len(self.seen) for name in self.seen[0]}
        costs = [mean[name] / servers for name, servers in self.servers.items()]
        if self.learnt_s:  # The median, because an exam makes one value long.
            costs.append(median(self.learnt_s) / (self.settings.groups * self.settings.group_size))
        slowest = max(*costs, 1e-9)
        episodes = SLACK * mean["alone"] / slowest
        return max(1, min(self.most, round(episodes / self.settings.group_size)))


def _seconds(trajectories: tuple[Trajectory, ...]) -> dict[str, float]:
    """Mean seconds per episode: by stage, and in total (`alone`) without waiting for browsers and critics."""
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
