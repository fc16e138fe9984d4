"""Measures a cluster before a run of days: `python -m cluster.accept SETTINGS [--groups N]`.

Exit codes: 0 nothing is wrong; 1 something is; 2 bad input; 130 stopped.
"""

import argparse
import asyncio
import json
import logging
import sys
import time
from pathlib import Path

from cluster.acceptance.measurement import Acceptance
from cluster.commands import program
from cluster.distributed.stop_signals import STOPPED, until_stopped
from cluster.paths import resolve_path
from cluster.settings import RunSettings, load_settings
from rollout.errors import BadInput, RelookError, StorageFault
from rollout.files import atomic_write


def main(argv: list[str] | None = None) -> int:
    """Runs the command. Returns its exit code."""
    options = _parse(argv)
    logging.basicConfig(level=logging.ERROR, format="%(levelname)s %(name)s: %(message)s")
    try:
        settings = load_settings(options.settings, options.set)
        folder = options.out or resolve_path(settings.runs) / f"accept-{settings.name}-{time.strftime('%Y%m%d-%H%M%S')}"
        acceptance = asyncio.run(until_stopped(_measure(settings, folder.resolve(), options.groups)))
        write_results(folder, acceptance)
    except asyncio.CancelledError:
        return STOPPED
    except (BadInput, StorageFault) as error:
        print(f"relook: {error}", file=sys.stderr)
        return 2
    except RelookError as error:
        print(f"relook: {error}", file=sys.stderr)
        return 1
    print("\n".join(summary(acceptance)))
    print(f"{folder / 'acceptance.html'}")
    return 1 if acceptance.verdict == "wrong" else 0


def write_results(folder: Path, acceptance: Acceptance) -> None:
    """Writes `acceptance.json` and `acceptance.html`. Raises StorageFault."""
    from cluster.acceptance.page import write_page

    atomic_write(folder / "acceptance.json", json.dumps(acceptance.to_json(), indent=1).encode())
    write_page(folder / "acceptance.html", acceptance)


def summary(acceptance: Acceptance) -> list[str]:
    """Last lines of the output: counts, the predicted step, and the advice."""
    counts = ", ".join(f"{len(acceptance.of(verdict))} {verdict}" for verdict in ("ok", "slow", "wrong"))
    lines = [f"{counts}, in {acceptance.seconds:.0f} s"]
    step = acceptance.prediction
    if step is None:
        return [*lines, "no step could be measured"]
    return [
        *lines,
        f"a step will take {step.step_s:.1f} s (play {step.play_s:.1f}, learn {step.learn_s:.1f}, sync "
        f"{step.sync_s:.1f}), {step.steps} steps {step.run_s / 3600:.1f} h without exams: from {step.origin}",
        f"bottleneck: {step.bottleneck}; {step.advice}",
    ]


async def _measure(settings: RunSettings, folder: Path, groups: int | None) -> Acceptance:
    from cluster.acceptance.session import AcceptanceSession
    from cluster.preflight.checks import check_tasks
    from cluster.storage.store import Store
    from cluster.training.curriculum import Curriculum

    curriculum = Curriculum(settings)
    for note in check_tasks(settings, curriculum):
        print(note)
    session = AcceptanceSession(settings, curriculum, Store.create(folder), lambda one: print(one, flush=True), groups)
    return await session.work()


def _parse(argv: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog=program("accept"), description="Measures a cluster before a long run.")
    parser.add_argument("settings", type=Path, help="TOML settings file of the run")
    parser.add_argument("--set", action="append", default=[], metavar="a.b=c", help="override one setting")
    parser.add_argument("--groups", type=int, help="groups of the measured step (default: at most 64 episodes)")
    parser.add_argument("--out", type=Path, help="folder of the results (default: a new one in `runs`)")
    options = parser.parse_args(argv)
    if options.groups is not None and options.groups < 1:
        parser.error(f"--groups must be at least 1, got {options.groups}")
    return options


if __name__ == "__main__":
    sys.exit(main())
