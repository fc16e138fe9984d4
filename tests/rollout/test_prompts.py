"""Tests of the prompts: the description of available libraries."""

from rollout.prompts import first, review, revise
from rollout.records import Page, Task

BARE = Task(id="a", brief="a clock")
SERVED = Task(id="a", brief="a clock", libraries=("d3 (7.9.0)", "the fonts inter, lora"))


def test_prompt_without_a_mirror_says_that_nothing_external_loads() -> None:
    told = first(BARE)[0].content
    assert "no external style, script, font or picture will load" in told


def test_every_prompt_with_a_mirror_names_its_libraries() -> None:
    for messages in (first(SERVED), revise(SERVED, Page(html="<p>"), ("worse",)), review(SERVED, Page(html="<p>"))):
        told = messages[0].content
        assert "d3 (7.9.0), the fonts inter, lora" in told
        assert "There is no network" not in told
        assert "```html block" in told
