"""The embedded critic: scores a page by its similarity to the task's reference, and lists changes. Pure, no model."""

import threading
from collections import OrderedDict

from reward.hacks import brings_pictures
from reward.visual.evidence import PageFeatures, compare, extract_features, parts, total
from reward.visual.feedback import sentences_for
from reward.visual.pictures import size_of
from rollout.records import Critique, Page, Render, Task

JUDGE = "visual-4"
"""Version: increase it when the score of a page can change."""
REMEMBERED = 128


class VisualCritic:
    """Scores pages by comparison with their references. Caches features of references; thread-safe."""

    def __init__(self) -> None:
        self._references: OrderedDict[tuple[object, ...], PageFeatures] = OrderedDict()
        self._lock = threading.Lock()

    def judge(
        self,
        task: Task,
        page: Page,
        render: Render,
        reference: Render,
        pictures: tuple[bytes, ...],
        reference_pictures: tuple[bytes, ...],
    ) -> Critique:
        """Compares a valid render with the render of the task's reference page.

        `pictures` are the PNGs of the timed shots, in order. Raises ValueError for invalid renders, or when the numbers
        of timed shots differ.
        """
        sizes = [size_of(png) for png in (*pictures, *reference_pictures)]
        size = max((width for width, _ in sizes), default=1), max((height for _, height in sizes), default=1)
        scenes = extract_features(render, pictures, size), self._reference(reference, reference_pictures, size)
        evidence = compare(*scenes, rasters=brings_pictures(page, task.reference_html, render))
        named = parts(evidence)
        score = total(named)
        return Critique(score=score, feedback=sentences_for(evidence, score), parts=named, judge=JUDGE)

    def _reference(self, render: Render, pictures: tuple[bytes, ...], size: tuple[int, int]) -> PageFeatures:
        key = (render.page_sha256, render.renderer, *(shot.sha256 for shot in render.shots), size)
        with self._lock:
            if key in self._references:
                self._references.move_to_end(key)
                return self._references[key]
        scene = extract_features(render, pictures, size)
        with self._lock:
            self._references[key] = scene
            if len(self._references) > REMEMBERED:
                self._references.popitem(last=False)
        return scene
