"""Stores results as small files next to the page of claims, so that several machines can fill one page."""

import json
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

from pydantic import TypeAdapter, ValidationError

from cluster.experiments.claims.results import Result
from cluster.settings import RunSettings
from rollout.errors import CheckpointError
from rollout.files import atomic_write

RESULT = TypeAdapter(Result)
NOT_COMPARED = ("runs",)
"""Settings that only determine where a run is stored."""


class KeptResults:
    """A folder with one file for each finished run, named after its variant and seed."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def keep(self, result: Result, settings: Mapping[str, Any]) -> None:
        """Writes the result of a run with these settings. Raises StorageFault."""
        text = json.dumps({"settings": settings, "result": asdict(result)}, indent=1, sort_keys=True)
        atomic_write(self._file(result.variant, result.seed), f"{text}\n".encode())

    def find(self, variant: str, seed: int, wanted: RunSettings) -> Result | None:
        """The stored result of a run with these settings, or None. Raises CheckpointError for a damaged file."""
        path = self._file(variant, seed)
        if not path.is_file():
            return None
        try:
            kept = json.loads(path.read_bytes())
            settings, result = kept["settings"], RESULT.validate_python(kept["result"])
        except (OSError, ValueError, KeyError) as error:
            reason = f"{type(error).__name__}: {str(error).splitlines()[0]}"
            raise CheckpointError(f"{path} is damaged ({reason}); restore it, or remove it to repeat the run") from None
        return result if same_run(settings, wanted) else None

    def _file(self, variant: str, seed: int) -> Path:
        return self.folder / f"{variant}-{seed}.json"


def same_run(recorded: Mapping[str, Any], wanted: RunSettings) -> bool:
    """Whether recorded settings are equivalent to `wanted`. A setting that is not recorded has its default value."""
    try:
        settings = RunSettings.model_validate(recorded)
    except ValidationError:
        return False  # an older version: a setting was removed, or no longer accepts this value
    return settings.model_dump(exclude=set(NOT_COMPARED)) == wanted.model_dump(exclude=set(NOT_COMPARED))
