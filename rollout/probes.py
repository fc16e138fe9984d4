"""Parses and validates the probes of a task; rejects steps that cannot be executed or would always hold."""

import math
import re
from dataclasses import fields
from typing import Any, get_args

from rollout.errors import TaskFileError
from rollout.records import Probe, ProbeStep, StepKind
from rollout.rows.fields import Row, check_names, list_of, object_of, show, text_of

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
    "fill": ("locator",),
    "select": ("locator", "value"),
    "check": ("locator",),
    "uncheck": ("locator",),
    "drag": ("locator",),
    "expect_value": ("locator",),
    "expect_count": ("locator", "value"),
    "expect_checked": ("locator",),
    "expect_enabled": ("locator",),
    "expect_disabled": ("locator",),
    "expect_url": (),
    "double_click": ("locator",),
    "focus": ("locator",),
    "blur": ("locator",),
    "dispatch": ("locator", "name"),
    "mouse": ("name",),
    "read": ("name", "reading"),
    "expect_reading": ("reading", "relation"),
    "expect_empty": ("locator",),
}
"""Required fields of each kind of step; `selector` may be replaced by another locator, `value` by `pattern`."""
LOCATORS = ("selector", "locator", "role", "text", "label", "placeholder", "test_id")
PATTERN = re.compile(r"/(.+)/([ims]*)", re.DOTALL)
TAKES_PATTERN = ("expect_text", "expect_value", "expect_attribute", "expect_url", "expect_reading")
TAKES_TO = ("drag", "type", "fill", "select", "expect_style", *TAKES_PATTERN)
RELATIONS = re.compile(r"equal|greater|at_least|less|at_most|contains|matches|truthy|close \d+")
OFFSET = re.compile(r"-?\d+(\.\d+)?,-?\d+(\.\d+)?")


def probe_of(where: str, value: Any) -> Probe:
    """Parses a probe. Raises TaskFileError."""
    row = object_of(where, value)
    check_names(where, row, ("name", "steps", "fresh"))
    steps = list_of(where, row, "steps")
    if not steps:
        raise TaskFileError(f"{where}: `steps` is missing or empty, wanted at least one step")
    name = text_of(where, row, "name")
    fresh = row.get("fresh") or False
    if not isinstance(fresh, bool):
        raise TaskFileError(f"{where}: `fresh` is {show(fresh)}, wanted true or false")
    return Probe(
        name=name, steps=tuple(_step(f"{where}.steps[{i}]", step) for i, step in enumerate(steps)), fresh=fresh
    )


def probe_row(probe: Probe) -> Row:
    """A probe as a JSON object; fields after `name` only where they are set."""
    row: Row = {"name": probe.name, "steps": [step_row(step) for step in probe.steps]}
    return {**row, "fresh": True} if probe.fresh else row


def step_row(step: ProbeStep) -> Row:
    """A step as a JSON object; fields after `name` only where they are set."""
    plain = {"kind": step.kind, "selector": step.selector, "value": step.value, "name": step.name}
    return {**plain, **step.options()}


def _step(where: str, value: Any) -> ProbeStep:
    row = object_of(where, value)
    check_names(where, row, STEP_FIELDS)
    kind = row.get("kind")
    if kind not in KINDS:
        raise TaskFileError(f"{where}: `kind` is {show(kind)}, wanted one of {', '.join(KINDS)}")
    step = _typed(where, row)
    given = [name for name in LOCATORS if getattr(step, name)]
    if len(given) > 1:
        raise TaskFileError(f"{where}: got {' and '.join(f'`{name}`' for name in given)}, wanted one locator")
    for name in NEEDS[step.kind]:
        if name in ("selector", "locator"):
            if not given:
                wanted = "selector" if name == "selector" else "selector` or another locator, `role"
                raise TaskFileError(
                    f"{where}: a step of kind {kind!r} needs `{wanted}`, got {show(row.get('selector'))}"
                )
        elif not (getattr(step, name) or (name == "value" and (step.pattern or step.to))):
            raise TaskFileError(f"{where}: a step of kind {kind!r} needs `{name}`, got {show(row.get(name))}")
    _check_values(where, step)
    _check_options(where, step)
    return step


def _typed(where: str, row: Row) -> ProbeStep:
    """The row's fields, each of its type."""
    given = {name: value for name, value in row.items() if value is not None}
    for name, value in given.items():
        if name in ("exact", "negated"):
            if not isinstance(value, bool):
                raise TaskFileError(f"{where}: `{name}` is {show(value)}, wanted true or false")
        elif name == "nth":
            if not isinstance(value, int) or isinstance(value, bool):
                raise TaskFileError(f"{where}: `nth` is {show(value)}, wanted a whole number")
        elif not isinstance(value, str):
            raise TaskFileError(f"{where}: `{name}` is {show(value)}, wanted text; put it in quotes")
    return ProbeStep(**given)


def _check_values(where: str, step: ProbeStep) -> None:
    """Refuses a `value` that the step cannot use."""
    if step.kind == "wait" and not _is_wait(step.value):
        raise TaskFileError(
            f"{where}: `value` is {show(step.value)}, wanted the milliseconds to wait, more than 0 and at most "
            f"{LONGEST_WAIT_MS}, such as '500'"
        )
    if step.kind == "press" and len(step.value) != 1 and step.value not in KEYS:
        known = f"a single character or one of {', '.join(KEYS)}"
        raise TaskFileError(f"{where}: `value` is {show(step.value)}, wanted the key to press: {known}")
    if step.kind == "expect_count" and not step.to and not step.value.isdecimal():
        raise TaskFileError(f"{where}: `value` is {show(step.value)}, wanted the number of elements, such as '3'")
    if step.kind == "drag" and not step.to and not OFFSET.fullmatch(step.value):
        raise TaskFileError(f"{where}: `value` is {show(step.value)}, wanted `to` or an offset such as '40,0'")


def _check_options(where: str, step: ProbeStep) -> None:
    """Refuses options that the step does not use."""
    if step.negated and not step.kind.startswith("expect_"):
        raise TaskFileError(f"{where}: a step of kind {step.kind!r} cannot be negated; only expectations can")
    if step.accessible_name and not step.role:
        raise TaskFileError(f"{where}: `accessible_name` needs `role`")
    if step.to and step.kind not in TAKES_TO:
        raise TaskFileError(f"{where}: a step of kind {step.kind!r} has no use for `to`")
    if step.to and step.value:
        raise TaskFileError(f"{where}: `to` replaces `value`; give one of them")
    if step.relation and not RELATIONS.fullmatch(step.relation):
        raise TaskFileError(
            f"{where}: `relation` is {show(step.relation)}, wanted {RELATIONS.pattern.replace('|', ', ')}"
        )
    if step.pattern and (step.value or step.kind not in TAKES_PATTERN):
        raise TaskFileError(f"{where}: `pattern` replaces `value` in {', '.join(TAKES_PATTERN)}")
    if step.pattern and not PATTERN.fullmatch(step.pattern):
        raise TaskFileError(
            f"{where}: `pattern` is {show(step.pattern)}, wanted `/pattern/flags` with the flags i, m, s"
        )
    if step.kind == "expect_change" and any(getattr(step, name) for name in LOCATORS[2:]):
        raise TaskFileError(f"{where}: expect_change takes no other locator than `locator`")


def _is_wait(text: str) -> bool:
    try:
        return math.isfinite(float(text)) and 0 < float(text) <= LONGEST_WAIT_MS
    except ValueError:
        return False
