"""Data sets of a run as MLflow inputs: training tasks and held-out tasks with name, digest and size."""

import hashlib
import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from cluster.training.curriculum import BUILTIN_POOL, Curriculum
from rollout.records import Task

DIGEST_CHARS = 8


def data_set_inputs(curriculum: Curriculum) -> Iterator[Any]:
    """MLflow's inputs of the training tasks and of the exam."""
    from mlflow.entities import Dataset, DatasetInput, InputTag

    settings = curriculum.settings
    held_out = curriculum.held_out(settings.exam.tasks)
    training = curriculum.file_tasks
    # Built-in training tasks follow from the seed and the code version, which is a tag of the run.
    digest = digest_of(training) if training is not None else f"seed-{settings.seed}"
    num = len(training) if training is not None else BUILTIN_POOL
    for context, source, identity, size in (
        ("training", settings.task.source, digest, num),
        ("exam", settings.task.held_out, digest_of(held_out), len(held_out)),
    ):
        yield DatasetInput(
            Dataset(
                name=f"builtin-{context}" if source == "builtin" else Path(source).stem,
                digest=identity,
                source_type="code" if source == "builtin" else "local",
                source=json.dumps({"uri": source}),
                profile=json.dumps({"num_rows": size}),
            ),
            [InputTag("mlflow.data.context", context)],
        )


def digest_of(tasks: Sequence[Task]) -> str:
    """Content hash of tasks in any order: id, brief and reference page."""
    digest = hashlib.sha256()
    for task in sorted(tasks, key=lambda one: one.id):
        for text in (task.id, task.brief, task.reference_html or ""):
            digest.update(text.encode("utf-8", "replace") + b"\0")
    return digest.hexdigest()[:DIGEST_CHARS]
