"""Tests of processor detection: CPU flags, and limits set by environment variables."""

from pathlib import Path

import pytest

from learner.processor import best_units, flags, has_bfloat16_units

AMX = "fpu avx2 avx512f avx512_bf16 amx_bf16 amx_tile"


def cpuinfo(folder: Path, line: str) -> Path:
    path = folder / "cpuinfo"
    path.write_text(f"processor\t: 0\nvendor_id\t: X\nflags\t\t: {line}\nbugs\t\t: spectre_v1\n")
    return path


@pytest.mark.parametrize(
    ("line", "units", "best"),
    [
        (AMX, True, "AMX"),
        ("fpu avx2 avx512f avx512_bf16", False, "AVX-512 BF16"),
        ("fpu avx2 avx512f", False, "AVX-512"),
        ("fpu avx2", False, "AVX2"),
        ("fpu sse2", False, "no AVX2"),
    ],
)
def test_only_amx_counts_as_bfloat16_units(tmp_path: Path, line: str, units: bool, best: str) -> None:
    path = cpuinfo(tmp_path, line)
    assert has_bfloat16_units(path, {}) is units
    assert best_units(path) == best


@pytest.mark.parametrize(
    ("environ", "units"),
    [
        ({"ONEDNN_MAX_CPU_ISA": "AVX2"}, False),
        ({"ONEDNN_MAX_CPU_ISA": "AVX512_CORE_AMX"}, True),
        ({"ONEDNN_MAX_CPU_ISA": "ALL"}, True),
        ({"ATEN_CPU_CAPABILITY": "avx2"}, False),
        ({"ATEN_CPU_CAPABILITY": "avx512"}, True),
    ],
)
def test_environment_variables_can_disable_bfloat16_units(tmp_path: Path, environ: dict[str, str], units: bool) -> None:
    assert has_bfloat16_units(cpuinfo(tmp_path, AMX), environ) is units


def test_missing_cpuinfo_means_no_units(tmp_path: Path) -> None:
    assert flags(tmp_path / "none") == frozenset()
    assert not has_bfloat16_units(tmp_path / "none", {})
