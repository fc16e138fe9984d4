"""The benchmarks of `relook benchmark`, by name."""

from cluster.benchmarks.artifacts_bench import ArtifactsBench
from cluster.benchmarks.benchmark import MakeBenchmark
from cluster.benchmarks.design2code import Design2Code
from cluster.benchmarks.fullstackbench import FullStackBench
from cluster.benchmarks.interactscience import InteractScience
from cluster.benchmarks.webbench.benchmark import WebBench
from cluster.benchmarks.webgen import WebGenSingleFile

BENCHMARKS: dict[str, MakeBenchmark] = {
    "artifactsbench": ArtifactsBench,
    "design2code": Design2Code,
    "fullstackbench": FullStackBench,
    "interactscience": InteractScience,
    "webbench": WebBench,
    "webgen-single-file": WebGenSingleFile,
}
