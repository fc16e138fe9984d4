"""Fine-tunes a model on reference pages: `python -m cluster.sft deploy/runs/demo.toml [--set sft.lr=1e-5]`.

A cold start for reinforcement learning: the model learns the three forms of episodes (first page, revision, review)
from a task set's references and from pages that are damaged, rendered and judged. `relook train --set model=DIR` takes
the result. Exit codes: 0 finished; 2 bad input before the training began; 1 failed after that; 130 stopped.
"""

import argparse
import asyncio
import logging
import sys
import time
from pathlib import Path

from cluster.commands import program
from cluster.distributed.stop_signals import STOPPED, cancel_on_signal
from cluster.monitoring.display import Display
from cluster.supervised.requests import SupervisedPlan, plan_new, plan_resume
from cluster.supervised.session import CHAMPION, SupervisedSession
from rollout.errors import BadInput, BudgetSpent, CriticFault, RelookError, StorageFault


def main(argv: list[str] | None = None) -> int:
    """Runs the command. Returns its exit code."""
    options = _parse(argv)
    logging.basicConfig(level=logging.WARNING, format="%(levelname)s %(name)s: %(message)s")
    try:
        new = options.resume is None
        plan = plan_new(options.settings, options.set) if new else plan_resume(options.resume, options.runs)
    except (BadInput, StorageFault, CriticFault) as error:
        print(f"relook: {error}", file=sys.stderr)
        return 2
    return asyncio.run(run(plan))


async def run(plan: SupervisedPlan) -> int:
    """Runs a plan and stops everything that it started. Returns the exit code."""
    started = time.monotonic()
    with Display() as display:
        session = SupervisedSession(plan, display)
        work = asyncio.create_task(session.work())
        cancel_on_signal(work)
        try:
            await work
            code, status = 0, "finished"
        except asyncio.CancelledError:
            code, status = STOPPED, "stopped"
        except BudgetSpent as spent:
            code, status = STOPPED, "stopped"
            print(f"relook: {spent}", file=sys.stderr)
        except RelookError as error:
            code, status = (2 if isinstance(error, BadInput) and not session.history else 1), "failed"
            print(f"relook: {error}", file=sys.stderr)
        except BaseException:
            await session.close("failed")
            raise
        try:
            await session.close(status)
        except StorageFault as error:
            print(f"relook: the report could not be written: {error}", file=sys.stderr)
            code, status = code or 1, "failed"
    print_results(plan, status, time.monotonic() - started)
    return code


def print_results(plan: SupervisedPlan, status: str, seconds: float) -> None:
    """Prints the paths of the results, and the next command."""
    path = plan.store.path
    print(f"\n{plan.run_id}: {status} after {seconds:.0f} s")
    print(f"  report   {path / 'report.html'}")
    print(f"  summary  {path / 'summary.json'}")
    if status == "finished":
        print(f"  model    {path / CHAMPION}")
        print(f"  train    {program('train')} SETTINGS.toml --set model={path / CHAMPION}")
    else:
        print(f"  resume   {program('sft')} --resume {plan.run_id}")


def _parse(argv: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog=program("sft"), description="Fine-tunes a model on reference pages.")
    parser.add_argument("settings", nargs="?", type=Path, help="a TOML file such as deploy/runs/demo.toml")
    parser.add_argument("--set", action="append", default=[], metavar="a.b=c", help="override one setting")
    parser.add_argument("--resume", metavar="RUN", help="resume a fine-tuning, by its id or path")
    parser.add_argument("--runs", type=Path, default=Path("runs"), help="folder of runs, for --resume")
    options = parser.parse_args(argv)
    if (options.settings is None) == (options.resume is None):
        parser.error("give a settings file, or --resume RUN (which brings its own settings)")
    return options


if __name__ == "__main__":
    sys.exit(main())
