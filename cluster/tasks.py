"""Task files: `python -m cluster.tasks check FILE [--settings SETTINGS.toml]` and `… import SET SOURCE [--out FILE]`.

`check` reads every row and renders every reference page once: pages that rendered are cached by content. `import`
converts a public task set to a task file, optionally split into training and held-out tasks by brief. Exit code 0 when
all are valid, 2 when a row, a page or a file is unusable.
"""

import argparse
import asyncio
import logging
import sys
from pathlib import Path

from cluster.benchmarks.spec_probes import recorded, table, with_probes
from cluster.commands import program
from cluster.preflight.references import broken_references, browsers, proven_at
from cluster.settings import RunSettings, load_settings
from rollout.errors import BadInput, RelookError
from rollout.records import Task
from rollout.rows.fields import show
from rollout.task_sets.public import SETS, read_task_set
from rollout.task_sets.split import split_by_brief
from rollout.tasks import read_tasks, write_tasks

EVERY = 20
"""Number of progress lines printed when the output is no terminal."""


def main(argv: list[str] | None = None) -> int:
    """Runs the command. Returns its exit code."""
    options = _parse(argv)
    logging.basicConfig(level=logging.WARNING, format="%(levelname)s %(name)s: %(message)s")
    try:
        if options.command == "import":
            import_set(options.set, options.source, options.out or Path(f"{options.set}.parquet"), options.held_out)
            return 0
        settings = load_settings(options.settings, options.set) if options.settings else RunSettings()
        tasks = read_tasks(options.file)
        print(f"{options.file}: {describe(tasks)}", flush=True)
        faults = asyncio.run(check(tasks, settings))
    except RelookError as error:
        print(f"relook: {error}", file=sys.stderr)
        return 2 if isinstance(error, BadInput) else 1
    for name, fault in faults.items():
        print(f"task {show(name)}: its reference page does not render: {fault}")
    with_page = sum(task.reference_html is not None for task in tasks)
    print(f"{with_page - len(faults)} of {with_page} reference pages render")
    return 2 if faults else 0


def import_set(name: str, source: Path, out: Path, share: float) -> None:
    """Writes a public set as a task file, and its held-out tasks beside it. Raises TaskFileError, StorageFault."""
    tasks = read_task_set(name, source)
    if name == "interactscience" and source.is_dir():
        tests = asyncio.run(recorded(source, [task.id for task in tasks]))
        tasks = with_probes(tasks, tests)
        print(table(tests))
    training, held_out = split_by_brief(tasks, share)
    files = {out: training, out.with_stem(f"{out.stem}-held-out"): held_out}
    for path, tasks in files.items():
        if tasks:
            write_tasks(path, tasks)
            print(f"{path}: {describe(tasks)}", flush=True)
    print(f"licence of {name}: {SETS[name].licence}")


def describe(tasks: list[Task]) -> str:
    """Describes the contents of a task file in one line."""
    briefs = {task.brief for task in tasks}
    counts = {
        "reference pages": sum(task.reference_html is not None for task in tasks),
        "with probes": sum(bool(task.probes) for task in tasks),
        "with a checklist": sum(bool(task.checklist) for task in tasks),
        "duplicate briefs": len(tasks) - len(briefs),
    }
    return ", ".join([f"{len(tasks)} tasks", *(f"{num} {what}" for what, num in counts.items() if num)])


async def check(tasks: list[Task], settings: RunSettings) -> dict[str, str]:
    """Problems of reference pages that do not render, by task id. Raises BrowserFault."""
    if all(task.reference_html is None for task in tasks):
        return {}
    async with browsers(settings, len(tasks)) as several:
        proven = proven_at(settings, several.all[0].name)
        return await broken_references(tasks, several, proven, at_once=len(several.all), progress=_tell)


def _tell(done: int, total: int) -> None:
    if sys.stderr.isatty():
        print(f"\r{done} of {total} reference pages rendered", end="\n" if done == total else "", file=sys.stderr)
    elif done == total or done % max(1, total // EVERY) == 0:
        print(f"{done} of {total} reference pages rendered", file=sys.stderr)


def _parse(argv: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog=program("tasks"), description="Checks task files.")
    commands = parser.add_subparsers(dest="command", required=True)
    check = commands.add_parser("check", help="read every row and render every reference page of a file")
    check.add_argument("file", type=Path, help=".parquet, .jsonl or .json file of tasks")
    check.add_argument("--settings", type=Path, help="TOML settings file with [browser] (default: the defaults)")
    check.add_argument("--set", action="append", default=[], metavar="a.b=c", help="override one setting")
    sets = "\n".join(f"  {name:16} {one.holds}; SOURCE: {one.files} ({one.licence})" for name, one in SETS.items())
    convert = commands.add_parser(
        "import",
        help="convert a public task set to a task file",
        description=f"Sets:\n{sets}",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    convert.add_argument("set", choices=sorted(SETS), metavar="SET", help="the name of a set")
    convert.add_argument("source", type=Path, help="the downloaded file, or the folder of the cloned repository")
    convert.add_argument("--out", type=Path, help="the .parquet or .jsonl file to write; SET.parquet by default")
    convert.add_argument("--held-out", type=_share, default=0.0, metavar="SHARE", help="share of briefs to hold out")
    return parser.parse_args(argv)


def _share(text: str) -> float:
    share = float(text)
    if not 0 <= share < 1:
        raise argparse.ArgumentTypeError(f"got {text}, wanted a share from 0 to less than 1")
    return share


if __name__ == "__main__":
    sys.exit(main())
