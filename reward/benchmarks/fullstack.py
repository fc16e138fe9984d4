"""FullStack-Bench-Html (arXiv 2412.00535): the page in an answer, and the test file with that page.

`faithful` follows the public sandbox at commit 469de08.
"""

import json
import re

from rollout.parsing import parse_page

MARKER = "#<INSERT>"
"""The place of the page in a test file; a test file without it opens index.html."""
FENCE = re.compile(r"^[ \t]*```[ \t]*([\w+-]*)[^\n]*\n(.*?)(^[ \t]*```|\Z)", re.MULTILINE | re.DOTALL)
QUOTED = re.compile(r"""([`'"])#<INSERT>\1""")
HTML = frozenset({"html", "htm"})


def page_of(text: str, *, faithful: bool) -> str | None:
    """The page in an answer; None if there is none.

    Default: a whole document, else the first closed html block, because many tasks ask for a part of a page. Faithful:
    the first closed html block, else the first one that its answer cuts, else the first block of any language.
    """
    said = text.rpartition("</think>")[2]
    found = [(name.lower(), content, bool(end)) for name, content, end in FENCE.findall(said)]
    closed = [content for name, content, ended in found if name in HTML and ended]
    if not faithful:
        return parse_page(text).html or next(filter(str.strip, closed), None)
    cut = [content for name, content, ended in found if name in HTML and not ended]
    return next(iter(closed + cut + [content for _, content, _ in found]), None)


def with_page(code: str, page: str, *, faithful: bool) -> str:
    """The test file with a page at its marker: as a quoted string or, faithful, as it is.

    Pasted as it is, a backtick, a backslash or `${` of the page changes or ends the string of the test.
    """
    if faithful:
        return code.replace(MARKER, page)
    whole = QUOTED.sub(lambda _: json.dumps(page), code)
    return whole.replace(MARKER, page.replace("\\", "\\\\").replace("`", "\\`").replace("${", "\\${"))
