"""OpenMP threads of torch on shared cores."""

import os

SPINS = "2000"
"""Iterations that a waiting thread spins before it sleeps.

A step of the warm start, two threads on two cores: 1.83 s alone and 2.4 s beside two busy processes; with 20,000
iterations 1.84 s and 10.5 s, with none 2.08 s and 2.3 s.
"""


def limit_spinning() -> None:
    """Makes waiting threads sleep soon, unless GOMP_SPINCOUNT is set. Call it before torch is imported."""
    os.environ.setdefault("GOMP_SPINCOUNT", SPINS)
