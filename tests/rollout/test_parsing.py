"""Tests of the answer parser: pages, thoughts, stop strings and feedback."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rollout.edits import make, show
from rollout.parsing import is_over, parse_answer, parse_edits, parse_feedback, parse_page
from rollout.prompts import END_FEEDBACK, GET_FEEDBACK, answer, edit_answer, feedback_text

PAGE = "<!doctype html>\n<html><body>hi</body></html>"
INNER = {
    "text area": "<textarea>\n# Notes\n\n```js\nlet a\n```\n\n```\nplain\n```\n</textarea>",
    "script": '<script type="text/markdown">\n```html\n<!doctype html><html></html>\n```\n</script>',
    "list of lines": "<div class='md'>\n```\none\n```\n\n```python\ntwo\n```\n</div>",
    "one fence in a comment": "<!--\n```\n-->",
    "an address": '<iframe srcdoc="<html></html>\n```\n"></iframe>',
    "a string": '<script>const end = "</html>";\n// ```\n</script>\n<p>more</p>',
    "markup of models": "<p>They write &lt;think>, </think> and <get_feedback/></p>",
}
"""Page content that looks like the end of the page's block."""


def document(inner: str) -> str:
    return f"<!DOCTYPE html>\n<html><head><title>t</title></head><body>\n{inner}\n</body></html>"


def test_requested_answer_format_round_trips() -> None:
    page = parse_page(answer(PAGE, "a plan"))
    assert (page.html, page.thought, page.problem, page.format_ok) == (PAGE, "a plan", "", True)


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("no page at all", "no_fence"),
        ("```html\n<p>cut", "unclosed_fence"),
        ("```html\n<p>a\n```\n```html\n<p>b\n```\n", "two_pages"),
        (f"```html\n{PAGE}\n```html\n{PAGE}\n```\n", "two_pages"),
        ("```html\n\n```\n<get_feedback/>", "empty_page"),
        ("", "no_fence"),
        (f"{PAGE}\n<get_feedback/>", "no_fence"),
        (f"```html\n{PAGE}<get_feedback/>", "unclosed_fence"),
        (f"```html\n{document('<textarea>')}"[:-20] + "\n```js\nlet a\n```\n", "unclosed_fence"),
        (f"<think>```html\n{PAGE}\n```</think>I give up", "no_fence"),
        ("```js\nlet a\n```\n<get_feedback/>", "no_fence"),
        ("```html blocks are what you want, so", "no_fence"),
    ],
)
def test_answer_without_a_page_has_a_problem_code(text: str, problem: str) -> None:
    page = parse_page(text)
    assert (page.html, page.problem, page.format_ok) == (None, problem, False)


@pytest.mark.parametrize(
    "text",
    [
        f"```html\n{PAGE}\n```\nthat's it <get_feedback/>",
        f"Here you are:\n```html\n{PAGE}\n```\n<get_feedback/>",
        f"Here you are:```html\n{PAGE}\n```\n<get_feedback/>",
        f"<think>open\n```html\n{PAGE}\n```\n<get_feedback/>",
        f"```html\n{PAGE}\n```\n",
        f'```html file="a page.html"\n{PAGE}\n```\n<get_feedback/>',
        f"```index.html\n{PAGE}\n```\n<get_feedback/>",
        f"```html:site/index.html\n{PAGE}\n```\n<get_feedback/>",
        f"```\n{PAGE}\n```\n<get_feedback/>",
        f"```html\n{PAGE}```\n<get_feedback/>",
        f"```html\n```html\n{PAGE}\n```\n<get_feedback/>",
        f"````html\n{PAGE}\n```\n<get_feedback/> ",
        f"```html\n{PAGE}\n```\n```css\np{{}}\n```\nThe </html> tag ends it.\n```\n",
        f"```html\n{PAGE}\n```\nI closed </think> as you see.",
    ],
)
def test_page_in_an_unusual_format_is_parsed(text: str) -> None:
    page = parse_page(text)
    assert page.html == PAGE
    assert page.format_ok == text.startswith("````")


