"""Page families that change on a click: counter, progress, theme."""

from reward.designs.family import DesignFamily, Traits, color, document, rgb
from reward.designs.phrases import CANVAS, COLORS, HEADED, TITLE
from reward.designs.probes import click, probe, style, text
from reward.designs.words import LINES, TITLES
from rollout.records import Probe

BAR_PX = 600
"""Full width of a progress bar."""


def _counter(t: Traits) -> str:
    accent = color(t, "accent")
    return document(
        t["title"],
        f"""
body{{background:{color(t, "canvas")};font:24px sans-serif;text-align:center;padding:80px}}
h1{{color:{accent};font-size:48px;font-weight:bold}}
#count{{font-size:120px;margin:30px}}
button{{background:{accent};color:#ffffff;font-size:36px;width:160px;padding:24px;margin:10px}}""",
        f"""
<h1>{t["title"]}</h1>
<div id="count">{t["start"]}</div>
<button id="less">-{t["step"]}</button>
<button id="more">+{t["step"]}</button>""",
        f"""
const count=document.getElementById("count");
const add=n=>count.textContent=Number(count.textContent)+n;
document.getElementById("less").onclick=()=>add(-{t["step"]});
document.getElementById("more").onclick=()=>add({t["step"]});""",
    )


def _counter_probes(t: Traits) -> tuple[Probe, ...]:
    start, step = int(t["start"]), int(t["step"])
    return (
        probe("add twice", click("#more"), click("#more"), text("#count", str(start + 2 * step))),
        probe("subtract", click("#less"), text("#count", str(start + step))),
    )


COUNTER = DesignFamily(
    name="counter",
    slots={
        **HEADED,
        "start": tuple(map(str, range(20, 100))),
        "step": tuple(map(str, range(1, 10))),
    },
    key=("canvas", "accent", "title"),
    openings=("Make a counter", "A page with a counter", "Build a small counter", "I need a click counter"),
    clauses=(
        CANVAS,
        TITLE,
        ('it starts at {start} in "#count"', "#count shows {start} at first", "start #count at {start}"),
        (
            'buttons #less "-{step}" and #more "+{step}" change it by {step}',
            'clicking #more "+{step}" adds {step}, #less "-{step}" takes {step} away',
        ),
        ("buttons are {accent} with white text", "white text on {accent} buttons", "two {accent} buttons, white text"),
    ),
    thought="counter, {accent} on {canvas}, from {start} by {step}",
    page=_counter,
    probes=_counter_probes,
    places={"title": (50, 18)},
)


def _progress(t: Traits) -> str:
    accent = color(t, "accent")
    return document(
        t["title"],
        f"""
body{{background:{color(t, "canvas")};font:28px sans-serif;text-align:center;padding:80px 100px}}
h1{{color:{accent};font-size:48px;font-weight:bold}}
#label{{font-size:80px;margin:20px}}
#track{{background:#ffffff;width:{BAR_PX}px;outline:3px solid {accent}}}
#bar{{background:{accent};width:{t["start"]}%;height:60px}}
button{{background:{accent};color:#ffffff;padding:20px 40px;margin:40px}}""",
        f"""
<h1>{t["title"]}</h1>
<p id="label">{t["start"]}%</p>
<div id="track">
<div id="bar"></div>
</div>
<button id="more">{t["button"]}</button>""",
        f"""
let n={t["start"]};
document.getElementById("more").onclick=()=>{{
n+={t["step"]};
document.getElementById("bar").style.width=n+"%";
document.getElementById("label").textContent=n+"%";
}};""",
    )


def _progress_probes(t: Traits) -> tuple[Probe, ...]:
    start, step = int(t["start"]), int(t["step"])
    return (
        probe("the label grows", click("#more"), text("#label", f"{start + step}%")),
        probe("the bar grows", click("#more"), style("#bar", "width", f"{(start + 2 * step) * BAR_PX // 100}px")),
    )


PROGRESS = DesignFamily(
    name="progress",
    slots={
        **HEADED,
        "start": tuple(map(str, range(10, 50))),
        "step": ("5", "10", "15", "20", "25"),
        "button": ("Add", "Forward", "Go on", "More", "Next", "One more", "Step"),
    },
    key=("canvas", "accent", "step", "title"),
    openings=("Make a progress bar", "A page with a progress bar", "Build a progress tracker", "Show our progress"),
    clauses=(
        CANVAS,
        TITLE,
        (
            f"#bar is {{accent}} and {{start}}% of a white {BAR_PX}px track with a {{accent}} outline",
            f"a white {BAR_PX}px track with a {{accent}} outline, filled {{start}}% by a {{accent}} #bar",
        ),
        ("#label says {start}%", 'the text "{start}%" in #label'),
        (
            '{accent} button #more "{button}", text white, adds {step}%',
            'each click on #more, a {accent} button with white "{button}", adds {step}%',
        ),
    ),
    thought="progress, {accent} on {canvas}, {start}% plus {step}%",
    page=_progress,
    probes=_progress_probes,
    places={"title": (50, 18), "button": (50, 67)},
)


def _theme(t: Traits) -> str:
    canvas, accent = color(t, "canvas"), color(t, "accent")
    return document(
        t["title"],
        f"""
body{{background:{canvas};color:{accent};font:24px sans-serif;text-align:center;padding:140px 60px}}
.dark{{background:{accent};color:{canvas}}}
h1{{font-size:56px;font-weight:bold}}
p{{margin:40px}}
button{{background:#ffffff;color:{accent};border:4px solid {accent};padding:20px 40px}}""",
        f"""
<h1>{t["title"]}</h1>
<p>{t["line"]}</p>
<button id="theme">{t["button"]}</button>""",
        """
document.getElementById("theme").onclick=()=>document.body.classList.toggle("dark");""",
    )


def _theme_probes(t: Traits) -> tuple[Probe, ...]:
    once, swapped = click("#theme"), style("body", "background-color", rgb(t["accent"]))
    restored = style("body", "background-color", rgb(t["canvas"]))
    return (
        probe("colors swap", once, swapped, style("h1", "color", rgb(t["canvas"]))),
        probe("a second click restores", once, restored),
    )


THEME = DesignFamily(
    name="theme",
    slots={**COLORS, "title": TITLES, "line": LINES, "button": ("Dark mode", "Switch", "Swap colors", "Theme")},
    key=("canvas", "accent", "title"),
    openings=("Make a theme switch", "A page with a dark mode", "Build a color switcher", "I need a theme toggle"),
    clauses=(
        ("{accent} text on a {canvas} page", "the page is {canvas}, all text {accent}", "{canvas} page, {accent} text"),
        ('the title reads "{title}"', 'heading "{title}"', 'its heading says "{title}"'),
        ('below it the line "{line}"', 'the text "{line}" under the title'),
        (
            'clicking the white button #theme "{button}", {accent} border, swaps the two colors',
            'white button #theme "{button}" with a {accent} border swaps text and page color and back',
        ),
    ),
    thought="theme, {accent} on {canvas}, click swaps them",
    page=_theme,
    probes=_theme_probes,
    places={"title": (50, 29), "line": (50, 43), "button": (50, 58)},
)
