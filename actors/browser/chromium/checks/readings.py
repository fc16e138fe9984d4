"""Values that a probe read from its page: their conversions and comparisons. Formulas of mouse positions."""

import json
import math
import re
from collections.abc import Mapping
from typing import Any

NUMBER = re.compile(r"\s*([+-]?(?:\d+\.?\d*|\.\d+)(?:[eE][+-]?\d+)?)")
INTEGER = re.compile(r"\s*([+-]?\d+)")
PATTERN = re.compile(r"/(.+)/([ims]*)", re.DOTALL)


def reading(values: Mapping[str, Any], formula: str) -> Any:
    """A kept value after its conversions, such as `before|trim|number`. Raises KeyError if it was never read."""
    name, *conversions = formula.split("|")
    value = values[name]
    for conversion in conversions:
        value = _converted(value, conversion)
    return value


def position(values: Mapping[str, Any], text: str) -> tuple[float, float]:
    """A viewport position such as `r.x + 0.5 * r.width, r.y + 10`. Raises KeyError for a missing reading."""
    across, down = (_sum(values, formula) for formula in text.split(","))
    return across, down


def related(value: Any, relation: str, wanted: Any, pattern: str = "") -> bool:
    """Whether a value has a relation of `ProbeStep.relation` to another; never for values that cannot be compared."""
    kind, _, decimals = relation.partition(" ")
    if kind == "equal":
        return _same(value, wanted)
    if kind == "truthy":
        return bool(value) and not _is_nan(value)
    if kind == "contains":
        return as_text(wanted) in value if isinstance(value, str) else isinstance(value, list) and wanted in value
    if kind == "matches":
        return isinstance(value, str) and bool(compiled(pattern).search(value))
    if not (_is_number(value) and _is_number(wanted)):
        return False
    if kind == "close":
        return abs(value - wanted) < 0.5 * 10.0 ** -int(decimals)
    holds: bool = {
        "greater": value > wanted,
        "at_least": value >= wanted,
        "less": value < wanted,
        "at_most": value <= wanted,
    }[kind]
    return holds


def compiled(pattern: str) -> re.Pattern[str]:
    """A `/pattern/flags` as Python has it. Raises ValueError when Python does not know the pattern."""
    found = PATTERN.fullmatch(pattern)
    if found is None:
        raise ValueError(f"{pattern!r} is not a pattern, wanted `/pattern/flags`")
    try:
        return re.compile(found[1], re.ASCII | sum({"i": re.I, "m": re.M, "s": re.S}[flag] for flag in found[2]))
    except re.error as error:
        raise ValueError(f"{pattern!r}: {error}") from error


def as_text(value: Any) -> str:
    """A reading as a step's value: numbers as JavaScript writes them."""
    if isinstance(value, str):
        return value.encode("utf-8", "replace").decode()
    if isinstance(value, float) and value.is_integer():
        return str(int(value))
    return json.dumps(value)


def _converted(value: Any, conversion: str) -> Any:
    if conversion in ("number", "integer"):
        found = (NUMBER if conversion == "number" else INTEGER).match(as_text(value))
        return float(found[1]) if found else math.nan
    if conversion == "trim":
        return str(value).strip()
    if conversion == "length":
        return len(value) if isinstance(value, (str, list)) else None
    if conversion == "truthy":
        return bool(value)
    name = conversion.removeprefix(".")
    if isinstance(value, list) and name.isdecimal():
        return value[int(name)] if int(name) < len(value) else None
    return value.get(name) if isinstance(value, dict) else None


def _sum(values: Mapping[str, Any], formula: str) -> float:
    total = 0.0
    for term in formula.split(" + "):
        product = 1.0
        for factor in term.strip().split(" * "):
            name, _, field = factor.strip().partition(".")
            product *= float(values[name][field]) if name in values else _plain(factor)
        total += product
    return total


def _plain(text: str) -> float:
    try:
        return float(text)
    except ValueError as error:
        raise KeyError(text.strip()) from error


def _same(value: Any, wanted: Any) -> bool:
    if _is_number(value) and _is_number(wanted):
        return bool(value == wanted) or (_is_nan(value) and _is_nan(wanted))
    return type(value) is type(wanted) and bool(value == wanted)


def _is_number(value: Any) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool)


def _is_nan(value: Any) -> bool:
    return isinstance(value, float) and math.isnan(value)
