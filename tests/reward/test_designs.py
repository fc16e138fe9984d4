"""Tests of the built-in designs: reproducible, held-out separate from training, and correct descriptions of errors."""

import random
import re
import subprocess
import sys
from pathlib import Path

import pytest

from reward.designs import FAMILIES, Draw, draw, num_tasks, split_of, tasks, vary
from reward.designs.drawing import ALL
from reward.designs.look import look
from reward.designs.palette import COLORS, SIZES
from rollout.records import Page

SEEDS = range(40)
MOVING = ("banner", "loader", "timer")
INK = "#000000"
"""The default text colour."""


def page(design: Draw) -> str:
    assert design.task.reference_html is not None
    return design.task.reference_html


def test_same_arguments_draw_the_same_design_in_every_process() -> None:
    here = [draw(seed, split=split) for seed in range(8) for split in ("train", "held_out")]
    assert here == [draw(seed, split=split) for seed in range(8) for split in ("train", "held_out")]
    code = (
        "from reward.designs import draw;"
        "print([draw(seed, split=split).task.brief for seed in range(8) for split in ('train', 'held_out')])"
    )
    there = subprocess.run(
        [sys.executable, "-c", code],
        capture_output=True,
        text=True,
        check=True,
        env={"PYTHONHASHSEED": "7"},
        cwd=Path(__file__).parents[2],
    )
    assert there.stdout.strip() == str([design.task.brief for design in here])


def test_held_out_designs_are_never_training_designs() -> None:
    for name in FAMILIES:
        kind = ALL[name]
        keys = {
            split: {tuple(draw(seed, family=name, split=split).traits[slot] for slot in kind.key) for seed in SEEDS}
            for split in ("train", "held_out")
        }
        assert not keys["train"] & keys["held_out"]
    for seed in SEEDS:
        for split in ("train", "held_out"):
            design = draw(seed, split=split)
            assert split_of(design.family, design.traits) == split


def test_about_one_combination_in_eight_is_held_out() -> None:
    rng = random.Random(0)
    for name in FAMILIES:
        share = sum(split_of(name, ALL[name].pick(rng)) == "held_out" for _ in range(2000)) / 2000
        assert 0.09 < share < 0.16, name


def test_there_are_more_than_a_million_tasks() -> None:
    assert len(FAMILIES) >= 12
    assert num_tasks() == sum(map(num_tasks, FAMILIES)) > 1_000_000
    for name in FAMILIES:
        slots = ALL[name].slots
        assert all(len(set(values)) == len(values) > 1 for values in slots.values()), name
        assert set(ALL[name].key) <= set(slots)


def test_tasks_are_balanced_and_have_unique_ids() -> None:
    drawn = [tasks(3 * len(FAMILIES), seed, split) for seed in (0, 1) for split in ("train", "held_out")]
    everything = [task for part in drawn for task in part]
    assert len({task.id for task in everything}) == len(everything)
    assert len({task.brief for task in everything}) == len(everything)
    for part in drawn:
        assert sorted(task.id.split("/")[1] for task in part) == sorted(FAMILIES * 3)
    assert tasks(5, 1) == tasks(9, 1)[:5]


@pytest.mark.parametrize("name", FAMILIES)
def test_pages_are_small_and_complete_and_match_their_brief(name: str) -> None:
    for seed in SEEDS:
        design = draw(seed, family=name)
        html, brief = page(design), design.task.brief
        assert html.startswith("<!doctype html>")
        assert html.endswith("</html>")
        assert "http" not in html
        assert 400 <= len(html) <= 1200
        assert 6 <= len(design.thought.replace(",", " ").split()) + 1 <= 16
        for slot, value in design.traits.items():
            if value in COLORS:
                assert COLORS[value] in html
            assert value.lower() in brief.lower() or f"{SIZES.get(value)}px" in brief, slot
        for mark in look(html).marks:
            words = re.findall(r"[\w.%]+", mark.text)
            assert all(word in brief for word in words), mark


