"""Prometheus gauges of a run, exported through Ray's metrics exporter and drawn by `deploy/grafana.json`.

The driver sets them once a step, and the pools' health when the health monitor detects a change. Ray's exporter drops a
gauge that was not set during its last two report intervals, so a thread sets all of them every few seconds. Each node's
exporter prefixes the names with `ray_`.
"""

import threading
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

POOLS = ("browser", "policy", "critic", "learner")
STAGES = ("generate", "render", "judge", "wait", "learn", "sync")
ACTORS = "relook_actors"
REFRESH_S = 5.0
"""Seconds between refreshes of all gauges; Ray's exporter keeps a gauge for 20 s by default."""


@dataclass(frozen=True, slots=True, kw_only=True)
class GaugeSpec:
    """One metric: its name, its description, and the keys of its values in a step's row."""

    name: str
    words: str
    label: str = ""
    """Label that distinguishes the values, such as `pool`; empty for a single value."""
    values: Mapping[str, str]
    """Key in the row for each value of the label."""


def _one(name: str, words: str, key: str) -> GaugeSpec:
    return GaugeSpec(name=name, words=words, values={"": key})


def _each(name: str, words: str, label: str, key: str, names: tuple[str, ...]) -> GaugeSpec:
    return GaugeSpec(name=name, words=words, label=label, values={one: key.format(one) for one in names})


GAUGES = (
    _one("relook_step", "Steps finished", "step"),
    _one("relook_valid_render_rate", "Share of first pages that render validly", "valid_render_rate"),
    _each("relook_reward", "Mean reward of pages", "page", "reward_{}", ("first", "best")),
    _one("relook_accept_rate", "Share of judged revisions that were accepted", "accept_rate"),
    _one("relook_staleness", "Policy versions that samples lag behind", "staleness"),
    _one("relook_logprob_gap", "Largest log-prob gap between learner and engines after a sync", "sync_gap"),
    _one("relook_pages_per_second", "Pages rendered in a second of playing", "pages_per_s"),
    _one("relook_tokens_per_second", "Tokens written in a second of playing", "tokens_per_s"),
    _one("relook_trajectories_per_second", "Episodes finished in a second of playing", "trajectories_per_s"),
    _each("relook_stage_seconds", "Wall seconds of the last step", "stage", "seconds_{}", STAGES),
    _each(
        "relook_stage_latency_seconds",
        "Mean seconds an attempt spends in a stage, queues included",
        "stage",
        "mean_{}_s",
        ("generate", "render", "judge"),
    ),
    _each(
        "relook_queue_depth",
        "Pages waiting for a browser or critic, and completions an engine has, on average",
        "pool",
        "queue_{}",
        ("browser", "policy", "critic"),
    ),
    _each("relook_idle_share", "Share of the last step in which a pool had nothing to do", "pool", "idle_{}", POOLS),
    _one("relook_processors_busy_share", "Share of the driver's machine's processor time in use", "cpu_busy"),
    _one("relook_machine_faults", "Machine faults of the last step, survived ones too", "machine_faults"),
    _one("relook_dropped_episodes", "Episodes of the last step that were lost to machine faults", "dropped"),
)
"""All gauges except `relook_actors`, which counts the actors of each `pool` by `state`: `well` or `lost`."""


class Gauges:
    """The gauges of one run. Does nothing in a process outside a Ray cluster."""

    def __init__(self, run_id: str) -> None:
        self.run_id = run_id
        self._gauges: dict[str, Any] = {}
        self._values: dict[tuple[str, tuple[tuple[str, str], ...]], float] = {}
        self._lock = threading.Lock()
        self._closed = threading.Event()

    def show(self, row: Mapping[str, float]) -> None:
        """Sets the gauges to a step's metrics; those without a key in the row keep their value."""
        for reading in GAUGES:
            for value, key in reading.values.items():
                if key in row:
                    labels = {reading.label: value} if reading.label else {}
                    self._set(reading.name, reading.words, row[key], **labels)

    def health(self, pool: str, well: int, lost: int) -> None:
        """Sets the number of healthy actors of a pool, and of lost ones not restarted yet."""
        for state, number in (("well", well), ("lost", lost)):
            self._set(ACTORS, "Actors of a pool, by whether they answer", number, pool=pool, state=state)

    def close(self) -> None:
        """Stops the refresh; the exporter drops the gauges soon afterwards."""
        self._closed.set()

    def _set(self, name: str, words: str, number: float, **labels: str) -> None:
        import ray
        from ray.util.metrics import Gauge

        if not ray.is_initialized():
            return
        with self._lock:
            if not self._gauges:
                threading.Thread(target=self._refresh, name="gauges", daemon=True).start()
            if name not in self._gauges:
                self._gauges[name] = Gauge(name, description=words, tag_keys=("run", *labels))
            self._values[name, tuple(labels.items())] = float(number)
            self._gauges[name].set(float(number), {"run": self.run_id, **labels})

    def _refresh(self) -> None:
        import ray

        while not self._closed.wait(REFRESH_S):
            with self._lock:
                if not ray.is_initialized():
                    continue
                for (name, labels), number in self._values.items():
                    self._gauges[name].set(number, {"run": self.run_id, **dict(labels)})
