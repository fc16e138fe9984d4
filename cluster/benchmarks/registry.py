"""The benchmarks of `relook benchmark`, by name."""

from cluster.benchmarks.artifacts_bench import ArtifactsBench
from cluster.benchmarks.benchmark import MakeBenchmark
from cluster.benchmarks.design2code import Design2Code
from cluster.benchmarks.interactscience import InteractScience
from cluster.benchmarks.webbench.benchmark import WebBench

BENCHMARKS: dict[str, MakeBenchmark] = {
    "artifactsbench": ArtifactsBench,
    "design2code": Design2Code,
    "interactscience": InteractScience,
    "webbench": WebBench,
}
