"""Measures a policy on a public benchmark: `python -m cluster.benchmark NAME --source DIR --run RUN`.

Answers come from a run's champion, a Hugging Face directory, an OpenAI-compatible server, or a file of existing
answers. The command writes a folder with `results.parquet`, `report.html` and `summary.json`; repeated with the same
`--out`, it continues. Exit code 0 when every test ran, 1 when machine faults are left, 2 for unusable input, 130 when
Ctrl-C or SIGTERM stopped it.
"""

import argparse
import asyncio
import hashlib
import json
import logging
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

from actors.settings import CriticSettings
from cluster.benchmarks.benchmark import Benchmark
from cluster.benchmarks.measure import measure
from cluster.benchmarks.records import Dataset, Item, Sampling
from cluster.benchmarks.registry import BENCHMARKS
from cluster.benchmarks.results import ResultFolder
from cluster.benchmarks.source import Source, of_endpoint, of_file, of_model
from cluster.commands import program
from cluster.distributed.stop_signals import STOPPED, until_stopped
from cluster.paths import resolve_path
from cluster.preflight.local_engines import champion_of, settings_of
from cluster.settings import RunSettings
from rollout.errors import BadInput, RelookError, SettingsError, TaskFileError
from rollout.rows.fields import show

NO_PARAMETERS = frozenset(
    {"kind", "weight", "base_url", "model", "key_env", "judgments"}
    | {"timeout_s", "deadline_s", "retries", "in_flight", "hedge_share", "max_total_tokens"}
)
"""Settings of a judge that change no request; its address and its patience may differ when a benchmark continues."""


def main(argv: list[str] | None = None) -> int:
    """Runs the command. Returns its exit code."""
    options = _parse(argv)
    logging.basicConfig(level=logging.WARNING, format="%(levelname)s %(name)s: %(message)s")
    try:
        benchmark = BENCHMARKS[options.benchmark](options.faithful)
        run = champion_of(resolve_path(options.runs), options.run) if options.run else None
        settings = _exploring(settings_of(run, options.settings, options.set), benchmark.explore)
        benchmark.sampling = _sampling(options, benchmark.sampling)
        if benchmark.needs_judge and settings.critic.kind != "http":
            raise SettingsError(
                f"{benchmark.name} needs a multimodal judge: set critic.kind='http', critic.base_url and critic.model"
            )
        dataset = benchmark.load(options.source)
        source = _source(options, run, dataset)
        dataset = _chosen(dataset, options)
        folder = ResultFolder(_out(options, source), _manifest(benchmark, dataset, source, settings, options))
        work = measure(benchmark, dataset, source, settings, folder, seed=options.seed)
        summary = asyncio.run(until_stopped(work))
    except asyncio.CancelledError:
        print(f"relook: stopped; repeat the command with --out {folder.path} to continue", file=sys.stderr)
        return STOPPED
    except RelookError as error:
        print(f"relook: {error}", file=sys.stderr)
        return 2 if isinstance(error, BadInput) else 1
    print(describe(summary))
    print(f"  report   {folder.path / 'report.html'}\n  table    {folder.path / 'results.parquet'}")
    left = sum(counted["machine_fault"] for counted in summary["tests"].values())
    if left:
        print(f"  {left} tests met machine faults; repeat the command with --out {folder.path}")
    return 1 if left else 0


def describe(summary: Mapping[str, Any]) -> str:
    """The scores of each subject, one line each."""
    lines = []
    for subject, scores in summary["scores"].items():
        shown = "  ".join(f"{name} {100 * value:.2f} %" for name, value in scores.items())
        counted = summary["tests"][subject]
        lines.append(f"{subject:10}  {shown}  ({counted['no_answer']} no answer, {counted['machine_fault']} faults)")
    return "\n".join(lines)


def _exploring(settings: RunSettings, explore: int) -> RunSettings:
    """The settings, with the benchmark's number of controls to operate if they name none."""
    browser = settings.browser
    if browser.explore or not explore:
        return settings
    return settings.model_copy(update={"browser": browser.model_copy(update={"explore": explore})})


def _source(options: argparse.Namespace, run: Path | None, dataset: Dataset) -> Source:
    """The source of the answers. Raises BadInput when it cannot be used."""
    if run is not None:
        return of_model(run / "champion", options.name or run.name)
    if options.model:
        return of_model(options.model, options.name or options.model.name)
    if options.answers:
        name = options.name or options.answers.name.partition(".")[0]
        keys = [key for item in dataset.items for key in item.keys or (item.id,)]
        return of_file(options.answers, name, keys)
    return of_endpoint(options.endpoint, options.name, options.key_env)


