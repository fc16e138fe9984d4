"""Tests of search-and-replace edits: round trips, matches, mistakes, and pages of a megabyte."""

import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rollout.edits import Edit, EditError, apply, blocks, is_exact, make, parse, show

PAGE = "<ul>\n  <li>one</li>\n  <li>two</li>\n</ul>\n<p>one</p>"
LINES = st.sampled_from(
    [
        "",
        " ",
        "a",
        "b",
        "  a",
        "\ta ",
        "é\u2028",
        "a\r",
        "<<<<<<< SEARCH",
        "=======",
        ">>>>>>> REPLACE",
        "======== ",
        "x\x0c",
    ]
)
TEXTS = st.lists(LINES, min_size=1, max_size=12).map("\n".join) | st.text(max_size=40)
PARTS = st.lists(LINES | st.text(st.characters(exclude_characters="\n"), max_size=8), max_size=5).map(tuple)
EDITS = st.builds(Edit, search=PARTS.filter(lambda lines: any(line.strip() for line in lines)), replace=PARTS)


def edit(search: str, replace: str | None) -> Edit:
    return Edit(search=tuple(search.split("\n")), replace=() if replace is None else tuple(replace.split("\n")))


def failure(text: str, *edits: Edit) -> EditError:
    with pytest.raises(EditError) as raised:
        apply(text, edits)
    return raised.value


@given(TEXTS, TEXTS)
def test_edits_made_from_two_texts_turn_one_into_the_other(old: str, new: str) -> None:
    if not old.strip(" \t\r\n") and old != new:
        with pytest.raises(ValueError, match="blank"):
            make(old, new)
        return
    edits = make(old, new)
    assert apply(old, edits) == new
    assert is_exact(old, edits)
    assert bool(edits) == (old != new)
    if edits:
        assert parse(show(edits)) == (edits, "\n" * (len(edits) - 1))


@given(st.lists(EDITS, max_size=4))
def test_written_edits_are_parsed_as_they_were(edits: list[Edit]) -> None:
    assert parse(show(edits))[0] == tuple(edits)


@given(st.lists(LINES | st.sampled_from([">>>>>> REPLACE", "<<<<<<<< SEARCH", "prose"]), max_size=12), TEXTS)
def test_any_text_is_parsed_and_applied_or_refused(lines: list[str], page: str) -> None:
    try:
        edited = apply(page, parse("\n".join(lines))[0])
    except EditError as error:
        edited = str(error)
    assert isinstance(edited, str)


def test_edits_apply_in_order_to_the_result_of_the_earlier_ones() -> None:
    assert apply(PAGE, (edit("<ul>", "<ol>"), edit("<ol>\n  <li>one</li>", "<ol>"))) == PAGE.replace(
        "<ul>\n  <li>one</li>", "<ol>"
    )
    assert failure(PAGE, edit("<ul>", "<ol>"), edit("<ul>", "<p>")).code == "missing_search"


def test_empty_replacement_deletes_lines_and_an_empty_line_remains_a_line() -> None:
    assert apply("a\nb\nc", (edit("b", None),)) == "a\nc"
    assert apply("a\nb\nc", (edit("b", ""),)) == "a\n\nc"
    assert apply("a", (edit("a", None),)) == ""


def test_only_whole_lines_match() -> None:
    assert failure("<p>one</p>", edit("one", "two")).code == "missing_search"


@pytest.mark.parametrize(
    ("searched", "replaced", "wanted"),
    [
        ("<li>two</li>", "<li>2</li>\n<li>3</li>", "  <li>2</li>\n  <li>3</li>"),
        ("    <li>two</li>  ", "    <li>2</li>\n      <b>", "  <li>2</li>\n    <b>"),
        ("<li>two</li>", "<li>two</li>\n\n<hr>", "  <li>two</li>\n\n  <hr>"),
        ("    <li>two</li>", "<hr>", "  <hr>"),
    ],
)
def test_match_that_differs_in_blanks_keeps_the_indentation_of_the_page(
    searched: str, replaced: str, wanted: str
) -> None:
    edits = (edit(searched, replaced),)
    assert apply(PAGE, edits) == PAGE.replace("  <li>two</li>", wanted)
    assert not is_exact(PAGE, edits)


def test_line_repeated_from_a_tolerant_match_is_kept_as_it_was() -> None:
    flat = edit("<ul>\n<li>one</li>\n<li>two</li>", "<ul>\n<li>one</li>\n<li>new</li>\n<li>two</li>")
    assert apply(PAGE, (flat,)) == PAGE.replace("  <li>two", "<li>new</li>\n  <li>two")


