"""The house rules that a machine can check; the rest are in CONTRIBUTING.md."""

import ast
import dataclasses
import importlib.metadata
import inspect
import io
import re
import subprocess
import sys
import tokenize
import tomllib
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

import cluster.settings  # noqa: F401 - defines all settings models
import rollout.records
from cluster.commands import COMMANDS
from rollout.settings import Settings

ROOT = Path(__file__).parent.parent
ROOMS = ("rollout", "reward", "learner", "actors", "cluster")
LONGEST_FUNCTION, LONGEST_CLASS, LONGEST_FILE, LONGEST_LOOP = 40, 200, 300, 150
TABLES = {"cluster/storage/trajectory_table.py:schema", "cluster/monitoring/summary.py:summarise"}
"""Functions that are one long table: what is written where."""
LARGEST_FOLDER = 22
MOST_TARGETS = 3
"""Targets of an assignment of a tuple that is written out."""
VAGUE = {"how", "it", "that", "these", "this", "those", "what", "when", "where", "which", "who", "whose", "why"}
"""First words of a docstring that hide whether a function acts or returns something."""
TURNS = {
    r"\bwhat (?:comes|came|was|is|becomes|became|it|they|a|an|the)\b": "the noun: the result, the state, the cause",
    r"\b(?:who|whoever|whom|whose)\b": "the component's name",
    r"\b(?:nobody|somebody|everybody|whatever)\b": "the component's name, or the passive",
    r"\bwhere (?:one|it|none|there)\b": "if, when, unless",
    r"\b(?:anew|aside|alike|apart|besides?)\b": "again, separately, equal, next to",
}
"""Turns of phrase that hide what a sentence is about, each with the plain words to use."""
MOST_TURNS = 0.003
"""Such turns for each word of docstrings and comments, at most."""
HEAVY = ("torch", "ray", "vllm", "deepspeed", "playwright", "mlflow", "transformers", "peft")
# Homes of people and work folders; Ray's own images have theirs in /home/ray.
OUTSIDE = re.compile(r"(?<![\w.}])/(?:work|root|mnt|home(?!/ray\b)|Users)/[\w.]+")
REGISTRY = re.compile(r"\b(?:pypi\.org|pythonhosted\.org|test\.pypi)|/simple/?[\s\"'`]|\bindex-url\s*=", re.IGNORECASE)


def tracked() -> list[Path]:
    """Files of the checkout, as git knows them; everything in the rooms where there is no git."""
    listed = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, text=True, check=False)
    if listed.returncode == 0 and listed.stdout:
        return [path for name in listed.stdout.split("\0") if name and (path := ROOT / name).is_file()]
    return [path for room in ROOMS for path in (ROOT / room).rglob("*.py")]


def modules(*folders: str) -> list[Path]:
    return [path for path in tracked() if path.suffix == ".py" and path.relative_to(ROOT).parts[0] in folders]


def texts() -> Iterator[tuple[Path, str]]:
    for path in tracked():
        try:
            yield path, path.read_text(encoding="utf-8")
        except UnicodeDecodeError:
            continue


def name_of(path: Path) -> str:
    return str(path.relative_to(ROOT))


@pytest.mark.parametrize("path", modules(*ROOMS, "tests", "deploy"), ids=name_of)
def test_a_module_says_what_it_is_for(path: Path) -> None:
    first = (ast.get_docstring(ast.parse(path.read_text(encoding="utf-8"))) or "").partition("\n")[0]
    assert len(first) > 10, f"{name_of(path)}: the first line of a module says what it is for"


@pytest.mark.parametrize("path", modules(*ROOMS, "deploy"), ids=name_of)
def test_functions_and_files_are_short(path: Path) -> None:
    tree = ast.parse(path.read_text(encoding="utf-8"))
    code = code_lines(path, tree)
    assert len(code) <= LONGEST_FILE, f"{name_of(path)} has {len(code)} lines of code: what second thing does it do?"
    for node in ast.walk(tree):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef) and f"{name_of(path)}:{node.name}" not in TABLES:
            lines = len(code & set(range(node.lineno, (node.end_lineno or node.lineno) + 1)))
            assert lines <= LONGEST_FUNCTION, f"{name_of(path)}:{node.lineno} {node.name} has {lines} lines of code"


def test_classes_are_short() -> None:
    sizes: dict[str, int] = {}
    for path in modules(*ROOMS, "deploy"):
        tree = ast.parse(path.read_text(encoding="utf-8"))
        code = code_lines(path, tree)
        for node in ast.walk(tree):
            if isinstance(node, ast.ClassDef):
                lines = len(code & set(range(node.lineno, (node.end_lineno or node.lineno) + 1)))
                sizes[node.name] = max(lines, sizes.get(node.name, 0))
    long = {name: lines for name, lines in sizes.items() if lines > LONGEST_CLASS}
    assert long == {}, "what second thing does it do?"


