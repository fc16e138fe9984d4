"""Settings of a run: composed from those of all packages, read from TOML and validated once at start."""

import difflib
import tomllib
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal, get_args

from pydantic import Field, ValidationError, model_validator
from pydantic_core import ErrorDetails

from actors.judge_settings import JudgeSettings
from actors.settings import FULL_PAGE_HEIGHT, BrowserSettings, CriticsSettings, PolicySettings
from cluster.paths import resolve_path
from cluster.validation import check_together
from learner.builtin.settings import WarmStartSettings
from learner.settings import LearnerSettings
from learner.supervised.settings import SupervisedSettings
from reward.settings import ScoreSettings
from rollout.errors import SettingsError
from rollout.settings import EpisodeSettings, Settings


class TaskSettings(Settings):
    """Sources of training and held-out tasks."""

    source: str = "builtin"
    """Training tasks: `builtin` designs, or a Parquet or JSONL file."""
    held_out: str = "builtin"
    """Held-out tasks, never trained on: `builtin` designs, or a Parquet or JSONL file."""


class ExamSettings(Settings):
    """The exam: a fixed, seeded evaluation on held-out tasks."""

    tasks: int = Field(default=64, ge=2)
    """Number of held-out tasks in the exam; more give a narrower interval."""
    every: int = Field(default=10, ge=1)
    """Steps between exams; one always runs before the first step and after the last. Raise it if exams take too
    long."""
    margin: float = Field(default=0.0, ge=0.0, lt=1.0)
    """Mean reward by which an exam must exceed the champion's to replace it, or fall below it to be a regression; set
    it to the difference between two exams of one policy."""
    on_regression: Literal["keep", "revert"] = "keep"
    """After an exam below the champion's by the margin: continue (`keep`), or restore the champion's weights and
    optimizer state (`revert`). `revert` saves a checkpoint of every champion.
    """
    inference_tasks: int = Field(default=32, ge=1)
    """Held-out tasks of the inference table (base, self-edit, with critic) at the end of a run; fewer save time."""
    edit_rounds: int = Field(default=3, ge=1, le=3)
    """Rounds of critic-free self-edit in the inference table; fewer save time."""


class CheckpointSettings(Settings):
    """Checkpoints for resuming a run."""

    every: int = Field(default=10, ge=1)
    """Steps between checkpoints; raise it if saving takes long. Steps since the last one are learnt again from their
    stored trajectories."""
    keep: int = Field(default=2, ge=1)
    """Number of newest checkpoints to keep; lower it if the disk is small."""


class ReportSettings(Settings):
    """Frequency and screenshots of the HTML report."""

    every: int = Field(default=5, ge=1)
    """Steps between reports; one is always written at the end. Raise it for long runs."""
    films: int = Field(default=1, ge=0)
    """Groups per step whose screenshots are stored for the report's filmstrips; 0 saves disk."""


class TrackingSettings(Settings):
    """What MLflow keeps of a run beside its metrics."""

    traces: int = Field(default=4, ge=0)
    """Episodes of each step that are logged as traces; 0 logs none. Lower it if the tracking database grows too fast.
    """


