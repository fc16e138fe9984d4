"""Draws charts as inline SVG: few ticks, labels at the line ends, a tooltip on each point.

Colours are CSS variables (`blue`, `green`, …), so that one drawing works in light and dark mode.
"""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from statistics import fmean

from cluster.report.html import Html, el, join

WIDTH, HEIGHT = 560, 230
LEFT, RIGHT = 46, 112
TOP, BOTTOM = 14, 30
LABEL_GAP = 15
TICK_CHAR_WIDTH = 7
SMOOTH_FROM = 16
"""Number of points from which a line is drawn thin with a bold moving mean."""
MAX_TOOLTIPS = 160
MAX_BARS = 60

Point = tuple[float, float]
Show = Callable[[float], str]


@dataclass(frozen=True, slots=True, kw_only=True)
class Series:
    """A named line. `points` are (x, y); points that are not finite are skipped."""

    name: str
    points: tuple[Point, ...]
    tone: str
    spans: tuple[tuple[float, float, float], ...] = ()
    """(x, low, high) of intervals to draw around points."""
    marks: bool = False
    """Whether each point has a dot, for values that are measured at intervals."""

    @property
    def finite(self) -> list[Point]:
        """The points with finite coordinates."""
        return [(x, y) for x, y in self.points if math.isfinite(x) and math.isfinite(y)]


def number(value: float) -> str:
    """Formats a number with about three significant digits."""
    if not math.isfinite(value):
        return "–"
    size = abs(value)
    if size and (size < 1e-3 or size >= 1e6):
        digits, _, power = f"{value:.1e}".partition("e")
        return f"{digits.removesuffix('.0')}e{int(power)}"
    if value == round(value) or size >= 100:
        return f"{value:,.0f}"
    return f"{value:.1f}" if size >= 10 else f"{value:.3g}" if size >= 0.01 else f"{value:.2g}"


def share(value: float) -> str:
    """Formats a score or reward in [0, 1] with two decimals, so that values are easy to compare."""
    return f"{value:.2f}" if math.isfinite(value) else "–"


def percent(value: float) -> str:
    """Formats a share as a percentage, with one decimal below 1 %."""
    if not math.isfinite(value):
        return "–"
    return f"{value:.1%}" if 0 < value < 0.01 else f"{value:.0%}"


def lines(
    series: Sequence[Series],
    *,
    show: Show = number,
    low: float | None = None,
    high: float | None = None,
    log: bool = False,
    fill: bool = False,
    axis: str = "step",
) -> Html:
    """Draws a line chart over steps, or over the quantity named by `axis`.

    `low` and `high` bound the vertical axis; `log` makes it logarithmic and skips values that are not positive; `fill`
    shades the area between the first two series.
    """
    drawn = [(one, [(x, y) for x, y in one.finite if y > 0 or not log]) for one in series]
    drawn = [(one, points) for one, points in drawn if points]
    if not drawn:
        return el("p", "Nothing measured yet.", class_="empty")
    xs = [x for _, points in drawn for x, _ in points]
    ys = [y for _, points in drawn for _, y in points] + [y for one, _ in drawn for _, *span in one.spans for y in span]
    across = _Axis(min(xs), max(xs), LEFT, WIDTH - RIGHT, whole=True)
    up = _Axis(*_range(ys, low, high, log), HEIGHT - BOTTOM, TOP, log=log)
    parts = [_grid(across, up, show, axis)]
    if fill and len(drawn) > 1:
        parts.append(_between(drawn[0][1], drawn[1][1], across, up, drawn[1][0].tone))
    parts += [_line(one, points, across, up, show, axis) for one, points in drawn]
    ends = [(one.name, show(_bold(points, one.marks)[-1][1]), one.tone, up(_bold(points, one.marks)[-1][1]))
            for one, points in drawn]  # fmt: skip
    return _frame(*parts, _labels(ends))