def code_lines(path: Path, tree: ast.Module) -> set[int]:
    """Numbers of the lines that are neither blank nor a comment nor part of a docstring."""
    lines = enumerate(path.read_text(encoding="utf-8").splitlines(), start=1)
    code = {number for number, line in lines if line.strip() and not line.strip().startswith("#")}
    for node in ast.walk(tree):
        if isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant) and isinstance(node.value.value, str):
            code -= set(range(node.lineno, (node.end_lineno or node.lineno) + 1))
    return code


@pytest.mark.parametrize("path", modules(*ROOMS, "deploy"), ids=name_of)
def test_what_is_public_says_what_it_does(path: Path) -> None:
    tree = ast.parse(path.read_text(encoding="utf-8"))
    kinds = ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef
    for node in tree.body:
        if isinstance(node, kinds) and not node.name.startswith("_"):
            assert ast.get_docstring(node), f"{name_of(path)}:{node.lineno} {node.name} has no docstring"


@pytest.mark.parametrize("path", modules(*ROOMS, "deploy"), ids=name_of)
def test_a_docstring_begins_with_the_action_or_the_value(path: Path) -> None:
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            words = (ast.get_docstring(node) or "").lower().split()
            first = words[0].strip(",.:;") if words else ""
            place = f"{name_of(path)}:{node.lineno} {node.name}"
            assert first not in VAGUE, f"{place} begins with {first!r}: begin with a verb, or name the returned value"
            assert words[:2] not in (["the", "one"], ["the", "ones"]), f"{place}: name the returned value"
            returns = ast.unparse(node.returns) if node.returns else ""
            assert first != "whether" or "bool" in returns, f"{place} begins with 'Whether', but returns {returns}"


def test_assignments_have_few_targets() -> None:
    wide = [
        f"{name_of(path)}:{node.lineno}"
        for path in modules(*ROOMS, "deploy")
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        if isinstance(node, ast.Assign) and isinstance(node.targets[0], ast.Tuple) and isinstance(node.value, ast.Tuple)
        if len(node.value.elts) > MOST_TARGETS
    ]
    assert wide == [], "write several assignments"


def test_every_setting_is_read() -> None:
    read = {name for path in modules(*ROOMS) for name in read_names(ast.parse(path.read_text(encoding="utf-8")))}
    models = [Settings]
    for model in models:
        models += model.__subclasses__()
    fields = {f"{model.__name__}.{name}": name for model in models for name in model.model_fields}
    assert len(fields) > 100
    assert [field for field, name in fields.items() if name not in read] == [], "nothing reads it: remove it"


def read_names(tree: ast.AST) -> Iterator[str]:
    """Names of the attributes that code reads, without the validators of settings."""
    for node in ast.iter_child_nodes(tree):
        decorators = getattr(node, "decorator_list", [])
        if any("validator" in ast.unparse(decorator) for decorator in decorators):
            continue
        if isinstance(node, ast.Attribute) and isinstance(node.ctx, ast.Load):
            yield node.attr
        yield from read_names(node)


@pytest.mark.parametrize("path", modules(*ROOMS), ids=name_of)
def test_nothing_is_swallowed(path: Path) -> None:
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.ExceptHandler):
            broad = node.type is None or ast.unparse(node.type) in ("Exception", "BaseException")
            raises = any(isinstance(inner, ast.Raise) for inner in ast.walk(node))
            assert not broad or raises, f"{name_of(path)}:{node.lineno} swallows what it does not know"


def test_the_loop_fits_on_two_pages() -> None:
    assert (ROOT / "cluster" / "training" / "loop.py").read_text(encoding="utf-8").count("\n") <= LONGEST_LOOP


def test_records_never_change_after_birth() -> None:
    records: list[Any] = [kind for _, kind in inspect.getmembers(rollout.records, dataclasses.is_dataclass)]
    assert len(records) > 20
    for kind in records:
        parameters = kind.__dataclass_params__
        assert parameters.frozen, kind
        assert "__slots__" in vars(kind), kind
        assert all(field.kw_only for field in dataclasses.fields(kind)), kind
        assert not (kind.__doc__ or f"{kind.__name__}(").startswith(f"{kind.__name__}("), f"{kind} has no docstring"


@pytest.mark.parametrize("room", ROOMS)
def test_no_settings_import_an_engine(room: str) -> None:
    assert imported(f"import {room}.settings") == set()


@pytest.mark.parametrize("words", [[], *([name] for name in COMMANDS)], ids=" ".join)
def test_help_imports_no_engine(words: list[str]) -> None:
    code = f"""
import contextlib, io
from cluster.__main__ import main
with contextlib.redirect_stdout(io.StringIO()), contextlib.suppress(SystemExit):
    main({[*words, "--help"]})
"""
    assert imported(code) == set()


@pytest.mark.parametrize("module", ["actors.learner.rank", "learner.builtin.warmstart"])
def test_a_process_that_trains_sets_the_threads_environment_before_torch_reads_it(module: str) -> None:
    assert imported(f"import {module}") == set()