@pytest.mark.parametrize("name", FAMILIES)
def test_probes_name_existing_elements(name: str) -> None:
    design = draw(1, family=name)
    for probe in design.task.probes:
        assert any(step.kind.startswith("expect_") for step in probe.steps)
        for step in probe.steps:
            selector = step.selector
            there = f'id="{selector[1:]}"' if selector.startswith("#") else f"<{selector}>"
            assert there in page(design), selector


def test_some_families_are_interactive_and_some_animated() -> None:
    designs = [draw(2, family=name) for name in FAMILIES]
    assert sum(bool(design.task.probes) for design in designs) >= 4
    assert sum("@keyframes" in page(design) or "setInterval" in page(design) for design in designs) >= 2


@pytest.mark.parametrize("name", FAMILIES)
def test_variations_differ_from_the_page_as_described(name: str) -> None:
    rng = random.Random(name)
    for seed in SEEDS:
        design = draw(seed, family=name)
        wrong, said = vary(design, rng, rng.randint(1, 4))
        assert wrong != page(design)
        assert 1 <= len(said) <= 5
        assert all(said)
        right, seen = look(page(design)), look(wrong)
        assert right != seen
        for sentence in said:
            found, wanted = re.findall(r"#[0-9a-f]{6}", sentence) or [None, None]
            if found:
                assert found in wrong or found == INK
                assert wanted in page(design) or wanted == INK
            if "is missing" in sentence:
                text = sentence.split('"')[1]
                assert text in {mark.text for mark in right.marks}
                assert text not in {mark.text for mark in seen.marks}


def test_variation_is_reproducible() -> None:
    design = draw(3)
    assert vary(design, random.Random(5), 3) == vary(design, random.Random(5), 3)


def test_unknown_family_is_refused() -> None:
    with pytest.raises(ValueError, match="no family is called 'hiro'"):
        draw(1, family="hiro")
    with pytest.raises(ValueError, match="num is -1"):
        tasks(-1, 0)


def test_static_look_reads_computed_styles() -> None:
    seen = look(
        "<style>*{color:inherit}body{background:#102030;color:#ffffff;font:20px sans-serif}"
        ".a,#b{background:#ff0000}p{font-size:12px}@keyframes k{from{color:#000000}to{color:#111111}}</style>"
        '<body><p class="a">one</p><b id="b">two</b><p hidden>no</p>three</body>'
    )
    assert seen.canvas == (16, 32, 48)
    assert [(mark.text, mark.style.background, mark.style.font_px) for mark in seen.marks] == [
        ("one", (255, 0, 0), 12),
        ("two", (255, 0, 0), 20),
        ("three", (16, 32, 48), 20),
    ]
    assert {mark.style.color for mark in seen.marks} == {(255, 255, 255)}


@pytest.mark.browser
async def test_browser_agrees_with_designs_looks_and_probes() -> None:
    from actors.browser.renderer import ChromiumRenderer
    from actors.settings import BrowserSettings

    renderer = ChromiumRenderer(BrowserSettings())
    await renderer.start()
    try:
        for name in FAMILIES:
            design = draw(11, family=name)
            wrong, _ = vary(design, random.Random(name), 3)
            render = await renderer.render(Page(html=page(design)), design.task.probes)
            assert render.outcome == "ok", (name, render.detail)
            assert all(probe.held for probe in render.probes), (name, render.probes)
            assert len(render.probes) == len(design.task.probes)
            pictures = {shot.sha256 for shot in render.shots if shot.at_ms <= 2000 and not shot.label}
            assert len(pictures) == (3 if name in MOVING else 1), name
            for html, shown in ((page(design), render), (wrong, await renderer.render(Page(html=wrong)))):
                assert shown.background == look(html).canvas
                marks = [(m.text, m.style.color, m.style.background, m.style.font_px) for m in look(html).marks]
                blocks = [(b.text, b.color, b.background, round(b.font_px)) for b in shown.blocks]
                gone = {(design.traits["start"],), (shown.blocks[1].text,)} if name == "timer" else set()
                assert [b for b in blocks if b[:1] not in gone] == [m for m in marks if m[:1] not in gone], name
    finally:
        await renderer.stop()
