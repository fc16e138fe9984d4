"""Shorthand for probe steps. Probes run in order on one page; each starts in the state left by the previous one."""

from rollout.records import Probe, ProbeStep


def probe(name: str, *steps: ProbeStep) -> Probe:
    """An interaction: actions, then expectations."""
    return Probe(name=name, steps=steps)


def click(selector: str) -> ProbeStep:
    """Clicks an element."""
    return ProbeStep(kind="click", selector=selector)


def type_text(selector: str, text: str) -> ProbeStep:
    """Types text into a field."""
    return ProbeStep(kind="type", selector=selector, value=text)


def text(selector: str, value: str) -> ProbeStep:
    """Expects the element's visible text to contain `value`."""
    return ProbeStep(kind="expect_text", selector=selector, value=value)


def visible(selector: str) -> ProbeStep:
    """Expects the element to be visible."""
    return ProbeStep(kind="expect_visible", selector=selector)


def hidden(selector: str) -> ProbeStep:
    """Expects the element to be invisible."""
    return ProbeStep(kind="expect_hidden", selector=selector)


def style(selector: str, name: str, value: str) -> ProbeStep:
    """Expects a computed style property to have this value."""
    return ProbeStep(kind="expect_style", selector=selector, name=name, value=value)
