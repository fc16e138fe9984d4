"""The probes of a task: actions and expectations, in order."""

from dataclasses import dataclass, fields
from typing import Literal, get_args

PlainKind = Literal[
    "click",
    "type",
    "press",
    "hover",
    "wait",
    "expect_text",
    "expect_visible",
    "expect_hidden",
    "expect_attribute",
    "expect_style",
    "expect_change",
]
StepKind = Literal[
    PlainKind,
    "fill",
    "select",
    "check",
    "uncheck",
    "drag",
    "expect_value",
    "expect_count",
    "expect_checked",
    "expect_enabled",
    "expect_disabled",
    "expect_url",
    "double_click",
    "focus",
    "blur",
    "dispatch",
    "mouse",
    "read",
    "expect_reading",
    "expect_empty",
]
PLAIN_KINDS: tuple[str, ...] = get_args(PlainKind)
"""Kinds of steps whose expectations wait 500 ms if they have a CSS selector and no option."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ProbeStep:
    """One action or expectation of a probe.

    Examples:
        ProbeStep(kind="click", selector="#more")
        ProbeStep(kind="expect_style", selector=".bar", name="width", value="50px")
        ProbeStep(kind="click", role="button", accessible_name="Add", exact=True)
        ProbeStep(kind="expect_text", label="Total", pattern="/^[0-9]+ EUR$/", negated=True)

    Readings compare values of two moments:

        ProbeStep(kind="read", locator="css=canvas", name="picture", reading="before")
        ProbeStep(kind="fill", locator="label=Speed", value="8")
        ProbeStep(kind="read", locator="css=canvas", name="picture", reading="after")
        ProbeStep(kind="expect_reading", reading="after", relation="equal", to="before", negated=True)

    At most one of `selector`, `locator`, `role`, `text`, `label`, `placeholder` and `test_id` locates the element.
    """

    kind: StepKind
    selector: str = ""
    """CSS selector of the first matching element; unused by `press`, `wait`, `expect_url` and `expect_change`."""
    value: str = ""
    """Text to type, key to press, milliseconds to wait, or the expected value; for `mouse`, whose `name` is `move`,
    `down`, `up` or `wheel`, the position `x, y` in the viewport: sums such as `r.x + 0.5 * r.width + 10` of the numbers
    of `box` readings. A click with such a position clicks there, from the element's top left corner.

    `expect_text` holds when the element's visible text contains it; `expect_attribute` and `expect_style` when the
    value is equal. `expect_change` holds when the screenshot, or that of the element of `locator`, differs from the one
    before the probe's first step.
    """
    name: str = ""
    """The expected attribute or computed style property."""
    role: str = ""
    """ARIA role, explicit or implied by the tag; elements without a box are left out."""
    accessible_name: str = ""
    """With `role`: the accessible name, as `text`."""
    text: str = ""
    """Case-insensitive substring of the visible text with white space collapsed, or `/pattern/flags`; the innermost
    elements that contain it match."""
    label: str = ""
    """Text of the field's `<label>` or its `aria-label`, as `text`."""
    placeholder: str = ""
    """Placeholder of the field, as `text`."""
    test_id: str = ""
    """The exact `data-testid`."""
    nth: int | None = None
    """Number of the match from 0, negative from the end. Without it, `selector` takes the first match, and every other
    locator must match one element."""
    to: str = ""
    """CSS selector of the element that `drag` ends at; without it `value` is `dx,dy` in CSS pixels. For other kinds,
    the reading that is used instead of `value`."""
    pattern: str = ""
    """`/pattern/flags` of JavaScript that the text, value or attribute matches, instead of `value`."""
    exact: bool = False
    """Compares texts whole and with case: those of the locator, and that of `expect_text`."""
    negated: bool = False
    """The expectation holds when its condition does not; the element must still exist, unless visibility or the count
    is expected."""
    locator: str = ""
    """Chain of locators as Playwright has them, such as `css=#list >> role=button "Add" >> nth=0`; must match one
    element. Open shadow roots are searched. Texts are an element's whole text content, also of hidden parts.

    Parts: `css=`, `frame=` (CSS), `text=`, `label=`, `placeholder=`, `title=`, `alt=`, `test_id=`, `role=NAME TEXT`,
    `has_text=`, `has_not_text=`, `visible=true`, `nth=`, `parent=`. A text in double quotes is compared whole and with
    case, `/pattern/flags` is an expression, any other text a substring without case.
    """
    reading: str = ""
    """Name of the reading that `read` keeps and `expect_reading` compares, there with conversions: `before|number`.

    `read` reads `name`: `text`, `inner_text`, `html`, `value`, `count`, `box`, `picture` (of the element in the
    viewport), `visible`, `checked`, `enabled`, `attribute:NAME`, or `script`, the result of the function `value` in the
    page's world, called with the element if there is one. Conversions: `number` and `integer` (of the leading digits),
    `trim`, `length`, `.NAME`.
    """
    relation: str = ""
    """Of `expect_reading` to `value`, a JSON value, or to the reading `to`: `equal`, `greater`, `at_least`, `less`,
    `at_most`, `contains`, `matches` (`pattern`), `truthy`, or `close N`, equal to N decimals.

    With `name` the value is read again until the relation holds; otherwise the kept reading is compared once.
    """

    @property
    def patience_ms(self) -> float:
        """Page time that an expectation waits: 5 s, or 500 ms if the step uses only the first fields and kinds."""
        return 500.0 if self.is_plain else 5000.0

    @property
    def is_plain(self) -> bool:
        """Whether the step uses only the fields `kind`, `selector`, `value`, `name` and the kinds that these served."""
        return self.kind in PLAIN_KINDS and not self.options()

    def options(self) -> dict[str, str | int | bool]:
        """The fields after `name` that are set."""
        found = {one.name: getattr(self, one.name) for one in fields(self)[4:]}
        return {name: value for name, value in found.items() if value not in (None, "") and value is not False}


@dataclass(frozen=True, slots=True, kw_only=True)
class Probe:
    """An interaction test of a page: actions, then expectations, in order."""

    name: str
    steps: tuple[ProbeStep, ...]
    fresh: bool = False
    """Whether the probe runs on a page of its own, just loaded. Others follow each other on the rendered page."""
