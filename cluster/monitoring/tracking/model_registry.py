"""Registers champions in MLflow's model registry: one version of the model `settings.name` for each new champion.

A version refers to the run's own artifacts, `champion/step-000010`, so its files are stored once. The alias `champion`
points to the newest version: deploy `models:/demo@champion`.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from learner.checkpoint import MANIFEST

ALIAS = "champion"


class Registry:
    """The versions of one model from one MLflow run. All methods propagate the client's exceptions."""

    def __init__(self, client: Any, model: str, run: str) -> None:
        """`client` is an MlflowClient, `run` the id of the MLflow run."""
        self.client, self.model, self.run = client, model, run

    def register(self, path: Path, step: int, tags: Mapping[str, str]) -> None:
        """Registers the champion of a step (a directory with a manifest) unless it is registered, and sets the alias.

        May be repeated after a failure at any point; it creates no duplicates. A champion that is replaced during the
        upload is not registered; the next call registers its successor.
        """
        tags = {**tags, "step": str(step)}
        if not any(version.run_id == self.run and version.tags.get("step") == tags["step"] for version in self.all()):
            manifest = (path / MANIFEST).read_bytes()
            folder = f"champion/step-{step:06d}"
            self.client.log_artifacts(self.run, str(path), folder)
            if (path / MANIFEST).read_bytes() != manifest:
                return
            if not self.client.search_registered_models(f"name = '{self.model}'"):
                self.client.create_registered_model(self.model, description="Champions of ReLook runs of this name.")
            self.client.create_model_version(self.model, f"runs:/{self.run}/{folder}", self.run, tags)
        newest = max(int(version.version) for version in self.all())
        self.client.set_registered_model_alias(self.model, ALIAS, str(newest))

    def all(self) -> list[Any]:
        """All versions of the model, including those of other runs."""
        return list(self.client.search_model_versions(f"name = '{self.model}'"))
