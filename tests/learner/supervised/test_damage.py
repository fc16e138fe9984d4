"""Tests of the damages, on pages that a language model wrote and on built-in designs."""

from pathlib import Path

import pytest

from learner.supervised.damage import DAMAGES, KINDS, UNFINISHED, DamagedPage, damage_page, damaged_pages
from learner.supervised.elements import read_source
from learner.supervised.style_damage import declarations
from reward.designs import FAMILIES, draw
from rollout.edits import apply
from rollout.parsing import parse_page
from rollout.tasks import read_tasks

ROOT = Path(__file__).parents[3]
SMALL = """<!DOCTYPE html>
<html><head><title>Shop</title><style>
a:hover #add { color: #fff; }
.card { display: flex; padding: 12px 8px; background: rgb(1, 2, 3) }
</style></head>
<body>
<h1>Plans</h1>
<section><h2>Basic</h2><p style="font-size:16px">Three pages</p></section>
<section><h2>Large</h2><p>Ten pages</p></section>
<button onclick="buy()">Buy</button>
<script>
const total = 3;
function buy() { document.title = `${total} bought (`; }
document.querySelector("h1").addEventListener("click", () => { buy(); });
</script>
</body></html>"""
CASES = {
    "missing_section": lambda before, after: len(read_source(after).elements) < len(read_source(before).elements),
    "truncated": lambda before, after: before.startswith(after),
    "exchanged_texts": lambda before, after: sorted(before) == sorted(after),
    "wrong_color": lambda before, after: after.count("#") >= before.count("#"),
    "wrong_size": lambda before, after: len(declarations(after)) == len(declarations(before)),
    "wrong_layout": lambda before, after: after != before,
    "missing_rule": lambda before, after: after.count("{") < before.count("{"),
    "missing_style": lambda before, after: "<style>" not in after,
    "undefined_name": lambda before, after: after.count("total") + after.count("buy") >= 1,
    "missing_handler": lambda before, after: after.count("click") < before.count("click"),
    "open_tag": lambda before, after: after.count("</") == before.count("</") - 1,
    "moved_element": lambda before, after: sorted(before) == sorted(after),
}


@pytest.fixture(scope="module")
def pages() -> list[str]:
    written = [task.reference_html or "" for task in read_tasks(ROOT / "tasks" / "gpt5" / "held-out.parquet")]
    # The second shortest page is drawn by its script alone.
    return [*sorted(written, key=len)[2:6], *(draw(7, family=family).task.reference_html or "" for family in FAMILIES)]


@pytest.mark.parametrize("kind", DAMAGES)
def test_a_damage_changes_the_named_part(kind: str) -> None:
    for seed in range(8):
        page = damage_page(SMALL, kind, seed)
        assert page is not None
        assert CASES[kind](SMALL, page.html), page.html


@pytest.mark.parametrize("kind", KINDS)
def test_real_pages_are_damaged_repeatably_and_their_edits_lead_back(kind: str, pages: list[str]) -> None:
    damaged = 0
    for html in pages:
        page = damage_page(html, kind, 5)
        assert page == damage_page(html, kind, 5)
        if page is not None:
            damaged += 1
            assert page.html != html
            assert apply(page.html, page.repair(html)) == html
    least = {"missing_handler": 4, "undefined_name": 4}.get(kind, len(pages) * 2 // 3)
    assert damaged >= least, f"{kind} applies to {damaged} of {len(pages)}"


def test_damages_of_a_page_differ(pages: list[str]) -> None:
    for html in pages:
        found = damaged_pages(html, 6, seed=1)
        assert len({page.answer for page in found}) == 6
        assert len({page.damage for page in found}) == 6
    assert (
        damaged_pages(pages[0], 4, seed=1) == damaged_pages(pages[0], 4, seed=1) != damaged_pages(pages[0], 4, seed=2)
    )


def test_no_damage_applies_to_an_empty_page() -> None:
    assert damaged_pages("", 4, seed=0) == []
    assert [page.damage for page in damaged_pages("<p>a</p>", 4, seed=0)] == []


def test_an_unfinished_answer_has_no_page_and_a_damaged_one_is_read_as_it_is() -> None:
    cut = damage_page(SMALL, UNFINISHED, 1)
    assert cut is not None
    assert parse_page(cut.answer).problem == "unclosed_fence"
    whole = damage_page(SMALL, "open_tag", 1)
    assert whole is not None
    assert parse_page(whole.answer).html == whole.html


def test_selectors_are_no_declarations() -> None:
    assert [(one.name, one.value) for one in declarations(SMALL)] == [
        ("color", "#fff"),
        ("display", "flex"),
        ("padding", "12px 8px"),
        ("background", "rgb(1, 2, 3)"),
        ("font-size", "16px"),
    ]


def test_elements_have_the_offsets_of_their_source() -> None:
    source = read_source(SMALL)
    named = {element.tag: SMALL[element.start : element.stop] for element in source.elements}
    assert named["h1"] == "<h1>Plans</h1>"
    assert named["button"] == '<button onclick="buy()">Buy</button>'
    shown = [SMALL[text.start : text.stop] for text in source.texts if text.visible]
    assert shown == ["Plans", "Basic", "Three pages", "Large", "Ten pages", "Buy"]


def test_a_repair_is_short() -> None:
    page = DamagedPage(damage="open_tag", html=SMALL.replace("</h2><p>Ten", "<p>Ten"))
    (edit,) = page.repair(SMALL)
    assert len(edit.search) == len(edit.replace) == 1
