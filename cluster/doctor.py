"""Checks what this machine or cluster lacks: `python -m cluster.doctor [SETTINGS.toml]`.

Prints one line per check, with a fix for each problem. Exit code 0 when no check fails, else 2.
"""

import argparse
import asyncio
import logging
import os
import subprocess
import sys
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Literal

from cluster.commands import program
from cluster.distributed.connection import connect
from cluster.distributed.nodes import live_nodes
from cluster.paths import resolve_path
from cluster.preflight import machine
from cluster.preflight.checks import check_judges
from cluster.preflight.machine import CheckResult
from cluster.settings import RunSettings, load_settings
from rollout.errors import BadInput, BrowserFault, CriticFault

LOCK = Path(__file__).parent.parent / "requirements" / "cpu.lock"
ENGINES = ("torch", "transformers", "vllm", "ray", "deepspeed", "mlflow")
START_TIMEOUT_S = 120


def main(argv: list[str] | None = None) -> int:
    """Runs the command. Returns its exit code."""
    parser = argparse.ArgumentParser(prog=program("doctor"), description="Checks this machine or cluster.")
    parser.add_argument("settings", nargs="?", type=Path, help="TOML settings file of the run to check for")
    parser.add_argument("--set", action="append", default=[], metavar="a.b=c", help="override one setting")
    options = parser.parse_args(argv)
    logging.basicConfig(level=logging.ERROR, format="%(levelname)s %(name)s: %(message)s")
    try:
        settings = load_settings(options.settings, options.set) if options.settings else RunSettings()
    except BadInput as error:
        print(f"relook: {error}", file=sys.stderr)
        return 2
    counted: Counter[str] = Counter()
    for finding in examine(settings):
        print(finding, flush=True)
        counted[finding.status] += 1
    print(f"{counted['ok']} ok, {counted['warn']} warnings, {counted['FAIL']} failed")
    return 2 if counted["FAIL"] else 0


def examine(settings: RunSettings) -> Iterator[CheckResult]:
    """Runs every check, cheap ones first."""
    runs = resolve_path(settings.runs)
    checks: tuple[Callable[[], CheckResult], ...] = (
        machine.check_python,
        lambda: machine.check_packages(LOCK),
        lambda: machine.check_processor(bfloat16_on_cpu(settings)),
        machine.check_cores,
        machine.check_memory,
        lambda: machine.check_shm(Path("/dev/shm")),
        lambda: machine.check_disk(runs),
        lambda: machine.check_gpu(ask(settings).get("GPU", 0)),
        lambda: machine.check_port(6379, "Ray's head"),
        lambda: machine.check_port(8265, "the Ray dashboard"),
        lambda: machine.check_port(5000, "the MLflow UI"),
        lambda: machine.check_mlflow(runs, os.environ.get("MLFLOW_TRACKING_URI", "")),
        machine.check_fonts,
        machine.check_sandbox,
        lambda: check_browser(settings),
        lambda: check_judge(settings),
        lambda: check_model(settings),
        lambda: check_engines(ENGINES),
        lambda: check_ray(settings),
    )
    for check in checks:
        yield check()


def bfloat16_on_cpu(settings: RunSettings) -> tuple[str, ...]:
    """Names of settings that request bfloat16 on a CPU. Example: `("learner.autocast",)`."""
    cluster = settings.cluster
    asked = {
        "policy.dtype": settings.policy.dtype == "bfloat16" and not cluster.policy_gpus,
        "learner.dtype": settings.learner.dtype == "bfloat16" and not cluster.learner_gpus,
        "learner.autocast": settings.learner.autocast is True and not cluster.learner_gpus,
        "warm_start.precision": settings.warm_start.precision == "bf16",
    }
    return tuple(name for name, asks in asked.items() if asks)


def check_browser(settings: RunSettings) -> CheckResult:
    """Checks that Chromium starts and renders a page."""

    async def see() -> str:
        from actors.browser.renderer import ChromiumRenderer
        from actors.browser.supervisor import CANARY

        renderer = ChromiumRenderer(settings.renderer)
        try:
            await renderer.start()
            render = await renderer.render(CANARY)
        finally:
            await renderer.stop()
        problem = "" if render.valid and render.shots else f"test page: {render.outcome}: {render.detail}"
        return problem or f"ok {render.renderer}, {len(render.shots)} pictures in {render.seconds:.2f} s"

    fix = "apt-get install chromium-headless-shell, or set browser.executable to one"
    try:
        seen = asyncio.run(asyncio.wait_for(see(), START_TIMEOUT_S))
    except (BrowserFault, TimeoutError) as error:
        return CheckResult(
            what="browser", status="FAIL", detail=str(error) or f"no answer within {START_TIMEOUT_S} s", fix=fix
        )
    if not seen.startswith("ok "):
        return CheckResult(what="browser", status="FAIL", detail=seen, fix=fix)
    if seen.startswith("ok free-"):
        return CheckResult(what="browser", status="warn", detail=f"{seen[3:]}, without frame control", fix=fix)
    return CheckResult(what="browser", status="ok", detail=seen.removeprefix("ok "))