def test_exact_match_is_preferred_to_a_tolerant_one() -> None:
    assert apply("  a\na", (edit("a", "b"),)) == "  a\nb"


def test_match_that_occurs_twice_is_refused_with_both_lines() -> None:
    error = failure("a\nb\na\nb", edit("a", "c"))
    assert (error.code, "at lines 1 and 3" in str(error), '"a"' in str(error)) == ("ambiguous_search", True, True)
    assert failure("a\na\na", edit("a\na", "c")).code == "ambiguous_search", "matches that overlap"
    assert failure(" a\n  a", edit("a", "c")).code == "ambiguous_search", "matches apart from blanks"


def test_match_that_is_missing_is_refused_with_the_first_unknown_line() -> None:
    error = failure(PAGE, edit("<ul>\n  <li>three</li>", "x"))
    assert error.code == "missing_search"
    assert 'no line "<li>three</li>"' in str(error)
    assert "in this order" in str(failure(PAGE, edit("</ul>\n<ul>", "x")))


@pytest.mark.parametrize(
    ("text", "code", "said"),
    [
        ("<<<<<<< SEARCH\na\n=======\nb", "malformed_edit", "has no >>>>>>> REPLACE"),
        ("<<<<<<< SEARCH\na\n>>>>>>> REPLACE", "malformed_edit", "has no ======="),
        ("<<<<<<< SEARCH\na\n=======\nb\n=======\nc\n>>>>>>> REPLACE", "malformed_edit", "has no >>>>>>> REPLACE"),
        ("<<<<<<< SEARCH\na\n<<<<<<< SEARCH\na\n=======\n>>>>>>> REPLACE", "malformed_edit", "edit 1 has no ======="),
        ("a\n=======\nb\n>>>>>>> REPLACE", "malformed_edit", "has no <<<<<<< SEARCH"),
        ("<<<<< SEARCH\na\n=====\nb\n>>>>> REPLACE", "malformed_edit", "is no marker"),
        ("<<<<<<< SEARCH\na\n========\nb\n>>>>>>> REPLACE", "malformed_edit", "has no ======="),
        ("<<<<<<< SEARCH\n=======\nb\n>>>>>>> REPLACE", "empty_search", "SEARCH part of edit 1 is empty"),
        ("<<<<<<< SEARCH\n \n=======\nb\n>>>>>>> REPLACE", "empty_search", "edit 1"),
    ],
)
def test_block_that_is_not_well_formed_is_refused(text: str, code: str, said: str) -> None:
    with pytest.raises(EditError, match=said.replace("(", "\\(")) as raised:
        parse(text)
    assert raised.value.code == code


def test_text_outside_of_blocks_is_returned() -> None:
    first, second = edit("a", "b"), edit("c", None)
    text = f"Title\n=======\n{show([first])}\nand\n{show([second])}\nend"
    assert parse(text) == ((first, second), "Title\n=======\n\nand\n\nend")
    assert parse("no block") == ((), "no block")


def test_markers_with_trailing_blanks_and_carriage_returns_are_markers() -> None:
    text = show([edit("a", "b")]).replace("\n", " \r\n")
    assert [block.edit is not None for block in blocks(text)] == [True]
    assert apply("a", parse(text)[0]) == "b \r"


def test_made_edits_quote_few_lines() -> None:
    page = "\n".join(f"<p>{number}</p>\n</div>" for number in range(200))
    (made,) = make(page, page.replace("<p>70</p>\n</div>", "<p>70</p>\n<hr>\n</div>"))
    assert made == Edit(search=("<p>70</p>",), replace=("<p>70</p>", "<hr>"))


@pytest.mark.parametrize("kind", ["different", "repeated"])
def test_pages_of_a_megabyte_are_edited(kind: str) -> None:
    rng = random.Random(0)
    lines = [f"<p>{rng.random()}</p>" if kind == "different" else "<p></p>" for _ in range(60_000)]
    changed = list(lines)
    for place in range(500, 60_000, 6_000):
        changed[place] = f"<b>{place}</b>"
    old, new = "\n".join(lines), "\n".join(changed)
    edits = make(old, new)
    assert apply(old, edits) == new
    many = [edit(line, line.upper()) for line in changed[500::6_000]] * 20
    if kind == "different":
        assert failure(new, *many).code == "missing_search"