class ClusterSettings(Settings):
    """Placement, resources and timeouts of the Ray actors."""

    roles: bool = False
    """Whether actors request the custom Ray resources `policy`, `browser`, `learner` and `judge` of the node types;
    true on clusters whose nodes have them."""
    policy_cpus: float = Field(default=0.5, ge=0)
    """Logical CPUs requested per policy engine, on all its nodes; whole cores where nodes are not shared."""
    learner_cpus: float = Field(default=0.5, ge=0)
    """Logical CPUs requested per learner rank; whole cores where nodes are not shared."""
    browser_cpus: float = Field(default=0.2, ge=0)
    """Logical CPUs requested per browser; 1 where nodes are not shared."""
    small_cpus: float = Field(default=0.1, ge=0)
    """Logical CPUs requested per episode worker and per critic; 1 where nodes are not shared."""
    policy_gpus: float = Field(default=0, ge=0)
    """GPUs requested per policy engine, on all its nodes: its tensor-parallel size on a GPU cluster, a fraction to
    share a GPU."""
    learner_gpus: float = Field(default=0, ge=0)
    """GPUs requested per learner rank: 1 on a GPU cluster, a fraction to share a GPU."""
    judge_cpus: float = Field(default=0.5, ge=0)
    """Logical CPUs requested per judge served by the run; whole cores where nodes are not shared."""
    judge_gpus: float = Field(default=0, ge=0)
    """GPUs requested per judge served by the run: its tensor-parallel size on a GPU cluster."""
    workers: int = Field(default=1, ge=1)
    """Number of episode workers, each plays many episodes concurrently; raise it if one is a whole core busy."""
    placement_timeout_s: float = Field(default=120, gt=0)
    """Seconds to wait for a placement group before CapacityError is raised; raise it for clusters that start nodes."""
    start_timeout_s: float = Field(default=600, gt=0)
    """Seconds an actor may take to start; raise it for large models."""
    max_logprob_gap: float = Field(default=1e-3, gt=0)
    """Maximum log-prob gap between learner and engines after a sync, above which the run stops; 1e-3 suits fp32, 0.05
    bfloat16."""
    call_timeout_s: float = Field(default=600, gt=0)
    """Timeout of one actor call in seconds; a timeout counts as a machine fault. Raise it for long completions or
    judgments."""

    @property
    def whole_gpus(self) -> bool:
        """Whether every policy engine and every learner rank has whole GPUs of its own."""
        return all(gpus >= 1 and gpus == int(gpus) for gpus in (self.policy_gpus, self.learner_gpus))


class RunSettings(Settings):
    """All settings of one run."""

    name: str = Field(default="run", pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]*$")
    """Name of the MLflow experiment and prefix of the run's id."""
    seed: int = Field(default=0, ge=0)
    """Seed of all randomness of the run; repeat a run with others to measure noise."""
    steps: int = Field(default=100, ge=1)
    """Number of learner updates."""
    groups: int = Field(default=16, ge=1)
    """Tasks per step, each played by one group of episodes; more give a less noisy gradient."""
    group_size: int = Field(default=8, ge=2)
    """Episodes per task; at least 2, because advantages compare siblings. Raise it if many groups carry no signal."""
    refill: float = Field(default=0.5, ge=0, le=4)
    """Extra groups a step may play, as a share of `groups`, to replace groups without reward variance; 0 bounds a
    step's time."""
    max_staleness: int = Field(default=0, ge=0)
    """Maximum policy versions a sample may lag behind; 0 is strictly on-policy. Groups that take longer are discarded:
    prefer 2 to 1 when page lengths vary much.
    """
    in_flight: int = Field(default=64, ge=1)
    """Maximum concurrent episodes; fewer are played when fewer keep the slowest pool busy. Raise it on large
    clusters."""
    max_fault_share: float = Field(default=0.2, ge=0, le=1)
    """Share of a step's episodes that may be lost to machine faults; above it the run stops with an error. Raise it for
    machines that may be taken away."""
    runs: str = "runs"
    """Folder of all runs; set it to a disk with space."""
    cache: str = ".cache"
    """Folder of reproducible files such as warm starts and compiled extensions; set it to share them between
    checkouts."""
    model: str = "builtin"
    """Initial policy: `builtin` (a small model that ReLook ships) or a Hugging Face model directory."""
    task: TaskSettings = TaskSettings()
    episode: EpisodeSettings = EpisodeSettings()
    score: ScoreSettings = ScoreSettings()
    policy: PolicySettings = PolicySettings()
    browser: BrowserSettings = BrowserSettings()
    critic: CriticsSettings = CriticsSettings()
    judge: JudgeSettings = JudgeSettings()
    learner: LearnerSettings = LearnerSettings()
    warm_start: WarmStartSettings = WarmStartSettings()
    sft: SupervisedSettings = SupervisedSettings()
    exam: ExamSettings = ExamSettings()
    checkpoint: CheckpointSettings = CheckpointSettings()
    report: ReportSettings = ReportSettings()
    tracking: TrackingSettings = TrackingSettings()
    cluster: ClusterSettings = ClusterSettings()

    @model_validator(mode="after")
    def _check_together(self) -> "RunSettings":
        check_together(self)
        return self

    # Settings with values that depend on other settings; actors get these.

    @property
    def renderer(self) -> BrowserSettings:
        """Settings of the browsers: `browser`, with an unset `full_page_height` chosen for the critics."""
        if self.browser.full_page_height is not None:
            return self.browser
        judged = any(one.kind == "http" for one in self.critic.members.values())
        return self.browser.model_copy(update={"full_page_height": FULL_PAGE_HEIGHT if judged else 0})

    @property
    def engine(self) -> PolicySettings:
        """Settings of the policy engines: `policy`, with `transfer` resolved."""
        return self.policy.model_copy(update={"transfer": self.transfer})

    @property
    def transfer(self) -> Literal["shared_memory", "gloo", "nccl", "ipc"]:
        """Weight transfer method: `policy.transfer`, with `auto` resolved.

        Ranks and engines that request shares of GPUs are placed in pairs, so that `ipc` always works.
        """
        if self.policy.transfer != "auto":
            return self.policy.transfer
        if self.shares_gpus:
            return "ipc"
        if self.cluster.whole_gpus:
            return "nccl"
        return "gloo" if self.policy.nodes > 1 and not self.cluster.policy_gpus else "shared_memory"

    @property
    def shares_gpus(self) -> bool:
        """Whether each engine can share a GPU with the learner rank of the same index."""
        policy, learner = self.cluster.policy_gpus, self.cluster.learner_gpus
        paired = self.policy.engines == self.learner.ranks and self.policy.tensor_parallel == 1
        return policy > 0 and learner > 0 and policy + learner <= 1 and paired

    @property
    def served_judge(self) -> JudgeSettings:
        """The judge served by the run, if any, with an absolute model path: its process runs in another folder."""
        model = self.judge.model
        return self.judge.model_copy(update={"model": str(resolve_path(model))}) if model else self.judge


