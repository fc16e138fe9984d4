"""Damages pages in the ways that language models break them; the edits back to the undamaged page are known.

A damage is a pure function of a page and a random generator, named in `DAMAGES`. None looks at a design: they apply to
any page.
"""

import random
from collections.abc import Callable
from dataclasses import dataclass

from learner.supervised.markup_damage import exchanged_texts, missing_section, moved_element, open_tag, truncated
from learner.supervised.script_damage import missing_handler, undefined_name
from learner.supervised.style_damage import missing_rule, missing_style, wrong_color, wrong_layout, wrong_size
from rollout.edits import Edit, make
from rollout.prompts import GET_FEEDBACK, answer
from rollout.seeds import seed_of

Damage = Callable[[str, random.Random], str | None]
"""Returns a damaged page, or None for a page without the part that the damage changes."""

DAMAGES: dict[str, Damage] = {
    damage.__name__: damage
    for damage in (
        missing_section,
        truncated,
        exchanged_texts,
        wrong_color,
        wrong_size,
        wrong_layout,
        missing_rule,
        missing_style,
        undefined_name,
        missing_handler,
        open_tag,
        moved_element,
    )
}
UNFINISHED = "unfinished_answer"
"""Damage of the answer around the page: it is cut within the page, so no page can be read from it."""
KINDS = (*DAMAGES, UNFINISHED)


@dataclass(frozen=True, slots=True, kw_only=True)
class DamagedPage:
    """A page with one damage. Example: `DamagedPage(damage="open_tag", html="<h1>Plans<p>…")`."""

    damage: str
    """Name of the damage, one of KINDS."""
    html: str

    @property
    def answer(self) -> str:
        """The policy's answer with this page."""
        if self.damage == UNFINISHED:
            return answer(self.html).removesuffix(f"\n```\n{GET_FEEDBACK}")
        return answer(self.html)

    def repair(self, page: str) -> tuple[Edit, ...]:
        """Edits that turn this page into `page`, the undamaged one."""
        return make(self.html, page)


def damage_page(html: str, kind: str, seed: int) -> DamagedPage | None:
    """Damages a page in one way; None if the page has no part to damage, or would stay as it is."""
    damage = DAMAGES["truncated" if kind == UNFINISHED else kind]
    found = damage(html, random.Random(seed_of(seed, kind)))
    if found is None or found.strip() == html.strip() or not found.strip():
        return None
    return DamagedPage(damage=kind, html=found)


def damaged_pages(html: str, num: int, seed: int) -> list[DamagedPage]:
    """At most `num` different damaged pages, each kind of damage once before one is repeated."""
    rng = random.Random(seed)
    found: dict[str, DamagedPage] = {}
    for turn in range(num):
        for kind in rng.sample(KINDS, len(KINDS)):
            page = damage_page(html, kind, seed_of(seed, turn))
            if page is not None:
                found.setdefault(page.answer, page)
            if len(found) == num:
                return list(found.values())
    return list(found.values())
