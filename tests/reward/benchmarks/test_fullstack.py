"""Tests of FullStack-Bench-Html's pure parts: the page in an answer, and its place in a test file."""

import json

import pytest

from reward.benchmarks.fullstack import page_of, with_page

WHOLE = "<!DOCTYPE html><html><body><p>one</p></body></html>"


@pytest.mark.parametrize(
    ("text", "repaired", "faithful"),
    [
        (f"Here:\n```html\n{WHOLE}\n```\n", WHOLE, WHOLE),
        ("```html\n<ul><li>part</li></ul>\n```", "<ul><li>part</li></ul>", "<ul><li>part</li></ul>"),
        ("```css\np {}\n```\n```html\n<p>x</p>\n```", "<p>x</p>", "<p>x</p>"),
        ("```html\n<p>cut", None, "<p>cut"),
        ("```js\nlet a;\n```", None, "let a;"),
        ("I cannot.", None, None),
    ],
    ids=["whole", "part", "second block", "cut", "another language", "no block"],
)
def test_the_page_of_an_answer(text: str, repaired: str | None, faithful: str | None) -> None:
    for wanted, mode in ((repaired, False), (faithful, True)):
        found = page_of(text, faithful=mode)
        assert (found and found.strip()) == wanted


def test_a_page_is_a_quoted_string_in_its_test() -> None:
    page = "<p>`${x}` \\n \"quoted\" 'too'</p>"
    for quote in "`'\"":
        code = with_page(f"await page.setContent({quote}#<INSERT>{quote});", page, faithful=False)
        assert json.loads(code.removeprefix("await page.setContent(").removesuffix(");")) == page
    assert with_page("set(`<div>#<INSERT></div>`)", "`${x}\\", faithful=False) == "set(`<div>\\`\\${x}\\\\</div>`)"
    assert with_page("set(`#<INSERT>`)", "`${x}\\", faithful=True) == "set(``${x}\\`)"