@pytest.mark.parametrize(
    "opening", ["```html", "```HTML", "```html ", "``` html", "  ```html", "````html", "\n```Html\t"]
)
@pytest.mark.parametrize(
    ("head", "thought"),
    [
        ("", ""),
        ("<think>Blue.</think>\n", "Blue."),
        ("<think>\n\n</think>\n\n", ""),
        ("Blue, and a heading.\n</think>\n\n", "Blue, and a heading."),
        ("```html\n<h1>draft</h1>\n```\nBlue.</think>", "```html\n<h1>draft</h1>\n```\nBlue."),
        ("```html\n<h1>never clo\nBlue.</think>", "```html\n<h1>never clo\nBlue."),
        ("<|channel|>analysis<|message|>Hm.<|end|><|start|>assistant<|channel|>final<|message|>", None),
    ],
)
@pytest.mark.parametrize("line", ["\n", "\r\n"], ids=["LF", "CRLF"])
def test_usual_fence_and_thought_formats_are_well_formed(
    opening: str, head: str, thought: str | None, line: str
) -> None:
    ticks = "`" * opening.count("`")
    page = parse_page(f"{head}{opening}\n{PAGE}\n{ticks}\n{GET_FEEDBACK}".replace("\n", line))
    assert (page.html, page.format_ok) == (PAGE, True)
    assert thought is None or page.thought == thought


@pytest.mark.parametrize("inner", INNER.values(), ids=INNER.keys())
def test_page_that_contains_fences_is_read_to_its_end(inner: str) -> None:
    html = document(inner)
    page = parse_page(f"<think>t</think>\n```html\n{html}\n```\n{GET_FEEDBACK}")
    assert (page.html, page.format_ok) == (html, True)


@pytest.mark.parametrize("name", ["text area", "one fence in a comment"])
def test_fragment_that_contains_fences_is_read_to_its_end(name: str) -> None:
    html = f"<h1>Part</h1>\n{INNER[name]}\n<p>end</p>"
    assert parse_page(answer(html)).html == html


@pytest.mark.parametrize("lost", ["</style>", "</title>", "</script>", "</html>"])
def test_page_with_a_missing_end_tag_is_parsed(lost: str) -> None:
    html = document("<style>p {}</style><script>1</script>").replace(lost, "")
    page = parse_page(answer(html))
    assert (page.html, page.format_ok) == (html, True)


thoughts = st.sampled_from(
    [
        "",
        "<think>plan</think>\n",
        "plan\n</think>\n",
        "a ```html draft\n</think>\n",
        f"```html\n{PAGE}\n```\n</think>\n",
    ]
)
fences = st.sampled_from([("```html", "```"), ("```HTML", "```"), ("````html", "````"), ('```html title="a"', "```")])
inners = st.lists(st.one_of(st.sampled_from(list(INNER.values())), st.just("<p>text</p>")), max_size=5)


@settings(deadline=None)
@given(thoughts, fences, inners, st.sampled_from([f"\n{GET_FEEDBACK}", "", "\nDone.", "\n```css\np{}\n```\n"]))
def test_any_thought_fence_and_page_is_parsed_as_the_page(
    thought: str, fence: tuple[str, str], inner: list[str], after: str
) -> None:
    html = document("\n".join(inner))
    text = f"{thought}{fence[0]}\n{html}\n{fence[1]}{after}"
    page = parse_page(text)
    assert (page.html, page.problem) == (html, "")
    assert parse_page(text.replace("\n", "\r\n")) == page


@settings(deadline=None)
@given(st.text())
def test_any_text_is_parsed_without_an_exception(text: str) -> None:
    assert (parse_page(text).html is None) == bool(parse_page(text).problem)
    assert len(parse_feedback(text)) <= 5


@settings(deadline=None)
@given(st.lists(st.sampled_from([*"<>`\n =\"'-a", "```", "html", "<html>", "</html>", "<script", "</think>"])))
def test_any_markup_is_parsed_without_an_exception(parts: list[str]) -> None:
    text = "".join(parts)
    assert (parse_page(text).html is None) == bool(parse_page(text).problem)
    assert is_over(text, GET_FEEDBACK) in (True, False)


