"""Pages that answer a click: counter."""

from reward.designs.family import Family, Traits, color, document
from reward.designs.palette import DARKS, LIGHTS
from reward.designs.phrases import CANVAS, TITLE, TITLE_COLOR
from reward.designs.probes import click, probe, text
from reward.designs.words import TITLES
from rollout.records import Probe


def _counter(t: Traits) -> str:
    accent = color(t, "accent")
    return document(
        t["title"],
        f"""
body{{background:{color(t, "canvas")};font:20px sans-serif;text-align:center;padding:60px}}
h1{{color:{accent};font-size:40px;font-weight:bold}}
#count{{font-size:96px;margin:30px}}
button{{background:{accent};color:#ffffff;font-size:32px;width:120px;padding:16px;margin:10px}}""",
        f"""
<h1>{t["title"]}</h1>
<div id="count">{t["start"]}</div>
<button id="less">-{t["step"]}</button>
<button id="more">+{t["step"]}</button>""",
        f"""
const count=document.getElementById("count")
const add=n=>count.textContent=Number(count.textContent)+n
document.getElementById("less").onclick=()=>add(-{t["step"]})
document.getElementById("more").onclick=()=>add({t["step"]})""",
    )


def _counter_probes(t: Traits) -> tuple[Probe, ...]:
    start, step = int(t["start"]), int(t["step"])
    return (
        probe("add twice", click("#more"), click("#more"), text("#count", str(start + 2 * step))),
        probe("subtract", click("#less"), text("#count", str(start - step))),
    )


COUNTER = Family(
    name="counter",
    slots={
        "canvas": tuple(LIGHTS),
        "accent": tuple(DARKS),
        "title": TITLES,
        "start": tuple(map(str, range(20, 100))),
        "step": tuple(map(str, range(1, 10))),
    },
    key=("canvas", "accent", "title"),
    openings=("Make a counter", "A page with a counter", "Build a small counter", "I need a click counter"),
    clauses=(
        CANVAS,
        TITLE,
        TITLE_COLOR,
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
    places={"title": (50, 14)},
)