def check_judge(settings: RunSettings) -> CheckResult:
    """Checks the weights of the judge served by the run, or that the HTTP judges answer."""
    judge, critic = settings.served_judge, settings.critic
    if judge.model:
        return _check_weights(Path(judge.model), judge.count, judge.tensor_parallel)
    asked = [one.base_url for one in critic.members.values() if one.kind == "http"]
    if not asked:
        return CheckResult(what="judge", status="ok", detail=f"none: the {critic.kind} critic uses no model")

    try:
        check_judges(settings)
    except (CriticFault, BadInput) as error:
        fix = "" if isinstance(error, BadInput) else "start the server, or correct critic.base_url"
        return CheckResult(what="judge", status="FAIL", detail=str(error), fix=fix)
    return CheckResult(what="judge", status="ok", detail=f"{', '.join(asked)} judged a test page")


def check_model(settings: RunSettings) -> CheckResult:
    """Proves that the learner computes exactly what the model of the settings computes."""
    from cluster.preflight.model_proof import prove_model

    if settings.model == "builtin":
        return CheckResult(what="model", status="ok", detail="the built-in policy")
    try:
        proof = asyncio.run(prove_model(settings, resolve_path(settings.model)))
    except BadInput as error:
        return CheckResult(what="model", status="FAIL", detail=str(error), fix="see docs/models.md")
    if proof.packed:
        return CheckResult(what="model", status="ok", detail=str(proof))
    return CheckResult(what="model", status="warn", detail=str(proof), fix="nothing: see docs/models.md")


def _check_weights(model: Path, servers: int, gpus: int) -> CheckResult:
    """Checks a judge's model directory on this machine."""
    fix = "put a vision-language model there, or set judge.model to another directory"
    if not (model / "config.json").is_file():
        status: Literal["warn", "FAIL"] = "warn" if "RAY_ADDRESS" in os.environ else "FAIL"
        return CheckResult(what="judge", status=status, detail=f"{model} has no config.json on this machine", fix=fix)
    gib = sum(path.stat().st_size for path in model.glob("*.safetensors")) / machine.GIB
    if not gib:
        return CheckResult(what="judge", status="FAIL", detail=f"{model} has no weights (*.safetensors)", fix=fix)
    detail = f"{servers} × {model.name}: {gib:.3g} GiB of weights, {gib / gpus:.3g} GiB on each of {gpus} devices"
    return CheckResult(what="judge", status="ok", detail=detail)


def check_engines(names: tuple[str, ...]) -> CheckResult:
    """Checks that every engine imports, each in its own process."""

    def problem(name: str) -> str:
        command = [sys.executable, "-c", f"import {name}"]
        shown = subprocess.run(command, capture_output=True, text=True, check=False)
        return "" if shown.returncode == 0 else f"{name}: {shown.stderr.strip().splitlines()[-1][:160]}"

    with ThreadPoolExecutor(max_workers=2) as pool:
        problems = [found for found in pool.map(problem, names) if found]
    if problems:
        fix = "run make setup; if the error persists, remove .venv and run it again"
        return CheckResult(what="engines", status="FAIL", detail="; ".join(problems), fix=fix)
    return CheckResult(what="engines", status="ok", detail=f"{', '.join(names)} import")


def check_ray(settings: RunSettings) -> CheckResult:
    """Checks that Ray starts here, or the cluster of RAY_ADDRESS answers, and that it has the requested resources."""
    import ray

    where = os.environ.get("RAY_ADDRESS", "this machine")
    connection = None
    try:
        connection = connect()
        has = ray.cluster_resources() | {"nodes": float(len(live_nodes()))}
    except (ConnectionError, RuntimeError, ValueError, TimeoutError) as error:
        fix = "unset RAY_ADDRESS to run on this machine" if "RAY_ADDRESS" in os.environ else "ray stop, and try again"
        return CheckResult(what="ray", status="FAIL", detail=f"{where}: {str(error).splitlines()[0]}", fix=fix)
    finally:
        if connection is not None:
            connection.leave()
    return compare(ask(settings), has, where)


def compare(asked: dict[str, float], has: dict[str, float], where: str) -> CheckResult:
    """Compares the requested resources with those of a cluster."""
    short = [
        f"{amount:g} {name} (has {has.get(name, 0):g})" for name, amount in asked.items() if amount > has.get(name, 0)
    ]
    if short:
        fix = "request less in [cluster], or add nodes"
        return CheckResult(what="ray", status="FAIL", detail=f"{where} lacks {', '.join(short)}", fix=fix)
    wanted = ", ".join(f"{amount:g} of {has[name]:g} {name}" for name, amount in asked.items())
    return CheckResult(what="ray", status="ok", detail=f"{where}: a run uses {wanted}")


def ask(settings: RunSettings) -> dict[str, float]:
    """Total Ray resources requested by all actors of a run, by name; `nodes` if an engine spans several."""
    cluster, roles = settings.cluster, settings.cluster.roles
    engines, ranks, browsers = settings.policy.engines, settings.learner.ranks, settings.browser.count
    judges = settings.judge.count if settings.judge.model else 0
    asked = {
        "CPU": engines * cluster.policy_cpus
        + ranks * cluster.learner_cpus
        + browsers * cluster.browser_cpus
        + judges * cluster.judge_cpus
        + (settings.critic.count + cluster.workers) * cluster.small_cpus,
        "GPU": engines * cluster.policy_gpus + ranks * cluster.learner_gpus + judges * cluster.judge_gpus,
        "policy": engines * settings.policy.nodes if roles else 0,
        "browser": browsers if roles else 0,
        "learner": ranks if roles else 0,
        "judge": judges if roles else 0,
        "nodes": settings.policy.nodes if settings.policy.nodes > 1 else 0,
    }
    return {name: float(amount) for name, amount in asked.items() if amount > 0}


if __name__ == "__main__":
    sys.exit(main())