SHOWN = "<!doctype html>\n<html><body>\n  <h1>Old</h1>\n  <p>a</p>\n  <p>a</p>\n</body></html>"
WANTED = SHOWN.replace("Old", "New")
EDIT = show(make(SHOWN, WANTED))
DRAFT = EDIT.replace("New", "Draft")


def test_requested_form_of_edits_gives_the_edited_page() -> None:
    page = parse_edits(edit_answer(make(SHOWN, WANTED), "a plan"), SHOWN)
    assert (page.html, page.thought, page.problem, page.format_ok) == (WANTED, "a plan", "", True)
    assert parse_answer(edit_answer(make(SHOWN, WANTED)), SHOWN).html == WANTED
    assert parse_answer(answer(SHOWN), None) == parse_page(answer(SHOWN))


@pytest.mark.parametrize(
    "text",
    [
        f"Here it is:\n{EDIT}\n{GET_FEEDBACK}",
        f"{EDIT}",
        f"{EDIT}{GET_FEEDBACK}",
        f"```html\n{EDIT}\n```\n{GET_FEEDBACK}",
        f"index.html\n```\n{EDIT}\n```\nDone. {GET_FEEDBACK}",
        f"<think>never closed\n{EDIT}\n{GET_FEEDBACK}",
        f"{EDIT.replace('  <h1>', '<h1>')}\n{GET_FEEDBACK}",
        answer(WANTED, "a plan"),
    ],
)
@pytest.mark.parametrize("line", ["\n", "\r\n"])
def test_other_form_of_edits_costs_form_only(text: str, line: str) -> None:
    page = parse_edits(text.replace("\n", line), SHOWN)
    assert (page.html, page.problem, page.format_ok) == (WANTED, "", False)


def test_line_ends_of_an_answer_cost_nothing() -> None:
    assert parse_edits(edit_answer(make(SHOWN, WANTED)).replace("\n", "\r\n"), SHOWN).format_ok


@pytest.mark.parametrize(
    "text",
    [
        f"<think>first {DRAFT}\n</think>\n{EDIT}\n{GET_FEEDBACK}",
        f"first\n{DRAFT}\n</think>\n{EDIT}\n{GET_FEEDBACK}",
        f"<think>\n{DRAFT[:30]}\n</think>\n{EDIT}\n{GET_FEEDBACK}",
        f"<think>\n{answer(SHOWN)}\n</think>\n{EDIT}\n{GET_FEEDBACK}",
    ],
)
def test_edits_drafted_in_a_thought_are_not_applied(text: str) -> None:
    assert parse_edits(text, SHOWN).html == WANTED


@pytest.mark.parametrize(
    ("text", "problem", "detail"),
    [
        (f"it is fine {GET_FEEDBACK}", "no_edit", ""),
        (f"<think>{DRAFT}</think>it is fine {GET_FEEDBACK}", "no_edit", ""),
        (f"<think>\n{DRAFT}\nand then ", "no_edit", ""),
        ("", "no_edit", ""),
        (f"{EDIT}\n{answer(WANTED)}", "page_and_edits", ""),
        (f"```html\n{WANTED}\n```\n{EDIT}\n{GET_FEEDBACK}", "page_and_edits", ""),
        (f"```html\n{WANTED}", "unclosed_fence", ""),
        (f"{EDIT}\n{EDIT[:30]}", "malformed_edit", "edit 2 has no ======="),
        (f"{EDIT}\n{EDIT}\n{GET_FEEDBACK}", "missing_search", '"<h1>Old</h1>"'),
        (EDIT.replace("  <h1>Old</h1>", "  <p>a</p>"), "ambiguous_search", "at lines 4 and 5"),
        (EDIT.replace("<<<<<<< SEARCH", "<<<<< SEARCH"), "malformed_edit", "edit 1 has no <<<<<<< SEARCH"),
        (show(make(SHOWN, "")), "empty_page", ""),
    ],
)
def test_edits_that_cannot_be_applied_have_a_problem_and_are_not_applied_in_part(
    text: str, problem: str, detail: str
) -> None:
    page = parse_edits(text, SHOWN)
    assert (page.html, page.problem, page.format_ok) == (None, problem, False)
    assert detail in page.detail
    assert bool(page.detail) == bool(detail)


