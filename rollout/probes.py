"""Parses and validates the probes of a task; rejects steps that cannot be executed or would always hold."""

import math
from dataclasses import fields
from typing import Any, get_args

from rollout.errors import TaskFileError
from rollout.fields import check_names, list_of, object_of, show, text_of
from rollout.records import Probe, ProbeStep, StepKind

KINDS: tuple[str, ...] = get_args(StepKind)
STEP_FIELDS = tuple(field.name for field in fields(ProbeStep))
KEYS = (
    "Enter",
    "Tab",
    "Escape",
    "Backspace",
    "Delete",
    "Home",
    "End",
    "PageUp",
    "PageDown",
    "ArrowLeft",
    "ArrowUp",
    "ArrowRight",
    "ArrowDown",
    "Space",
)
"""Named keys; any other key is given as the single character it types."""
LONGEST_WAIT_MS = 10_000
NEEDS: dict[str, tuple[str, ...]] = {
    "click": ("selector",),
    "type": ("selector", "value"),
    "press": ("value",),
    "hover": ("selector",),
    "wait": ("value",),
    "expect_text": ("selector", "value"),
    "expect_visible": ("selector",),
    "expect_hidden": ("selector",),
    "expect_attribute": ("selector", "name"),
    "expect_style": ("selector", "name", "value"),
    "expect_change": (),
}
"""Required fields of each kind of step."""


def probe_of(where: str, value: Any) -> Probe:
    """Parses a probe. Raises TaskFileError."""
    row = object_of(where, value)
    check_names(where, row, ("name", "steps"))
    steps = list_of(where, row, "steps")
    if not steps:
        raise TaskFileError(f"{where}: `steps` is missing or empty, wanted at least one step")
    name = text_of(where, row, "name")
    return Probe(name=name, steps=tuple(_step(f"{where}.steps[{i}]", step) for i, step in enumerate(steps)))


def _step(where: str, value: Any) -> ProbeStep:
    row = object_of(where, value)
    check_names(where, row, STEP_FIELDS)
    kind = row.get("kind")
    if kind not in KINDS:
        raise TaskFileError(f"{where}: `kind` is {show(kind)}, wanted one of {', '.join(KINDS)}")
    texts = {name: row[name] for name in ("selector", "value", "name") if row.get(name) is not None}
    for name, text in texts.items():
        if not isinstance(text, str):
            raise TaskFileError(f"{where}: `{name}` is {show(text)}, wanted text; put it in quotes")
    for name in NEEDS[kind]:
        if not texts.get(name):
            raise TaskFileError(f"{where}: a step of kind {kind!r} needs `{name}`, got {show(texts.get(name))}")
    if kind == "wait" and not _is_wait(texts["value"]):
        raise TaskFileError(
            f"{where}: `value` is {show(texts['value'])}, wanted the milliseconds to wait, more than 0 and at most "
            f"{LONGEST_WAIT_MS}, such as '500'"
        )
    if kind == "press" and len(texts["value"]) != 1 and texts["value"] not in KEYS:
        known = f"a single character or one of {', '.join(KEYS)}"
        raise TaskFileError(f"{where}: `value` is {show(texts['value'])}, wanted the key to press: {known}")
    return ProbeStep(kind=kind, **texts)


def _is_wait(text: str) -> bool:
    try:
        return math.isfinite(float(text)) and 0 < float(text) <= LONGEST_WAIT_MS
    except ValueError:
        return False
