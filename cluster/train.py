"""Trains a policy: `python -m cluster.train deploy/runs/demo.toml [--set learner.lr=1e-4] [--resume RUN]`.

Exit codes: 0 finished; 2 bad input before the run began; 1 failed after that; 130 stopped.
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
from cluster.preflight.requests import Plan, plan_new, plan_resume
from cluster.training.session import TrainingSession
from rollout.errors import BadInput, BudgetSpent, CriticFault, RelookError, StorageFault

logger = logging.getLogger(__name__)


def main(argv: list[str] | None = None) -> int:
    """Runs the command. Returns its exit code."""
    from cluster.preflight import checks

    options = _parse(argv)
    logging.basicConfig(level=logging.WARNING, format="%(levelname)s %(name)s: %(message)s")
    try:
        if options.resume:
            plan = plan_resume(options.resume, options.runs, options.changed_tasks)
            checks.check_judges(plan.settings)
        else:
            plan = plan_new(options.settings, options.set)
    except (BadInput, StorageFault, CriticFault) as error:
        print(f"relook: {error}", file=sys.stderr)
        return 2
    return asyncio.run(run(plan))


async def run(plan: Plan) -> int:
    """Runs a plan from set-up to the last report and stops everything it started. Returns the exit code."""
    started = time.monotonic()
    with Display() as display:
        session = TrainingSession(plan, display)
        work = asyncio.create_task(session.work())
        cancel_on_signal(work)
        try:
            await work
            code, status = 0, "finished"
        except asyncio.CancelledError:
            code, status = STOPPED, "stopped"
            await session.save_if_whole()
        except BudgetSpent as spent:
            code, status = STOPPED, "stopped"
            session.note(f"stopped: {spent}")
            print(f"relook: {spent}", file=sys.stderr)
            await session.save_if_whole()
        except RelookError as error:
            code, status = (2 if session.run is None else 1), "failed"
            session.note(f"failed: {error}")
            print(f"relook: {error}", file=sys.stderr)
            logger.debug("the run failed", exc_info=True)
        except BaseException:
            await session.close("failed")
            raise
        if not await session.close(status) and code == 0:
            code, status = 1, "failed"
    print_results(plan, status, time.monotonic() - started)
    return code


def print_results(plan: Plan, status: str, seconds: float) -> None:
    """Prints the paths of the results and the command to resume."""
    from cluster.monitoring.observer import display_path
    from cluster.monitoring.tracking.tracker import UI_ENVIRONMENT, ui_command

    store = plan.store
    print(f"\n{plan.run_id}: {status} after {seconds:.0f} s")
    print(f"  report   {display_path(store, 'report.html')}")
    print(f"  summary  {display_path(store, 'summary.json')}")
    variables = [f"{name}={value}" for name, value in UI_ENVIRONMENT.items()]
    print(f"  MLflow   {' '.join([*variables, *ui_command(display_path(store, '..').resolve() / 'mlflow.db')])}")
    if status != "finished":
        print(f"  resume   python -m cluster.train --resume {plan.run_id}")


def _parse(argv: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog=program("train"), description="Trains a policy to write web pages.")
    parser.add_argument("settings", nargs="?", type=Path, help="a TOML file such as deploy/runs/demo.toml")
    parser.add_argument("--set", action="append", default=[], metavar="a.b=c", help="override one setting")
    parser.add_argument("--resume", metavar="RUN", help="resume a run, by its id or path")
    parser.add_argument("--runs", type=Path, default=Path("runs"), help="folder of runs, for --resume")
    parser.add_argument("--changed-tasks", action="store_true", help="with --resume: accept changed task files")
    options = parser.parse_args(argv)
    if (options.settings is None) == (options.resume is None):
        parser.error("give a settings file, or --resume RUN (which brings its own settings)")
    return options


if __name__ == "__main__":
    sys.exit(main())