@pytest.mark.parametrize("inner", [*INNER.values(), EDIT, "=======\n>>>>>>> REPLACE"])
def test_markup_in_the_page_does_not_confuse_its_edits(inner: str) -> None:
    old, new = document(inner), document(f"<b>new</b>\n{inner}\n<i>new</i>")
    for text in (edit_answer(make(old, new), "t"), edit_answer(make(new, old)), edit_answer(make(PAGE, new))):
        assert is_over(text, GET_FEEDBACK)
    assert parse_edits(edit_answer(make(old, new)), old).html == new
    assert parse_edits(edit_answer(make(new, old)), new).html == old
    assert parse_edits(edit_answer(make(PAGE, new)), PAGE).html == new
    assert parse_edits(answer(new), old).html == new, "a whole page"


@given(st.lists(st.sampled_from([EDIT, DRAFT, PAGE, "```html\n", "```\n", "</think>", "<think>", GET_FEEDBACK, "\n"])))
def test_any_mixture_of_pages_and_edits_is_parsed_without_an_exception(parts: list[str]) -> None:
    page = parse_edits("".join(parts), SHOWN)
    assert (page.html is None) == bool(page.problem)


@pytest.mark.parametrize(
    ("text", "thinking", "over"),
    [
        (f"{EDIT}\n", False, True),
        (f"plan</think>{EDIT}\n", True, True),
        (f"<think></think>{EDIT}\nDone.\n", False, True),
        (f"{EDIT}\n{EDIT[:30]}", False, False),
        (f"<think>perhaps\n{EDIT}\nor ", False, False),
        (f"perhaps\n{EDIT}\nor ", True, False),
        (f"<think>never closed\n{EDIT}\n", False, True),
        (f"```html\n{document(EDIT)[:-7]}", False, False),
        (f"```html\n{document(EDIT)}\n```\n", False, True),
    ],
)
def test_stop_string_in_an_edit_does_not_end_the_answer(text: str, thinking: bool, over: bool) -> None:
    assert is_over(text + GET_FEEDBACK, GET_FEEDBACK, thinking=thinking) == over


@pytest.mark.parametrize(
    ("text", "thinking", "over"),
    [
        (f"```html\n{PAGE}\n```\n", False, True),
        (f"<think>plan</think>```html\n{PAGE}\n```\n", False, True),
        ("no page at all ", False, True),
        ("<think>I must end with ", False, False),
        ("I must end with ", True, False),
        (f"plan</think>```html\n{PAGE}\n```\n", True, True),
        ("<think>The form is ```html\n…\n```\n", False, False),
        (f"<think>never closed\n```html\n{PAGE}\n```\n", False, True),
        ("```html\n<!DOCTYPE html><html><body><p>Send ", False, False),
        ("```html\n<!DOCTYPE html><html><script>const end = '</html>'</script>", False, False),
        (f"```html\n{PAGE}\n", False, True),
        (f"```html\n{PAGE}\n```\nDone.\n", False, True),
    ],
)
def test_stop_string_ends_an_answer_only_outside_thoughts_and_pages(text: str, thinking: bool, over: bool) -> None:
    assert is_over(text + GET_FEEDBACK, GET_FEEDBACK, thinking=thinking) == over


def test_feedback_round_trips() -> None:
    sentences = ("The title is missing.", "It is too wide.")
    assert parse_feedback(feedback_text(sentences)) == sentences
    assert parse_feedback("nothing to say") == ()
    thought = f"<think>Perhaps\n- a draft\nthen {END_FEEDBACK}</think>\n"
    assert parse_feedback(thought + feedback_text(sentences)) == sentences
    assert parse_feedback(thought.removeprefix("<think>") + feedback_text(sentences)) == sentences
