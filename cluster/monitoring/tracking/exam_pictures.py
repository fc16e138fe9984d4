"""Held-out pages as MLflow images: one key per task, one step per exam, so that the slider shows a task over training.

Only the first tasks of the exam are shown, always the same ones.
"""

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from PIL import Image

from cluster.monitoring.tracking.delivery import Delivery
from cluster.storage.store import Store, read_groups

MAX_TASKS = 8


class ExamPictures:
    """Delivers the first screenshot of each shown task, exam by exam."""

    def __init__(self, client: Any, run: str, delivery: Delivery, store: Store) -> None:
        """`client` is an MlflowClient, `run` the id of the MLflow run."""
        self.client, self.run = client, run
        self.delivery, self.store = delivery, store
        self.done: set[int] = set()
        """Exams whose images are all in MLflow."""
        self.sent: set[tuple[str, int]] | None = None
        """Key and step of the images in MLflow; None until they were listed once."""

    def deliver(self, steps: list[int]) -> None:
        """Delivers the images of the exams after these steps that MLflow lacks."""
        if self.sent is None and not self.delivery.send(self._list):
            return
        assert self.sent is not None
        for step in steps:
            if step in self.done:
                continue
            for key, path in self._pictures(step):
                picture = None if (key, step) in self.sent else _open(path)
                if picture is not None and not self.delivery.send(self._log, key, step, picture):
                    return
            self.done.add(step)

    def _pictures(self, step: int) -> Iterator[tuple[str, Path]]:
        """Image key and file of each shown task with a screenshot."""
        file = self.store.exam_file(step)
        for group in read_groups(file, MAX_TASKS) if file.exists() else []:
            render = group.trajectories[0].turns[0].attempts[0].render
            if render is not None and render.shots:
                path = self.store.shots / f"{render.shots[0].sha256}.png"
                if path.exists():
                    yield image_key(group.task.id), path

    def _list(self) -> None:
        """Finds the images that MLflow has; an image is complete once its compressed copy exists."""
        paths = [Path(artifact.path).name for artifact in self.client.list_artifacts(self.run, "images")]
        names = [name.split("+") for name in paths if name.endswith("+compressed.webp")]
        self.sent = {(name[0].replace("~", "/"), int(name[2])) for name in names}

    def _log(self, key: str, step: int, picture: Image.Image) -> None:
        self.client.log_image(self.run, picture, key=key, step=step)


def _open(path: Path) -> Image.Image | None:
    """The picture of a file, or None if it is damaged, as a crash may leave it."""
    try:
        with Image.open(path) as picture:
            return picture.convert("RGB")
    except OSError:
        return None


def image_key(task: str) -> str:
    """Image key of a task; MLflow allows letters, digits and `_-. /`. Example: `exam/hero-17`."""
    return "exam/" + re.sub(r"[^A-Za-z0-9_.-]", "-", task)
