"""What this machine's processor multiplies fast: bfloat16 in matrix units (AMX), or float32 alone."""

import os
from collections.abc import Mapping
from pathlib import Path

CPUINFO = Path("/proc/cpuinfo")
UNITS = {"amx_bf16": "AMX", "avx512_bf16": "AVX-512 BF16", "avx512f": "AVX-512", "avx2": "AVX2"}
"""Linux's names of the vector and matrix units that matter to matrix products, best first, and their usual names."""


def flags(cpuinfo: Path = CPUINFO) -> frozenset[str]:
    """Linux's feature flags of the processor; empty where there is no such list."""
    if not cpuinfo.exists():
        return frozenset()
    lines = cpuinfo.read_text(encoding="utf-8").splitlines()
    return next((frozenset(line.partition(":")[2].split()) for line in lines if line.startswith("flags")), frozenset())


def has_bfloat16_units(cpuinfo: Path = CPUINFO, environ: Mapping[str, str] = os.environ) -> bool:
    """Whether torch multiplies bfloat16 in matrix units on this CPU, where it is 2.5 times as fast as float32.

    Without them torch's bfloat16 product on a CPU can be a scalar loop on one thread, forty times slower than
    float32. `ONEDNN_MAX_CPU_ISA` and `ATEN_CPU_CAPABILITY` may forbid the units to the libraries that use them.
    """
    allowed = environ.get("ONEDNN_MAX_CPU_ISA", "ALL").upper()
    vectors = environ.get("ATEN_CPU_CAPABILITY", "avx512").lower()
    return "amx_bf16" in flags(cpuinfo) and ("AMX" in allowed or allowed in ("ALL", "DEFAULT")) and "avx512" in vectors


def best_units(cpuinfo: Path = CPUINFO) -> str:
    """The usual name of the best units there are. Example: `AVX2`."""
    found = flags(cpuinfo)
    return next((name for flag, name in UNITS.items() if flag in found), "no AVX2")
