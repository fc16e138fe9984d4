"""Benchmark of MLflow's pages of a run with 100,000 metric values and 2,000 traces, against one of a single step.

The run is played on the simulated cluster and logged by the run's own tracker. `mlflow ui` serves it to a real browser.
All times are medians of LOADS loads of a page from the browser's cache, the two stores in turn.
"""

import os
import sqlite3
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import Any

import httpx

from cluster.experiments.bench.baselines import headless_shell
from cluster.experiments.bench.part import Figures
from cluster.experiments.bench.tracking.long_run import LongRun, log_run
from cluster.experiments.bench.tracking.server import Server, mlflow_ui

STEPS = int(os.environ.get("TRACKING_STEPS", "1180"))
"""Steps of the long run, each with 85 metric values and two traces."""
LOADS = int(os.environ.get("TRACKING_LOADS", "3"))
CURVE = "reward/first"
"""A metric with one value for each step."""
WAIT_MS = 300_000


@dataclass(frozen=True, slots=True, kw_only=True)
class View:
    """A page of MLflow."""

    path: str
    """Path below the experiment; `{run}` stands for the run."""
    shows: str
    """Selector of the content whose appearance ends the measurement."""


VIEWS = {
    "run_page": View(path="runs/{run}", shows=f"text={CURVE}"),
    "charts": View(path="runs/{run}/model-metrics", shows=".js-plotly-plot .scatterlayer path"),
    "run_traces": View(path="runs/{run}/traces", shows="text=/^tr-/"),
    "traces": View(path="traces", shows="text=/^train[/]/"),
}


def bench_tracking() -> Figures:
    """Seconds until each page of MLflow shows its content, and seconds of its requests; database and memory in MB.

    The prefix `ratio_` compares the long run with the run of one step, whose figures begin with `small_`.
    """
    with tempfile.TemporaryDirectory() as folder:
        began = time.perf_counter()
        runs = {"": log_run(Path(folder) / "long", STEPS), "small_": log_run(Path(folder) / "small", 1)}
        figures = {"log_s": time.perf_counter() - began, "steps": float(STEPS)} | _sizes(runs[""])
        with mlflow_ui(runs[""].database) as long, mlflow_ui(runs["small_"].database) as small:
            times = _times(runs, {"": long, "small_": small})
            memory = {"server_peak_mb": long.peak_mb, "small_server_peak_mb": small.peak_mb}
        stored = {f"{prefix}database_mb": run.database.stat().st_size / 1e6 for prefix, run in runs.items()}
    ratios = {f"ratio_{name}": times[name] / times[f"small_{name}"] for name in times if f"small_{name}" in times}
    return times | ratios | stored | memory | figures


def _sizes(run: LongRun) -> Figures:
    """Number of metric values, traces and spans in the database."""
    database = sqlite3.connect(run.database)
    try:
        tables = {"metrics": "metrics", "traces": "trace_info", "spans": "spans"}
        counted = {name: database.execute(f"SELECT count(*) FROM {table}") for name, table in tables.items()}
        return {name: float(rows.fetchone()[0]) for name, rows in counted.items()}
    finally:
        database.close()


def _times(runs: dict[str, LongRun], servers: dict[str, Server]) -> Figures:
    """Median seconds of each view and of each request, by prefix of the run."""
    from playwright.sync_api import sync_playwright

    seconds: dict[str, list[float]] = {}
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=headless_shell(), chromium_sandbox=False)
        contexts = {prefix: browser.new_context(viewport={"width": 1400, "height": 900}) for prefix in runs}
        for load in range(1 + LOADS):  # The first one fills the browser's cache.
            for prefix, run in runs.items():
                found = {f"{name}_s": _open(contexts[prefix], servers[prefix], run, VIEWS[name]) for name in VIEWS}
                found |= _requests(servers[prefix], run)
                for name, value in found.items() if load else ():
                    seconds.setdefault(prefix + name, []).append(value)
        browser.close()
    return {name: median(values) for name, values in seconds.items()}


def _open(context: Any, server: Server, run: LongRun, view: View) -> float:
    """Seconds from opening a page until it shows its content."""
    page = context.new_page()
    page.set_default_timeout(WAIT_MS)
    began = time.perf_counter()
    page.goto(f"{server.url}/#/experiments/{run.experiment}/{view.path.format(run=run.mlflow_run)}")
    page.locator(view.shows).first.wait_for(state="attached")
    took = time.perf_counter() - began
    page.close()
    return took


def _requests(server: Server, run: LongRun) -> Figures:
    """Seconds of the requests behind the pages: the run, one curve, a list of its traces."""
    places = [{"type": "MLFLOW_EXPERIMENT", "mlflow_experiment": {"experiment_id": run.experiment}}]
    wanted = f"attributes.run_id = '{run.mlflow_run}'"
    search = {"locations": places, "filter": wanted, "max_results": 100, "order_by": ["timestamp DESC"]}
    curve = {"run_ids": run.mlflow_run, "metric_key": CURVE, "max_results": "320"}
    figures: Figures = {}
    with httpx.Client(base_url=f"{server.url}/ajax-api", timeout=WAIT_MS / 1000) as http:
        requests = {
            "request_run_s": http.build_request("GET", "2.0/mlflow/runs/get", params={"run_id": run.mlflow_run}),
            "request_curve_s": http.build_request("GET", "2.0/mlflow/metrics/get-history-bulk-interval", params=curve),
            "request_traces_s": http.build_request("POST", "3.0/mlflow/traces/search", json=search),
        }
        for name, request in requests.items():
            began = time.perf_counter()
            http.send(request).raise_for_status()
            figures[name] = time.perf_counter() - began
    return figures
