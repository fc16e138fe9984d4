"""Shared code of the benchmark parts: the result type, and the built-in policy."""

from pathlib import Path

from cluster.preflight.warm_start import warm_start_blocking
from cluster.settings import RunSettings

Figures = dict[str, float]
"""Measured values, named with their units; times are medians."""


def built_in_policy() -> Path:
    """The built-in policy."""
    return warm_start_blocking(RunSettings())
