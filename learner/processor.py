"""Detects CPU vector and matrix units (AMX, AVX), to choose between bfloat16 and float32."""

import os
from collections.abc import Mapping
from pathlib import Path

CPUINFO = Path("/proc/cpuinfo")
UNITS = {"amx_bf16": "AMX", "avx512_bf16": "AVX-512 BF16", "avx512f": "AVX-512", "avx2": "AVX2"}
"""Linux CPU flags of the units that speed up matrix products, best first, with their usual names."""


def flags(cpuinfo: Path = CPUINFO) -> frozenset[str]:
    """Linux's CPU feature flags; empty if /proc/cpuinfo does not exist."""
    if not cpuinfo.exists():
        return frozenset()
    lines = cpuinfo.read_text(encoding="utf-8").splitlines()
    return next((frozenset(line.partition(":")[2].split()) for line in lines if line.startswith("flags")), frozenset())


def has_bfloat16_units(cpuinfo: Path = CPUINFO, environ: Mapping[str, str] = os.environ) -> bool:
    """Whether torch multiplies bfloat16 in matrix units on this CPU, 2.5 times as fast as float32.

    Without them a bfloat16 product on a CPU can be a scalar loop on one thread, forty times slower than float32.
    `ONEDNN_MAX_CPU_ISA` and `ATEN_CPU_CAPABILITY` can disable the units in the libraries that use them.
    """
    allowed = environ.get("ONEDNN_MAX_CPU_ISA", "ALL").upper()
    vectors = environ.get("ATEN_CPU_CAPABILITY", "avx512").lower()
    return "amx_bf16" in flags(cpuinfo) and ("AMX" in allowed or allowed in ("ALL", "DEFAULT")) and "avx512" in vectors


def best_units(cpuinfo: Path = CPUINFO) -> str:
    """The usual name of the best available units. Example: `AVX2`."""
    found = flags(cpuinfo)
    return next((name for flag, name in UNITS.items() if flag in found), "no AVX2")
