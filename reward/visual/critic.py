"""The embedded critic: a score in [0, 1] and feedback, from a render and that of the reference page."""

import time
from collections import OrderedDict
from collections.abc import Sequence

from reward.visual import blocks, pictures
from reward.visual.feedback import feedback
from rollout.records import Critique, Render, Task

JUDGE = "visual-1"
WEIGHTS = {
    "blocks": 0.15,
    "text": 0.15,
    "position": 0.15,
    "text_color": 0.10,
    "color_map": 0.20,
    "structure": 0.10,
    "layout": 0.10,
    "size": 0.05,
}
"""Weights of the sub-scores; they sum to 1."""
TIMED_SHOTS = 3
REMEMBERED = 512


class VisualCritic:
    """Compares pages with their references. Remembers what it worked out of the pictures it saw last."""

    def __init__(self) -> None:
        self.looks: OrderedDict[str, pictures.Look] = OrderedDict()

    def judge(
        self, task: Task, render: Render, reference: Render, shots: Sequence[bytes], wanted: Sequence[bytes]
    ) -> Critique:
        """The judgment of a valid render; `shots` and `wanted` are the PNGs of the timed shots, in order."""
        started = time.perf_counter()
        matching = blocks.match(render.blocks, reference.blocks, reference.viewport)
        parts = blocks.scores(matching, reference.viewport)
        parts |= self._pictures(render, reference, shots, wanted)
        parts["layout"] = pictures.layout(_areas(render), _areas(reference), reference.viewport)
        parts["size"] = _ratio(render.document[1], reference.document[1])
        return Critique(
            score=min(1.0, sum(weight * parts[name] for name, weight in WEIGHTS.items())),
            feedback=feedback(matching, render, reference),
            parts=parts,
            judge=JUDGE,
            seconds=time.perf_counter() - started,
        )

    def _pictures(
        self, render: Render, reference: Render, shots: Sequence[bytes], wanted: Sequence[bytes]
    ) -> dict[str, float]:
        """Means over the timed shots; a pair of pictures that was just compared is not compared again."""
        compared: dict[tuple[str, str], tuple[float, float]] = {}
        scores = []
        timed = zip(render.shots[:TIMED_SHOTS], reference.shots[:TIMED_SHOTS], shots, wanted, strict=False)
        for mine, other, png, wanted_png in timed:
            key = (mine.sha256, other.sha256)
            if key not in compared:
                compared[key] = self._compare(key, png, wanted_png)
            scores.append(compared[key])
        if not scores:
            return {"color_map": 0.0, "structure": 0.0}
        return {
            "color_map": sum(color for color, _ in scores) / len(scores),
            "structure": sum(structure for _, structure in scores) / len(scores),
        }

    def _compare(self, key: tuple[str, str], png: bytes, wanted_png: bytes) -> tuple[float, float]:
        if key[0] == key[1]:
            return 1.0, 1.0
        found, wanted = self._look(key[0], png), self._look(key[1], wanted_png)
        return pictures.color_map(found, wanted), pictures.structure(found, wanted)

    def _look(self, sha256: str, png: bytes) -> pictures.Look:
        look = self.looks.pop(sha256, None) or pictures.look(png)
        self.looks[sha256] = look
        while len(self.looks) > REMEMBERED:
            self.looks.popitem(last=False)
        return look


def _areas(render: Render) -> list[pictures.Rectangle]:
    texts = [(block.x, block.y, block.width, block.height) for block in render.blocks]
    return texts + [(box.x, box.y, box.width, box.height) for box in render.boxes]


def _ratio(found: float, wanted: float) -> float:
    return min(found, wanted) / max(found, wanted, 1)
