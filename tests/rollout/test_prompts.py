"""Tests of the prompts: the description of available libraries."""

from rollout.prompts import EDITS, WHOLE_PAGE, answer, first, review, revise
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


def test_prompt_for_edits_shows_the_page_exactly_and_asks_for_no_whole_page() -> None:
    page = Page(html="<ul>\n\t<li> a  \n</ul>")
    system, _, shown, feedback = revise(SERVED, page, ("worse",), as_edits=True)
    assert EDITS in system.content
    assert WHOLE_PAGE not in system.content
    assert shown.content == answer(page.html or "")
    assert [feedback, shown] == [revise(SERVED, page, ("worse",))[3], revise(SERVED, page, ("worse",))[2]]
    assert WHOLE_PAGE in revise(SERVED, page, ("worse",))[0].content
