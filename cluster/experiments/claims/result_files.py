"""Results that outlive their runs: small files beside the page of claims, so that many machines can fill one page."""

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
"""Settings that say where a run is kept, and nothing of what it does."""


class KeptResults:
    """A folder with one file a finished run, named after its variant and seed."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def keep(self, result: Result, settings: Mapping[str, Any]) -> None:
        """Writes the result of a run that had these settings. Raises StorageFault."""
        text = json.dumps({"settings": settings, "result": asdict(result)}, indent=1, sort_keys=True)
        atomic_write(self._file(result.variant, result.seed), f"{text}\n".encode())

    def find(self, variant: str, seed: int, wanted: RunSettings) -> Result | None:
        """The result of a run of these settings, if one is kept. Raises CheckpointError for a damaged file."""
        path = self._file(variant, seed)
        if not path.is_file():
            return None
        try:
            kept = json.loads(path.read_bytes())
            settings, result = kept["settings"], RESULT.validate_python(kept["result"])
        except (OSError, ValueError, KeyError) as error:
            reason = f"{type(error).__name__}: {str(error).splitlines()[0]}"
            raise CheckpointError(
                f"{path} is damaged ({reason}); restore or remove it, its run is then done again"
            ) from None
        return result if same_run(settings, wanted) else None

    def _file(self, variant: str, seed: int) -> Path:
        return self.folder / f"{variant}-{seed}.json"


def same_run(recorded: Mapping[str, Any], wanted: RunSettings) -> bool:
    """Whether these settings did what `wanted` would do. One that they do not name did not exist yet."""
    try:
        settings = RunSettings.model_validate(recorded)
    except ValidationError:
        return False  # of another time: a setting has gone, or no longer takes this value
    return settings.model_dump(exclude=set(NOT_COMPARED)) == wanted.model_dump(exclude=set(NOT_COMPARED))
