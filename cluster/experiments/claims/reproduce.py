"""Reproduces the claims of the method: `python -m cluster.reproduce [--quick]`, or `make reproduce`.

Trains every variant of a table with every seed, each in its own process, then writes the page of claims. Finished runs
are skipped and stopped runs are resumed. Finished runs are identified by their settings, among the runs and among the
result files next to the page, which may come from other machines.

Exit codes: 0 success; 2 bad input; 1 some runs failed, and the page lists the claims without them; 130 stopped.
"""

import argparse
import fcntl
import json
import subprocess
import sys
import tomllib
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pydantic import Field, ValidationError, model_validator

from cluster.commands import program
from cluster.experiments.claims.page import write_claims
from cluster.experiments.claims.result_files import NOT_COMPARED, KeptResults, same_run
from cluster.experiments.claims.results import Result, read_result
from cluster.monitoring.tracking.tracker import flat
from cluster.paths import resolve_path
from cluster.settings import RunSettings, load_settings
from rollout.errors import BadInput, RelookError, SettingsError
from rollout.settings import Settings

TABLE = Path("deploy/reproduce.toml")
STOPPED, BAD_INPUT = 130, 2
Train = Callable[[Sequence[str]], int]
"""Runs `python -m cluster.train` with these arguments; returns its exit code."""


class Variant(Settings):
    """A training variant that is compared with the others."""

    title: str
    """Title of the variant on the page."""
    set: dict[str, Any] = {}
    """Settings that differ from the base run, nested as in its file."""


class Quick(Settings):
    """Settings of `--quick`: a smoke test, not evidence for the claims."""

    seeds: tuple[int, ...] = Field(default=(1,), min_length=1)
    """Seeds of the quick runs."""
    variants: tuple[str, ...] = ()
    """Variants that are run."""
    set: dict[str, Any] = {}
    """Settings that override all others."""


class Table(Settings):
    """The table of variants, seeds and settings to run."""

    settings: Path
    """Settings file of the base run."""
    seeds: tuple[int, ...] = Field(min_length=1)
    """Seeds with which every variant is trained."""
    set: dict[str, Any] = {}
    """Settings of all variants."""
    variants: dict[str, Variant] = Field(min_length=1)
    """Variants by name, the prefix of a run's id."""
    quick: Quick = Quick()
    """Settings of the runs of `--quick`."""

    @model_validator(mode="after")
    def _quick_ones_exist(self) -> "Table":
        unknown = sorted(set(self.quick.variants) - self.variants.keys())
        if unknown:
            raise ValueError(f"quick.variants must name variants of the table, got {', '.join(unknown)}")
        return self


@dataclass(frozen=True, kw_only=True)
class Job:
    """One run to perform: a variant with a seed."""

    variant: str
    seed: int
    settings: Path
    overrides: tuple[str, ...]
    runs: Path

    @property
    def name(self) -> str:
        """Prefix of the run's id."""
        return f"{self.variant}-{self.seed}"

    @property
    def wanted(self) -> RunSettings:
        """The settings of the run."""
        return load_settings(self.settings, self.overrides)

    def find(self) -> tuple[Path | None, bool]:
        """The newest run with exactly these settings, or None, and whether it is finished."""
        wanted = self.wanted
        newest: Path | None = None
        for about in sorted(self.runs.glob(f"{self.name}-*/run.json")):
            if same_run(json.loads(about.read_bytes())["settings"], wanted):
                newest = about.parent
                summary = newest / "summary.json"
                if summary.is_file() and json.loads(summary.read_bytes())["status"] == "finished":
                    return newest, True
        return newest, False

    def arguments(self) -> list[str]:
        """Arguments of `cluster.train` that start or resume the run."""
        found, _ = self.find()
        if found is not None:
            return ["--resume", str(found)]
        return [str(self.settings), *(word for override in self.overrides for word in ("--set", override))]


def read_table(path: Path) -> Table:
    """Reads the table of variants. Raises SettingsError with a one-line message."""
    try:
        return Table.model_validate(tomllib.loads(path.read_text(encoding="utf-8")))
    except (OSError, tomllib.TOMLDecodeError) as error:
        raise SettingsError(f"{path}: not readable as TOML: {error}") from None
    except ValidationError as error:
        first = error.errors()[0]
        raise SettingsError(f"{path}: {'.'.join(map(str, first['loc']))}: {first['msg']}") from None


def jobs_of(table: Table, runs: Path, *, quick: bool = False) -> Iterator[Job]:
    """Yields all runs, seed by seed, so that an incomplete set of runs is still comparable. Raises SettingsError."""
    chosen = table.quick.variants if quick else tuple(table.variants)
    for seed in table.quick.seeds if quick else table.seeds:
        for name in chosen:
            own = {"name": f"{name}-{seed}", "seed": seed, "runs": str(runs)}
            layers = (table.set, table.variants[name].set, table.quick.set if quick else {}, own)
            values = {key: value for layer in layers for key, value in flat(layer).items()}
            overrides = tuple(f"{key}={json.dumps(value)}" for key, value in values.items())
            job = Job(variant=name, seed=seed, settings=table.settings, overrides=overrides, runs=runs)
            load_settings(job.settings, job.overrides)
            yield job