def load_settings(path: Path, overrides: Sequence[str] = ()) -> RunSettings:
    """Reads a TOML file and applies `a.b=value` overrides (TOML values). Raises SettingsError with a one-line text."""
    from cluster.preflight.lengths import check_settings_lengths

    try:
        values = tomllib.loads(path.read_text(encoding="utf-8-sig"))
    except FileNotFoundError:
        raise SettingsError(f"{path}: no such settings file; examples are in deploy/runs/") from None
    except (tomllib.TOMLDecodeError, UnicodeDecodeError, OSError) as error:
        raise SettingsError(f"{path}: not readable as TOML: {error}") from None
    for override in overrides:
        apply_override(values, override)
    settings = check_settings(values, str(path))
    try:
        check_settings_lengths(settings)
    except SettingsError as error:
        raise SettingsError(f"{path}: {error}") from None
    return settings


def check_settings(values: dict[str, Any], source: str) -> RunSettings:
    """Validates nested values. Raises SettingsError that names the first invalid field."""
    try:
        return RunSettings.model_validate(values)
    except ValidationError as error:
        raise SettingsError(f"{source}: {_one_line(error.errors()[0])}") from None


def apply_override(values: dict[str, Any], override: str) -> None:
    """Sets one `a.b=value` (a TOML value, else text) in nested settings. Raises SettingsError."""
    key, equals, text = override.partition("=")
    if not equals or not key:
        raise SettingsError(f"--set wants key=value such as learner.lr=1e-4, got {override!r}")
    try:
        value = tomllib.loads(f"value = {text}")["value"]
    except tomllib.TOMLDecodeError:
        value = text
    *rooms, name = key.split(".")
    for room in rooms:
        values = values.setdefault(room, {})
        if not isinstance(values, dict):
            raise SettingsError(f"--set {override}: {room!r} is a single value, not a group of settings")
    values[name] = value


def _one_line(error: ErrorDetails) -> str:
    field = ".".join(str(part) for part in error["loc"])
    if error["type"] == "extra_forbidden":
        known = _known_fields(error["loc"][:-1])
        near = difflib.get_close_matches(str(error["loc"][-1]), known, n=1)
        hint = f"did you mean {near[0]!r}?" if near else f"known here: {', '.join(known)}"
        return f"unknown setting {field!r}; {hint}"
    message = error["msg"].removeprefix("Value error, ")
    if not field or error["type"] == "value_error":
        return f"{field}: {message}" if field else message
    return f"{field}: {message}, got {error['input']!r}"


def _known_fields(path: Sequence[int | str]) -> list[str]:
    model: Any = RunSettings
    for part in path:
        # In a `dict[str, …]` field the key is a user-chosen name; its value type has the fields.
        named = get_args(model)
        model = named[1] if named else model.model_fields[str(part)].annotation
    return sorted(model.model_fields)