def bars(steps: Sequence[float], layers: Mapping[str, tuple[Sequence[float], str]], *, show: Show = number) -> Html:
    """Draws stacked bars, one a step: `layers` maps a name to its values and tone, lowest layer first.

    If there are more than `MAX_BARS` steps, adjacent steps are averaged.
    """
    if not steps or not layers:
        return el("p", "Nothing measured yet.", class_="empty")
    size = math.ceil(len(steps) / MAX_BARS)
    starts = range(0, len(steps), size)
    columns = [{name: fmean(values[at : at + size]) for name, (values, _) in layers.items()} for at in starts]
    top = max(sum(column.values()) for column in columns)
    across = _Axis(0, len(columns), LEFT, WIDTH - RIGHT)
    up = _Axis(0, top or 1.0, HEIGHT - BOTTOM, TOP)
    width = (WIDTH - RIGHT - LEFT) / len(columns)
    gap = min(2.0, width * 0.2)
    parts, middles = [_ticks_up(up, show)], {}
    for place, column in enumerate(columns):
        base = 0.0
        first, last = steps[starts[place]], steps[min(starts[place] + size, len(steps)) - 1]
        when = f"step {number(first)}" if first == last else f"steps {number(first)} to {number(last)}"
        for name, value in column.items():
            tall = up(base) - up(base + value)
            box = {"x": f"{across(place) + gap / 2:.1f}", "y": f"{up(base + value):.1f}"}
            tip = el("title", f"{name}, {when}: {show(value)} of {show(sum(column.values()))}")
            if tall > 0:
                parts.append(el("rect", tip, **box, width=f"{width - gap:.1f}", height=f"{tall:.1f}",
                                class_=f"bar fill-{layers[name][1]}"))  # fmt: skip
            middles[name] = up(base + value / 2)
            base += value
    for at in sorted({0, len(columns) // 2, len(columns) - 1}):
        parts.append(_text(number(steps[starts[at]]), across(at + 0.5), HEIGHT - 12, "tick mid"))
    parts.append(_text("step", WIDTH - RIGHT + 8, HEIGHT - 12, "tick"))
    ends = [(name, show(columns[-1][name]), layers[name][1], y) for name, y in middles.items()]
    return _frame(*parts, _labels(ends))


def spark(values: Sequence[float], tone: str) -> Html:
    """Draws a small line without axes; empty for fewer than two values."""
    finite = [value for value in values if math.isfinite(value)]
    if len(finite) < 2:
        return Html("")
    across, up = _Axis(0, len(finite) - 1, 2, 118), _Axis(min(finite), max(finite), 22, 4)
    path = _path(_moving(list(enumerate(finite))), across, up)
    return el("svg", el("path", d=path, class_=f"line stroke-{tone}"), viewBox="0 0 120 26",
        preserveAspectRatio="xMinYMid", class_="spark",
              aria_hidden="true")  # fmt: skip


class _Axis:
    """Maps values to pixel coordinates."""

    def __init__(
        self, low: float, high: float, start: float, end: float, *, log: bool = False, whole: bool = False
    ) -> None:
        if high <= low:
            low, high = (low / 3, high * 3) if log else (low - 0.5, high + 0.5)
        self.low, self.high = low, high
        self.start, self.end = start, end
        self.log, self.whole = log, whole

    def __call__(self, value: float) -> float:
        one, two, value = (math.log(v) if self.log else v for v in (self.low, self.high, value))
        return self.start + (value - one) / (two - one) * (self.end - self.start)

    def ticks(self) -> list[float]:
        """Three to five round values within the axis."""
        if self.log:
            first, last = math.ceil(math.log10(self.low) - 1e-9), math.floor(math.log10(self.high) + 1e-9)
            return [10.0**power for power in range(first, last + 1, max(1, math.ceil((last - first) / 4)))]
        span = self.high - self.low
        size = 10.0 ** math.floor(math.log10(span / 4))
        step = next(size * factor for factor in (1, 2, 2.5, 5, 10) if span / (size * factor) <= 5)
        step = max(1.0, math.ceil(step)) if self.whole else step
        first = math.ceil(self.low / step - 1e-9)
        return [step * place for place in range(first, math.floor(self.high / step + 1e-9) + 1)]


def _range(ys: Sequence[float], low: float | None, high: float | None, log: bool) -> tuple[float, float]:
    if log:
        return 10.0 ** math.floor(math.log10(min(ys)) - 1e-9), 10.0 ** math.ceil(math.log10(max(ys)) + 1e-9)
    pad = (max(ys) - min(ys)) * 0.08 or abs(max(ys)) * 0.1 or 0.5
    bottom = min(ys) - pad if low is None else min(low, *ys)
    top = max(ys) + pad if high is None else max(high, *ys)
    return bottom, top


def _frame(*parts: object) -> Html:
    return el("svg", *parts, viewBox=f"0 0 {WIDTH} {HEIGHT}", class_="chart", role="img")


def _text(text: str, x: float, y: float, css: str) -> Html:
    return el("text", text, x=f"{x:.1f}", y=f"{y:.1f}", class_=css)


def _ticks_up(up: _Axis, show: Show) -> Html:
    return join(
        *(
            join(
                el("line", x1=LEFT, x2=WIDTH - RIGHT, y1=f"{up(v):.1f}", y2=f"{up(v):.1f}", class_="rule"),
                _text(show(v), LEFT - 8, up(v) + 4, "tick end"),
            )
            for v in up.ticks()
        )
    )


def _grid(across: _Axis, up: _Axis, show: Show, axis: str) -> Html:
    below = (_text(number(v), across(v), HEIGHT - 12, "tick mid") for v in across.ticks())
    return join(_ticks_up(up, show), *below, _axis_name(axis, number(across.high)))


def _axis_name(axis: str, last: str) -> Html:
    """Name of the horizontal axis, right of its last label `last`, which is centred at the end of the axis."""
    return _text(axis, WIDTH - RIGHT + 5 + TICK_CHAR_WIDTH / 2 * len(last), HEIGHT - 12, "tick")


def _line(one: Series, points: Sequence[Point], across: _Axis, up: _Axis, show: Show, axis: str) -> Html:
    bold = _bold(points, one.marks)
    thin = el("path", d=_path(points, across, up), class_=f"thin stroke-{one.tone}") if bold != list(points) else None
    spans = (
        el("line", x1=f"{across(x):.1f}", x2=f"{across(x):.1f}", y1=f"{up(a):.1f}", y2=f"{up(b):.1f}",
           class_=f"span stroke-{one.tone}")
        for x, a, b in one.spans
    )  # fmt: skip
    dots = one.marks or len(points) == 1
    stride = 1 if dots else math.ceil(len(points) / MAX_TOOLTIPS)
    spots = (
        el("circle", el("title", f"{one.name}, {axis} {number(x)}: {show(y)}"), cx=f"{across(x):.1f}",
           cy=f"{up(y):.1f}", r=3.5 if dots else 7, class_=f"fill-{one.tone}" if dots else "touch")
        for x, y in points[::stride]
    )  # fmt: skip
    return join(thin, el("path", d=_path(bold, across, up), class_=f"line stroke-{one.tone}"), *spans, *spots)


def _between(one: Sequence[Point], two: Sequence[Point], across: _Axis, up: _Axis, tone: str) -> Html:
    path = _path([*_bold(one, False), *reversed(_bold(two, False))], across, up)
    return el("path", d=f"{path}Z", class_=f"area fill-{tone}")


def _bold(points: Sequence[Point], marks: bool) -> list[Point]:
    return list(points) if marks else _moving(points)


def _moving(points: Sequence[Point]) -> list[Point]:
    """The centred moving mean of a long line; a short line is returned unchanged."""
    if len(points) < SMOOTH_FROM:
        return list(points)
    reach = max(1, len(points) // 14)
    return [
        (x, fmean(y for _, y in points[max(0, place - reach) : place + reach + 1]))
        for place, (x, _) in enumerate(points)
    ]


def _path(points: Sequence[Point], across: _Axis, up: _Axis) -> str:
    return "M" + "L".join(f"{across(x):.1f},{up(y):.1f}" for x, y in points)


def _labels(ends: Sequence[tuple[str, str, str, float]]) -> Html:
    """Draws names and last values at the line ends, shifted to avoid overlaps."""
    placed = sorted(ends, key=lambda end: end[3])
    ys: list[float] = []
    for *_, y in placed:
        ys.append(max(y, ys[-1] + LABEL_GAP) if ys else max(y, TOP))
    over = max(0.0, ys[-1] - (HEIGHT - BOTTOM + 6)) if ys else 0.0
    limit = math.inf
    for place in reversed(range(len(ys))):
        ys[place] = limit = min(ys[place] - (over if place == len(ys) - 1 else 0.0), limit - LABEL_GAP)
    return join(
        *(
            el("text", el("tspan", name), " ", el("tspan", value, class_="value"),
               x=WIDTH - RIGHT + 8, y=f"{y + 4:.1f}", class_=f"name fill-{tone}")
            for (name, value, tone, _), y in zip(placed, ys, strict=True)
        )
    )  # fmt: skip
