"""Text matching: merges text blocks of a page and matches them with the reference's blocks."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from difflib import SequenceMatcher
from functools import lru_cache
from unicodedata import category, normalize

import numpy as np
from scipy.optimize import linear_sum_assignment

from reward.visual.layout import Rect, distances, rect
from reward.visual.pictures import Array
from rollout.records import TextBlock

MOST_BLOCKS = 300
"""Only this many of the largest blocks of a page are compared; requested pages have fewer."""
MOST_FUZZY = 50
"""Maximum blocks per page that are matched by similarity; equal texts are matched without a limit."""
CLOSEST = 2
"""Maximum wanted texts with which each found text is compared letter by letter."""
MOST_CHARS = 200
ALIKE = 0.5
"""Minimum similarity at which two texts at the same place match; distant texts need more."""
PLACE = 0.3
"""Additional similarity needed by texts far apart: `$3` does not match `33` in another column."""
EQUAL = 2.0
"""Bonus for equal texts: more than the two matches by similarity that such a pair can block."""

Pairs = list[tuple[int, int, float]]
"""Index of the found block, index of its wanted block, and their similarity in [0.5, 1]."""


def merge(blocks: Sequence[TextBlock]) -> list[TextBlock]:
    """Joins adjacent blocks that read as one text, in document order: `Pay <b>now</b>` becomes one block."""
    merged: list[TextBlock] = []
    for block in (replace(block, text=plain(block.text)) for block in blocks):
        if merged and _continues(merged[-1], block):
            merged[-1] = _join(merged[-1], block)
        else:
            merged.append(block)
    return merged


def largest(blocks: Sequence[TextBlock]) -> list[int]:
    """Indices of the blocks that are compared, largest first."""
    return sorted(range(len(blocks)), key=lambda i: -blocks[i].width * blocks[i].height)[:MOST_BLOCKS]


def plain(text: str) -> str:
    """A text as displayed: composed letters (Unicode NFC), single spaces, no invisible format characters."""
    if not text.isascii():
        text = "".join(letter for letter in normalize("NFC", text) if category(letter) != "Cf")
    return " ".join(text.split())


def match(found: Sequence[TextBlock], wanted: Sequence[TextBlock], scale: float, never: Array | None = None) -> Pairs:
    """Best assignment of found to wanted texts: most equal texts first, then by similarity, then by place.

    `scale` is the distance, in pixels, at which the place has lost 63 % of its weight. `never`, bool [found, wanted],
    excludes pairs.
    """
    if not found or not wanted:
        return []
    alike = _likeness(found, wanted)
    fit = alike - PLACE * (1 - np.exp(-distances(found, wanted) / scale))
    fit[alike == 1.0] += EQUAL
    if never is not None:
        fit[never] = -1.0
    rows, columns = linear_sum_assignment(-fit)
    return [(int(i), int(j), float(alike[i, j])) for i, j in zip(rows, columns, strict=True) if fit[i, j] >= ALIKE]


def likeness(a: str, b: str) -> float:
    """Text similarity 2M/T in [0, 1] (Ratcliff and Obershelp); 1 only for equal texts, of any length."""
    if a == b:
        return 1.0
    return min(0.99, _ratio(a[:MOST_CHARS], b[:MOST_CHARS]))


@lru_cache(maxsize=8192)
def _ratio(a: str, b: str) -> float:
    """Cached similarity: pages of one task share most of their texts, so many pairs recur."""
    return SequenceMatcher(None, a, b, autojunk=False).ratio()


def _likeness(found: Sequence[TextBlock], wanted: Sequence[TextBlock]) -> Array:
    """[found, wanted] similarities; texts that occur equally often on both pages are matched only with equal texts."""
    have, want = Counter(block.text for block in found), Counter(block.text for block in wanted)
    numbers = {text: number for number, text in enumerate(want)}
    codes = [numbers.get(block.text, -1) for block in found], [numbers[block.text] for block in wanted]
    alike: Array = np.equal.outer(*map(np.array, codes)).astype(float)
    loose = [i for i, block in enumerate(found) if have[block.text] != want[block.text]][:MOST_FUZZY]
    short = [j for j, block in enumerate(wanted) if have[block.text] != want[block.text]][:MOST_FUZZY]
    if loose and short:
        shared = _shared([found[i].text for i in loose], [wanted[j].text for j in short])
        for row, column in zip(*np.nonzero(shared), strict=True):
            i, j = loose[row], short[column]
            alike[i, j] = likeness(found[i].text, wanted[j].text)
    return alike


def _shared(found: Sequence[str], wanted: Sequence[str]) -> Array:
    """bool [found, wanted]: pairs of texts to compare letter by letter, at most `CLOSEST` per found text.

    The common letters of two texts bound their similarity from above; common letter pairs rank the candidates.
    """
    a, b = (np.array([_letters(text[:MOST_CHARS]) for text in texts]) for texts in (found, wanted))
    common = np.minimum(a[:, None], b[None])
    length = np.add.outer(a[:, :64].sum(axis=1), b[:, :64].sum(axis=1))
    bound = 2 * common[..., :64].sum(axis=-1) / length
    order = np.argsort(-(common.sum(axis=-1) / length), axis=1, kind="stable")[:, :CLOSEST]
    closest = np.zeros(bound.shape, dtype=bool)
    np.put_along_axis(closest, order, values=True, axis=1)
    shared: Array = closest & (bound >= ALIKE)
    return shared


def _letters(text: str) -> Array:
    """Counts of each letter (64 bins) and each pair of letters (256 bins)."""
    codes = np.frombuffer(text.encode("utf-32-le"), dtype=np.uint32)
    pairs = codes[:-1] * 31 + codes[1:]
    return np.concatenate([np.bincount(codes % 64, minlength=64), np.bincount(pairs % 256, minlength=256)])


def _continues(before: TextBlock, after: TextBlock) -> bool:
    if before.color != after.color or before.font_px != after.font_px:
        return False
    shared = min(before.y + before.height, after.y + after.height) - max(before.y, after.y)
    gap = after.x - (before.x + before.width)
    return shared >= 0.5 * min(before.height, after.height) and -1.0 <= gap <= 0.5 * after.font_px


def _join(before: TextBlock, after: TextBlock) -> TextBlock:
    left, top, right, bottom = _around(rect(before), rect(after))
    gap = after.x - (before.x + before.width)
    text = before.text + (" " if gap > 0.1 * after.font_px else "") + after.text
    return replace(before, text=text, x=left, y=top, width=right - left, height=bottom - top)


def _around(a: Rect, b: Rect) -> Rect:
    return min(a[0], b[0]), min(a[1], b[1]), max(a[2], b[2]), max(a[3], b[3])
