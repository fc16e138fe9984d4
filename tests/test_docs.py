"""The documents agree with the code: the paths, modules, targets, settings and Protocols that they name exist."""

import ast
import re
import typing
from pathlib import Path

import pytest
from pydantic import BaseModel

from cluster.settings import RunSettings

ROOT = Path(__file__).parent.parent
ROOMS = ("rollout", "reward", "learner", "actors", "cluster")
DOCUMENTS = sorted(path for path in (*ROOT.glob("*.md"), *ROOT.glob("docs/*.md")) if path.name != "CHANGELOG.md")
FOLDERS = "|".join((*ROOMS, "deploy", "docs", "requirements", "tests"))
PATHS = re.compile(rf"(?<![\w./-])(?:{FOLDERS})/[\w./-]*\w")
MODULES = re.compile(r"python -m ((?:cluster|learner)\.[\w.]*\w)")
SETTINGS = re.compile(r"`([a-z_]+)\.([a-z_]+)\b")
SUFFIXES = {"html", "json", "jsonl", "md", "py", "toml", "txt"}


def name_of(path: Path) -> str:
    return str(path.relative_to(ROOT))


def module_exists(dotted: str) -> bool:
    place = ROOT.joinpath(*dotted.split("."))
    return place.with_suffix(".py").is_file() or (place / "__init__.py").is_file()


def sections() -> dict[str, type[BaseModel]]:
    """Sections of a run's settings by name."""
    hints = typing.get_type_hints(RunSettings)
    kinds = {name: hints[name] for name in RunSettings.model_fields}
    return {name: kind for name, kind in kinds.items() if isinstance(kind, type) and issubclass(kind, BaseModel)}


@pytest.mark.parametrize("path", DOCUMENTS, ids=name_of)
def test_paths_and_modules_that_a_document_names_exist(path: Path) -> None:
    text = path.read_text(encoding="utf-8")
    assert [place for place in PATHS.findall(text) if not (ROOT / place).exists()] == []
    assert [module for module in MODULES.findall(text) if not module_exists(module)] == []


@pytest.mark.parametrize("path", DOCUMENTS, ids=name_of)
def test_settings_that_a_document_names_exist(path: Path) -> None:
    known = sections()
    named = SETTINGS.findall(path.read_text(encoding="utf-8"))
    unknown = [
        f"{section}.{name}"
        for section, name in named
        if section in known
        and name not in known[section].model_fields
        and name not in SUFFIXES
        and not module_exists(f"{section}.{name}")
    ]
    assert unknown == []


def test_the_readme_lists_every_section_with_the_file_of_its_settings() -> None:
    listed: dict[str, str] = {}
    for line in (ROOT / "README.md").read_text(encoding="utf-8").splitlines():
        row = re.fullmatch(r"\| ((?:`\[\w+\]` ?)+) \|.*\| `([\w/]+\.py)` \|", line)
        if row:
            listed |= dict.fromkeys(re.findall(r"\[(\w+)\]", row[1]), row[2])
    assert listed == {name: f"{kind.__module__.replace('.', '/')}.py" for name, kind in sections().items()}


def test_the_targets_that_the_readme_names_are_in_the_makefile() -> None:
    named = set(re.findall(r"^    make ([a-z]+) ", (ROOT / "README.md").read_text(encoding="utf-8"), re.MULTILINE))
    targets = set(re.findall(r"^([a-z]+):", (ROOT / "Makefile").read_text(encoding="utf-8"), re.MULTILINE))
    assert {"demo", "test"} <= named
    assert named <= targets


def test_contributing_lists_the_protocols_of_the_code() -> None:
    found = set()
    for path in (path for room in ROOMS for path in (ROOT / room).rglob("*.py")):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.ClassDef) and any(ast.unparse(base).startswith("Protocol") for base in node.bases):
                found.add((node.name, name_of(path)))
    text = (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8")
    assert set(re.findall(r"`(\w+)`\s+\(`([\w/]+\.py)`\)", text)) == found
