"""The public task sets that `relook tasks import` converts, with the files that each reader expects.

Each reader takes the path that its user downloaded or cloned and returns tasks in the order of the files. Errors are
TaskFileErrors of one line. No reader opens the network.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from rollout.errors import TaskFileError
from rollout.records import Task
from rollout.rows.fields import Row, id_of, list_of, object_of, show, text_of
from rollout.rows.file_rows import file_rows
from rollout.task_sets.page_text import brief_of_page

LARGEST_PAGE = 2 * 2**20
"""Bytes of the largest reference page that is read."""
SCIENCE = Path("data/interactscience.jsonl")
SEED_BRIEF = "Build a complete single-page website in one HTML file. Kind of page: {kind}, of the class {group}."


@dataclass(frozen=True, slots=True, kw_only=True)
class TaskSet:
    """A public task set: its content, its licence, and its reader."""

    holds: str
    files: str
    """The path that the reader expects."""
    licence: str
    read: Callable[[Path], list[Task]]


def read_task_set(name: str, source: Path) -> list[Task]:
    """Reads a public set. Raises TaskFileError for an unknown set, missing files, unusable rows and repeated ids."""
    if name not in SETS:
        raise TaskFileError(f"no task set {show(name)}; wanted one of {', '.join(sorted(SETS))}")
    chosen = SETS[name]
    if not source.exists():
        raise TaskFileError(f"{source}: no such file or folder; wanted {chosen.files}")
    tasks = chosen.read(source)
    if not tasks:
        raise TaskFileError(f"{source}: no task found; wanted {chosen.files}")
    taken = set[str]()
    for task in tasks:
        if task.id in taken:
            raise TaskFileError(f"{source}: the id {show(task.id)} occurs twice; give the unchanged published files")
        taken.add(task.id)
    return tasks


def _examples(source: Path) -> list[Task]:
    """`examples/<id>.yaml` holds `id` and `prompt`; `apps/<id>/index.html` is the reference page if it exists."""
    import yaml

    found: list[Task] = []
    for path in sorted(_folder(source, "examples").glob("*.yaml")):
        try:
            row = object_of(str(path), yaml.safe_load(path.read_text(encoding="utf-8")))
        except (yaml.YAMLError, UnicodeDecodeError) as error:
            raise TaskFileError(f"{path}: not YAML ({str(error).splitlines()[0]}); clone the set again") from error
        page = source / "apps" / path.stem / "index.html"
        reference = _page(page) if page.is_file() else None
        found.append(Task(id=id_of(str(path), row), brief=text_of(str(path), row, "prompt"), reference_html=reference))
    return found


def _webgen(source: Path) -> list[Task]:
    """`instruction` is the brief; each non-empty entry of `ui_instruct` becomes an item of the checklist."""
    found: list[Task] = []
    for where, row in _rows(source):
        checks = [object_of(where, check) for check in list_of(where, row, "ui_instruct")]
        stated = [check for check in checks if str(check.get("task") or "").strip()]
        items = tuple(
            f"{text_of(where, check, 'task')} {check.get('expected_result') or ''}".strip() for check in stated
        )
        found.append(Task(id=id_of(where, row), brief=text_of(where, row, "instruction"), checklist=items))
    return found


def _web_agent(source: Path) -> list[Task]:
    """`input` is the brief, `file_id` the id."""
    return [Task(id=text_of(where, row, "file_id"), brief=text_of(where, row, "input")) for where, row in _rows(source)]


def _seeds(source: Path) -> list[Task]:
    """Each sub-category becomes one brief."""
    found: list[Task] = []
    for where, row in _rows(source):
        kind, group = text_of(where, row, "sub_category"), text_of(where, row, "class")
        found.append(
            Task(id=id_of(where, {"id": row.get("subcat_id")}), brief=SEED_BRIEF.format(kind=kind, group=group))
        )
    return found


def _artifacts(source: Path) -> list[Task]:
    """`question` is the brief; title and description of each criterion become an item of the checklist."""
    found: list[Task] = []
    for where, row in _rows(source):
        criteria = [object_of(where, one) for one in list_of(where, row, "checklist")]
        items = tuple(f"{text_of(where, one, 'title')} {text_of(where, one, 'description')}" for one in criteria)
        name = id_of(where, {"id": row.get("index")})
        found.append(Task(id=name, brief=text_of(where, row, "question"), checklist=items))
    return found


def _science(source: Path) -> list[Task]:
    """`question` is the brief; the checklists of all snapshots become one."""
    found: list[Task] = []
    for where, row in _rows(source / SCIENCE if source.is_dir() else source):
        shots = [object_of(where, one) for one in list_of(where, row, "snapshot_checklists")]
        items = tuple(str(item) for shot in shots for item in list_of(where, shot, "checklist"))
        found.append(Task(id=text_of(where, row, "id"), brief=text_of(where, row, "question"), checklist=items))
    return found


def _design2code(source: Path) -> list[Task]:
    """Every `<id>.html` is a reference page; the brief lists the page's own texts."""
    pages = sorted(_folder(source).glob("*.html"), key=lambda path: (len(path.stem), path.stem))
    found: list[Task] = []
    for path in pages:
        html = _page(path)
        brief = brief_of_page(html)
        if brief:
            found.append(Task(id=path.stem, brief=brief, reference_html=html))
    return found