def reproduce(jobs: Sequence[Job], train: Train, kept: KeptResults) -> int:
    """Performs the unfinished runs. Returns 0, 1 when some runs failed, or 130 when one was stopped.

    Each result is stored when its run finishes. Raises SettingsError when a run's settings are rejected, because the
    others would be too.
    """
    failed = []
    for place, job in enumerate(jobs, start=1):
        if find_result(job, kept) is not None:
            print(f"[{place}/{len(jobs)}] {job.name}: already finished", flush=True)
            continue
        print(f"[{place}/{len(jobs)}] {job.name}", flush=True)
        code = train(job.arguments())
        if code == STOPPED:
            return STOPPED
        if code == BAD_INPUT:
            raise SettingsError(f"the settings of {job.name} are invalid, see above; fix {job.settings} or the table")
        if code:
            failed.append(job.name)
        else:
            find_result(job, kept)
    if failed:
        print(f"relook: these runs failed: {', '.join(failed)}; run the command again to resume them", file=sys.stderr)
    return 1 if failed else 0


@contextmanager
def alone_in(runs: Path) -> Iterator[None]:
    """Locks the folder of runs. Without the lock, a second command would resume runs that are in progress.

    Raises SettingsError when another process holds the lock.
    """
    runs.mkdir(parents=True, exist_ok=True)
    with (runs / "lock").open("w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise SettingsError(
                f"{runs} is in use by another `cluster.reproduce`; wait until it ends, or set --runs"
            ) from None
        yield


def find_result(job: Job, kept: KeptResults) -> Result | None:
    """Result of a finished run, from its stored file or its folder (then stored); None if unfinished.

    Raises CheckpointError for a damaged result.
    """
    wanted = job.wanted
    known = kept.find(job.variant, job.seed, wanted)
    if known is None:
        path, done = job.find()
        if path is not None and done:
            known = read_result(path, job.variant, job.seed)
            kept.keep(known, wanted.model_dump(mode="json", exclude=set(NOT_COMPARED)))
    return known


def finished(jobs: Sequence[Job], kept: KeptResults) -> dict[str, dict[int, Result]]:
    """Results of all finished runs, by variant and seed. Raises CheckpointError for a damaged one."""
    results: dict[str, dict[int, Result]] = {}
    for job in jobs:
        result = find_result(job, kept)
        if result is not None:
            results.setdefault(job.variant, {})[job.seed] = result
    return results


def run_training(arguments: Sequence[str]) -> int:
    """Runs `cluster.train` in a subprocess. Ctrl-C reaches the subprocess too; it saves its state and exits."""
    with subprocess.Popen([sys.executable, "-m", "cluster.train", *arguments]) as process:
        while True:
            try:
                return process.wait()
            except KeyboardInterrupt:
                continue


def main(argv: list[str] | None = None, train: Train = run_training) -> int:
    """Entry point of the command. Returns its exit code."""
    options = _parse(argv)
    runs = resolve_path(options.runs or ("runs/reproduce-quick" if options.quick else "runs/reproduce"))
    # A quick run must not overwrite the results of a full one.
    out = resolve_path(options.out or (runs / "claims.md" if options.quick else "docs/claims.md"))
    try:
        table = read_table(options.table)
        jobs = list(jobs_of(table, runs, quick=options.quick))
        kept = KeptResults(out.with_suffix("") / "runs")
        code = 0
        if not options.report:
            with alone_in(runs):
                code = reproduce(jobs, train, kept)
        chosen = {job.variant: table.variants[job.variant].title for job in jobs}
        write_claims(out, finished(jobs, kept), chosen)
    except RelookError as error:
        print(f"relook: {error}", file=sys.stderr)
        return BAD_INPUT if isinstance(error, BadInput) else 1
    print(f"{out}")
    return code


def _parse(argv: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog=program("reproduce"), description="Trains all variants and tests the claims.")
    parser.add_argument("--quick", action="store_true", help="smoke test of a few minutes; no evidence for the claims")
    parser.add_argument("--report", action="store_true", help="only write the page, from finished runs")
    parser.add_argument("--table", type=Path, default=TABLE, help="TOML file of variants")
    parser.add_argument("--runs", type=Path, help="folder of the runs")
    parser.add_argument("--out", type=Path, help="page to write (default: docs/claims.md, with --quick RUNS/claims.md)")
    return parser.parse_args(argv)


if __name__ == "__main__":
    sys.exit(main())