def imported(code: str) -> set[str]:
    """Which engines a fresh process has loaded after some code."""
    code += f"\nimport sys; print(*(set(sys.modules) & set({HEAVY})))"
    shown = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=False)
    assert shown.returncode == 0, shown.stderr
    return set(shown.stdout.split())


def test_no_file_names_a_place_outside_the_checkout() -> None:
    found = [f"{name_of(path)}: {match[0]}" for path, text in texts() for match in OUTSIDE.finditer(text)]
    assert found == []


def test_no_file_names_a_package_index() -> None:
    found = [f"{name_of(path)}: {match[0]!r}" for path, text in texts() for match in REGISTRY.finditer(text)]
    assert [line for line in found if not line.startswith("tests/test_house.py")] == []


def test_the_lock_keeps_cuda_out() -> None:
    pins = dict(re.findall(r"^([\w.\-]+)==(\S+)", (ROOT / "requirements/cpu.lock").read_text(), re.MULTILINE))
    assert pins["torch"].endswith("+cpu")
    assert not [name for name in pins if name.startswith(("nvidia", "torchvision", "torchaudio", "triton"))]
    assert not (ROOT / "setup.py").exists()


TOOLS = {"ruff", "mypy", "import-linter", "pytest-xdist", "types-psutil", "scipy-stubs"}
"""Packages that run or are read beside the code, so that nothing imports them."""


def declared(*extras: str) -> set[str]:
    """Names of the packages that pyproject.toml asks for, outside of extras or with some."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    groups = [project["dependencies"], *(project["optional-dependencies"][extra] for extra in extras)]
    return {canonicalize_name(Requirement(line).name) for group in groups for line in group}


def needed(paths: Iterable[Path]) -> dict[str, str]:
    """Package to one of the files that import it; the checkout's own modules and the standard library left out."""
    own = {path.stem for path in modules("tests", "deploy")} | set(ROOMS)
    own |= {path.name for path in (ROOT / "tests" / "support").iterdir() if path.is_dir()}
    owners = importlib.metadata.packages_distributions()
    found: dict[str, str] = {}
    for path in paths:
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            names = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
            names += [node.module or ""] if isinstance(node, ast.ImportFrom) and not node.level else []
            for name in {name.partition(".")[0] for name in names} - sys.stdlib_module_names - own:
                known = {canonicalize_name(one) for one in owners.get(name, [name])}
                found[min(known & DECLARED or known)] = name_of(path)
    return found


DECLARED = declared("cpu", "gpu", "bench", "dev")
BENCH = [path for path in modules("cluster") if name_of(path).startswith("cluster/experiments/")]
CODE = [path for path in modules(*ROOMS) if path not in BENCH]


@pytest.mark.parametrize(
    ("paths", "extras"),
    [(CODE, ()), (BENCH, ("bench",)), (modules("tests"), ("bench", "dev"))],
    ids=["code", "bench", "tests"],
)
def test_what_is_imported_is_declared(paths: list[Path], extras: tuple[str, ...]) -> None:
    allowed = declared("cpu", "gpu", *extras)
    missing = {name: path for name, path in needed(paths).items() if name not in allowed}
    assert missing == {}, "declare it in pyproject.toml, in the extra of those who need it"


@pytest.mark.parametrize(
    ("paths", "extras"),
    [(CODE, ()), (CODE, ("cpu",)), (BENCH, ("bench",)), (modules("tests"), ("dev",))],
    ids=["code", "cpu", "bench", "tests"],
)
def test_what_is_declared_is_imported(paths: list[Path], extras: tuple[str, ...]) -> None:
    asked = declared(*extras) - (declared() if extras else set())
    assert asked - TOOLS - needed(paths).keys() == set(), "nothing imports it: remove it from pyproject.toml"


def test_what_runs_from_a_shell_may_run() -> None:
    assert (ROOT / ".ci" / "run").stat().st_mode & 0o111


@pytest.mark.parametrize("folder", sorted({path.parent for path in modules(*ROOMS, "tests")}), ids=name_of)
def test_a_folder_has_few_files(folder: Path) -> None:
    assert len(list(folder.glob("*.py"))) <= LARGEST_FOLDER


@pytest.mark.parametrize("room", [*ROOMS, "tests"])
def test_docstrings_and_comments_use_plain_words(room: str) -> None:
    prose = "\n".join(text for path in modules(room) for text in words_of(path))
    found = [(match[0], plain) for turn, plain in TURNS.items() for match in re.finditer(turn, prose, re.IGNORECASE)]
    assert len(found) <= MOST_TURNS * len(prose.split()), found


def words_of(path: Path) -> Iterator[str]:
    """The docstrings and comments of a file."""
    source = path.read_text(encoding="utf-8")
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant) and isinstance(node.value.value, str):
            yield node.value.value
    for token in tokenize.generate_tokens(io.StringIO(source).readline):
        if token.type == tokenize.COMMENT:
            yield token.string