def _rows(source: Path) -> Iterator[tuple[str, Row]]:
    """Rows of a JSON or Parquet file, each with its position."""
    if source.is_dir():
        raise TaskFileError(f"{source}: got a folder, wanted a .jsonl, .json or .parquet file")
    return ((f"{source}, {where}", row) for where, row in file_rows(source))


def _folder(source: Path, name: str = "") -> Path:
    folder = source / name
    if not folder.is_dir():
        raise TaskFileError(f"{folder}: no such folder; give the top folder of the cloned repository")
    return folder


def _page(path: Path) -> str:
    try:
        size = path.stat().st_size
        if size > LARGEST_PAGE:
            raise TaskFileError(f"{path}: {size:,} bytes, wanted at most {LARGEST_PAGE:,}; remove the page")
        return path.read_text(encoding="utf-8", errors="replace")
    except OSError as error:
        raise TaskFileError(f"{path}: cannot be read ({error}); check its permissions") from error


SETS = {
    "gpt5": TaskSet(
        holds="52 briefs with 64 reference pages by GPT-5 and GPT-5.2",
        files="a clone of openai/gpt-5-coding-examples",
        licence="MIT",
        read=_examples,
    ),
    "aui-gym": TaskSet(
        holds="52 briefs, the same as gpt5, without pages",
        files="a clone of showlab/AUI",
        licence="MIT",
        read=_examples,
    ),
    "webgen": TaskSet(
        holds="101 test instructions with 647 checks, or 6,667 training instructions",
        files="test.jsonl or a train-*.parquet of WebGen-Bench",
        licence="MIT",
        read=_webgen,
    ),
    "mm-webagent": TaskSet(
        holds="120 long design briefs",
        files="datasets/evaluation_dataset.jsonl of microsoft/MM-WebAgent",
        licence="MIT",
        read=_web_agent,
    ),
    "frontcoder": TaskSet(
        holds="2,000 kinds of pages in 80 classes",
        files="data_construction/sft/sft_subcategories_2k.jsonl of leanfeng1/FrontCoder",
        licence="MIT",
        read=_seeds,
    ),
    "artifactsbench": TaskSet(
        holds="1,825 questions with ten criteria each, 150 in the Lite subset",
        files="artifacts_bench.json or artifacts_bench_lite.json",
        licence="CC BY 4.0",
        read=_artifacts,
    ),
    "interactscience": TaskSet(
        holds="150 plans of interactive pages, with the checklists of their snapshots",
        files="a clone of open-compass/InteractScience, whose functional tests become probes, or its "
        "data/interactscience.jsonl",
        licence="Apache-2.0",
        read=_science,
    ),
    "design2code": TaskSet(
        holds="484 pages of the web; the briefs are made from their texts",
        files="the folder webpages of the data set, one <id>.html a page",
        licence="ODC-By, for research",
        read=_design2code,
    ),
}
