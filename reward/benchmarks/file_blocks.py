"""Reads the files of a Web-Bench answer: one fenced block for each file, with the path on the block's first line."""

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from rollout.fences import END_THOUGHT

FENCE = re.compile(r" {0,3}(?P<ticks>`{3,})(?P<info>[^`]*)")
"""A line that opens or closes a block."""
PUBLIC_BLOCK = re.compile(r"```([\s\S]+?)```")
"""A block as the public harness finds it: up to the next three backticks, even inside of the file."""
LANGUAGE = re.compile(r"[A-Za-z][A-Za-z+#]*")
PATH = re.compile(r"/?(?:[\w@()\[\], .+-]+/)*[\w()\[\], +-]+(?:\.[\w-]+)*\.[A-Za-z]\w*")
LONGEST_PATH = 200
LONGEST_SHOWN = 60
DOCUMENT = re.compile(r"<(?:html|body)[\s>]", re.IGNORECASE)


@dataclass(frozen=True, slots=True, kw_only=True)
class WrittenFiles:
    """The files of an answer. Example: `WrittenFiles(files={"index.html": "<html>…"})`."""

    files: Mapping[str, str]
    """Relative path → text, without the last line break."""
    problem: str = ""
    """Reason for which the answer cannot be used, in words for the policy; empty if it can."""


@dataclass(frozen=True, slots=True, kw_only=True)
class _Block:
    info: str
    lines: tuple[str, ...]
    closed: bool = True


def read_files(text: str, *, faithful: bool = False) -> WrittenFiles:
    """The files of an answer; with a problem there are none.

    `faithful` finds blocks as the public harness does, drops blocks without a path, and keeps the files before a
    problem.
    """
    files: dict[str, str] = {}
    problem = ""
    for block in _public_blocks(text) if faithful else _blocks(_without_thought(text)):
        path, content = _split(block)
        problem = _problem(block, path, content)
        if faithful and not path:
            problem = ""
            continue
        if problem:
            break
        files[path] = content
    if not files and not problem and not faithful:
        problem = "The answer has no fenced block with a file."
    return WrittenFiles(files=files if faithful or not problem else {}, problem=problem)


def write_files(files: Mapping[str, str]) -> str:
    """The files in the form of an answer."""
    blocks: list[str] = []
    for path, content in files.items():
        longest = max((len(run) for run in re.findall("`+", content)), default=0)
        fence = "`" * max(3, longest + 1)
        blocks.append(f"{fence}{path.rpartition('.')[2]}\n{path}\n{content}\n{fence}")
    return "\n".join(blocks)


def _blocks(text: str) -> Iterator[_Block]:
    """Yields the blocks between fences that have a line of their own.

    A line with backticks and a language inside of a block opens an inner block, which the next line of backticks alone
    closes.
    """
    opening: re.Match[str] | None = None
    lines: list[str] = []
    depth = 0
    for line in text.split("\n"):
        fence = FENCE.fullmatch(line.rstrip("\r"))
        if opening is None:
            opening = fence
            lines = []
            depth = 0
            continue
        if fence is not None and len(fence["ticks"]) >= len(opening["ticks"]):
            named = bool(fence["info"].strip())
            if not named and depth == 0:
                yield _Block(info=opening["info"].strip(), lines=tuple(lines))
                opening = None
                continue
            depth += 1 if named else -1
        lines.append(line)
    if opening is not None:
        yield _Block(info=opening["info"].strip(), lines=tuple(lines), closed=False)


def _public_blocks(text: str) -> Iterator[_Block]:
    """Yields the blocks as the public harness finds them."""
    for match in PUBLIC_BLOCK.finditer(text):
        first, *rest = match[1].strip("\r\n").split("\n")
        if LANGUAGE.fullmatch(first):
            yield _Block(info=first, lines=tuple(rest))
        else:
            yield _Block(info="", lines=(first, *rest))


def _split(block: _Block) -> tuple[str, str]:
    """Path and content of a block; the path is empty if it has none.

    The path is at the end of the fence's info string, or it is the first line, or the last one.
    """
    lines = list(block.lines)
    named = block.info.rpartition(" ")[2]
    if PATH.fullmatch(named):
        return named.lstrip("/"), "\n".join(lines)
    while lines and not lines[0].strip():
        lines.pop(0)
    for place in (0, -1):
        if lines and PATH.fullmatch(lines[place].strip()):
            return lines.pop(place).strip().lstrip("/"), "\n".join(lines)
    return "", "\n".join(lines)


def _problem(block: _Block, path: str, content: str) -> str:
    if not path:
        start = " ".join(content.split())[:LONGEST_SHOWN]
        return f"A block has no file name on the line after its language; it begins with: {start}"
    if not block.closed:
        return f"The block of {path} is not closed."
    if len(path) > LONGEST_PATH or any(part in (".", "..") for part in path.split("/")):
        return f"{path[:LONGEST_SHOWN]} is not a path inside of the project."
    if path.endswith((".html", ".htm")) and not DOCUMENT.search(content):
        return f"{path} is not a whole document: it has neither an <html> nor a <body> tag."
    return ""


def _without_thought(text: str) -> str:
    """The text after a model's thought."""
    ends = [match.end() for match in END_THOUGHT.finditer(text)]
    return text[ends[-1] :] if ends else text
