"""Tests of the files of an answer: default and public reading, and the problems that a policy is told."""

import pytest

from reward.benchmarks.file_blocks import read_files, write_files

HTML = "<html><body>1</body></html>"
INNER = "const help = `\n```js\nrun()\n```\n`"


def test_each_block_is_a_file_with_its_path_on_the_first_line() -> None:
    text = f"Done.\n```html\nindex.html\n{HTML}\n```\nand\n```javascript\n/sub dir/a.b.js\nrun()\n\n```\n"
    assert read_files(text).files == {"index.html": HTML, "sub dir/a.b.js": "run()\n"}
    assert read_files(text, faithful=True).files == {"index.html": HTML, "sub dir/a.b.js": "run()"}


@pytest.mark.parametrize(
    "fence", ["```a.js\nx\n```", "```js a.js\nx\n```", "```js\n\na.js\nx\n```", "```js\nx\na.js\n```"]
)
def test_paths_are_also_read_from_the_fence_and_the_last_line(fence: str) -> None:
    assert read_files(fence).files == {"a.js": "x"}


def test_backticks_inside_of_the_code_end_no_block_unless_faithful() -> None:
    text = f"```js\na.js\n{INNER}\n```\n"
    assert read_files(text).files == {"a.js": INNER}
    assert read_files(text, faithful=True).files == {"a.js": "const help = `"}
    assert read_files("```js\na.js\nlet s = '```'\nrun()\n```").files == {"a.js": "let s = '```'\nrun()"}


def test_a_longer_fence_holds_shorter_ones() -> None:
    files = {"a.md": "text\n```\ncode\n```\n````\n", "b.css": "p {}"}
    assert read_files(write_files(files)).files == files


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("no code", "no fenced block"),
        (f"```html\n{HTML}\n```", "A block has no file name on the line after its language; it begins with: <html>"),
        ("```js\na.js\nrun()", "The block of a.js is not closed"),
        ("```js\n../a.js\nrun()\n```", "../a.js is not a path inside of the project"),
        (f"```js\n{'a' * 300}.js\nrun()\n```", "is not a path inside"),
        ("```html\nindex.html\n<p>1</p>\n```", "index.html is not a whole document"),
        (f"```html\nindex.html\n{HTML}\n```\n```js\nrun()\n```", "A block has no file name"),
    ],
)
def test_an_unusable_answer_has_a_problem_and_no_files(text: str, words: str) -> None:
    written = read_files(text)
    assert words in written.problem
    assert "\n" not in written.problem
    assert written.files == {}


def test_the_public_reading_drops_blocks_without_a_path_and_keeps_files_before_a_problem() -> None:
    text = f"```html\nindex.html\n{HTML}\n```\n```js\nrun(1)\n```\n```html\nb.html\n<p>1</p>\n```\n"
    written = read_files(text, faithful=True)
    assert written.files == {"index.html": HTML}
    assert "b.html is not a whole document" in written.problem
    assert read_files("no code", faithful=True) == read_files("```js\nrun(1)\n```", faithful=True)


def test_blocks_in_a_thought_are_no_files() -> None:
    text = f"<think>\n```js\na.js\ndraft()\n```\n</think>\n```html\nindex.html\n{HTML}\n```"
    assert read_files(text).files == {"index.html": HTML}