def _sampling(options: argparse.Namespace, usual: Sampling) -> Sampling:
    """The benchmark's sampling, with the options that override it."""
    given = {"temperature": options.temperature, "max_tokens": options.max_tokens}
    return replace(usual, **{name: value for name, value in given.items() if value is not None})


def _chosen(dataset: Dataset, options: argparse.Namespace) -> Dataset:
    """The items that --only and --num select. Raises TaskFileError for an unknown id."""
    known = {item.id: item for item in dataset.items}
    unknown = [name for name in options.only if name not in known]
    if unknown:
        raise TaskFileError(f"--only {show(unknown[0])}: no such item; the first one is {show(dataset.items[0].id)}")
    items: Sequence[Item] = [known[name] for name in options.only] or dataset.items
    return replace(dataset, items=tuple(items[: options.num]))


def _out(options: argparse.Namespace, source: Source) -> Path:
    stamp = time.strftime("%Y%m%d-%H%M%S")
    out: Path = options.out or resolve_path("runs") / "benchmarks" / f"{options.benchmark}-{source.name}-{stamp}"
    return out


def _manifest(
    benchmark: Benchmark, dataset: Dataset, source: Source, settings: RunSettings, options: argparse.Namespace
) -> dict[str, Any]:
    """The identity of the measurement; a folder of results belongs to one."""
    prompts = hashlib.sha256()
    for item in dataset.items:
        prompts.update(json.dumps([item.id, *(asdict(message) for message in item.messages)]).encode())
    return {
        "benchmark": benchmark.name,
        "faithful": options.faithful,
        "policy": source.name,
        "answers": source.where,
        "judge": _judge(benchmark, settings) if benchmark.needs_judge else None,
        "data_sha256": dataset.sha256,
        "prompts_sha256": prompts.hexdigest(),
        "items": len(dataset.items),
        "rows_left_out": dataset.left_out,
        "sampling": asdict(benchmark.sampling),
        "seed": options.seed,
    }


def _judge(benchmark: Benchmark, settings: RunSettings) -> dict[str, Any]:
    """The judge's model, the hash of the question to it, the parameters of the requests, and of the pictures."""
    fields = CriticSettings.model_fields.keys() - NO_PARAMETERS
    parameters = settings.critic.model_dump(mode="json", include=fields)
    prompt = hashlib.sha256(benchmark.judge_prompt.encode()).hexdigest()
    shown = {"explore": settings.renderer.explore, "full_page_height": settings.renderer.full_page_px}
    return {"model": settings.critic.model, "prompt_sha256": prompt, "parameters": parameters, "pictures": shown}


def _parse(argv: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog=program("benchmark"), description="Measures a policy on a public benchmark (docs/benchmarks.md)."
    )
    parser.add_argument("benchmark", choices=BENCHMARKS, help="name of the benchmark")
    parser.add_argument("--source", type=Path, required=True, help="the benchmark's files, cloned or downloaded")
    answers = parser.add_mutually_exclusive_group(required=True)
    answers.add_argument("--run", help="a run whose champion answers")
    answers.add_argument("--model", type=Path, help="a Hugging Face model directory that answers")
    answers.add_argument("--endpoint", help="an OpenAI-compatible server that answers, with --name MODEL")
    answers.add_argument("--answers", type=Path, help="JSON lines of existing answers: `id`, `answer`")
    parser.add_argument("--name", default="", help="the policy's name in reports; with --endpoint, its model")
    parser.add_argument("--key-env", default="", help="environment variable with the endpoint's key")
    parser.add_argument("--faithful", action="store_true", help="follow the public harness with its defects")
    parser.add_argument("--only", nargs="+", default=[], metavar="ID", help="play these items only")
    parser.add_argument("--num", type=int, help="play the first items only")
    parser.add_argument("--seed", type=int, default=0, help="seed of the samples")
    parser.add_argument("--temperature", type=float, help="default: the benchmark's")
    parser.add_argument("--max-tokens", type=int, help="longest answer; default: the benchmark's")
    parser.add_argument("--out", type=Path, help="folder of the results; an existing one is continued")
    parser.add_argument("--settings", type=Path, help="a TOML file with browsers, engines and cluster")
    parser.add_argument("--set", action="append", default=[], metavar="a.b=c", help="override one setting")
    parser.add_argument("--runs", type=Path, default=Path("runs"), help="folder of runs, for --run")
    return parser.parse_args(argv)


if __name__ == "__main__":
    sys.exit(main())
