"""Benchmarks of the training loop: simulated cluster, streaming against synchronous, and TRL; one process each.

The environment variable LOOP_PARTS selects some of them, such as `simulated`.
"""

import multiprocessing
import os
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor

from cluster.experiments.bench.part import Figures
from cluster.experiments.bench.training_loop.simulated import bench_simulated
from cluster.experiments.bench.training_loop.streaming import bench_streaming
from cluster.experiments.bench.training_loop.trl import bench_trl

PARTS: dict[str, Callable[[], Figures]] = {
    "simulated": bench_simulated,
    "streaming": bench_streaming,
    "trl": bench_trl,
}
RESULTS = (
    "simulated_share_of_bound",
    "ratio_streaming_over_synchronous",
    "ratio_streaming_over_lockstep",
    "ratio_over_trl",
)


def bench_loop() -> Figures:
    """The main results, and all other values prefixed with their part's name."""
    figures: Figures = {}
    for name in os.environ.get("LOOP_PARTS", ",".join(PARTS)).split(","):
        with ProcessPoolExecutor(1, multiprocessing.get_context("spawn")) as process:
            found = process.submit(PARTS[name]).result()
        figures |= {key if key in RESULTS else f"{name}_{key}": value for key, value in found.items()}
    return figures
