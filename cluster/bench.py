"""Benchmarks this machine: `python -m cluster.bench [--only render]` writes `runs/bench.json`."""

import sys

from cluster.experiments.bench.__main__ import main

if __name__ == "__main__":
    sys.exit(main())
