"""Where the answers of a benchmark come from: a model directory, a server, or a file."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from actors.settings import CriticSettings
from cluster.benchmarks.answers import read_answers
from cluster.settings import check_settings
from rollout.errors import CheckpointError, SettingsError

DEADLINE_S = 3600.0
"""Deadline of one answer of a server, with all retries."""
TIMEOUT_S = 900.0
"""Seconds without data after which a request to a server times out."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Source:
    """A source of answers: exactly one of `model`, `endpoint` and `answers` is set."""

    name: str
    """Name of the policy in reports."""
    where: str
    """Path or address."""
    model: Path | None = None
    endpoint: CriticSettings | None = None
    """The server, in the settings of its client."""
    answers: Mapping[str, str] | None = field(default=None, repr=False)


def of_model(path: Path, name: str) -> Source:
    """A Hugging Face model directory. Raises CheckpointError when it is none."""
    if not (path / "config.json").is_file():
        raise CheckpointError(f"--model {path}: there is no config.json; give a Hugging Face model directory")
    return Source(name=name, where=str(path.resolve()), model=path.resolve())


def of_file(path: Path, name: str, keys: Sequence[str]) -> Source:
    """A file of answers to the prompts `keys`. Raises TaskFileError."""
    return Source(name=name, where=str(path), answers=read_answers(path, keys))


def of_endpoint(address: str, name: str, key_env: str) -> Source:
    """An OpenAI-compatible server. Raises SettingsError for a missing model name or an unusable address."""
    if not name:
        raise SettingsError("--endpoint needs --name, the model's name at that server")
    values = {
        "kind": "http",
        "base_url": address,
        "model": name,
        "key_env": key_env,
        "timeout_s": TIMEOUT_S,
        "deadline_s": DEADLINE_S,
        "hedge_share": 0.0,
    }
    # The settings of a run bound a judge's deadline; an answer takes longer than a judgment.
    patient = {"critic": values, "cluster": {"call_timeout_s": 2 * DEADLINE_S}}
    endpoint = check_settings(patient, "--endpoint").critic
    return Source(name=name, where=endpoint.base_url, endpoint=endpoint)
