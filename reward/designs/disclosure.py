"""Page families that show and hide content: tabs, accordion."""

from reward.designs.family import DesignFamily, Traits, color, document
from reward.designs.phrases import CANVAS, HEADED, TITLE
from reward.designs.probes import click, hidden, probe, text, visible
from reward.designs.words import LINES, SECTIONS
from rollout.records import Probe

PARTS = {
    **{f"name{i}": SECTIONS[(i - 1) * 4 : i * 4] for i in (1, 2, 3)},
    **{f"line{i}": LINES[(i - 1) * 5 : i * 5] for i in (1, 2, 3)},
}


def _tabs(t: Traits) -> str:
    accent = color(t, "accent")
    buttons = "".join(f'\n<button id="t{i}">{t[f"name{i}"]}</button>' for i in "123")
    panels = "".join(f'\n<p id="p{i}"{"" if i == "1" else " hidden"}>{t[f"line{i}"]}</p>' for i in "123")
    return document(
        t["title"],
        f"""
body{{background:{color(t, "canvas")};font:26px sans-serif;padding:60px}}
h1{{color:{accent};font-size:48px;font-weight:bold;margin-bottom:40px}}
button{{background:{accent};color:#ffffff;padding:20px 40px}}
p{{background:#ffffff;border:4px solid {accent};padding:80px 40px}}""",
        f"""
<h1>{t["title"]}</h1>{buttons}{panels}""",
        """
for(const i of [1,2,3])document.getElementById("t"+i).onclick=()=>{
for(const j of [1,2,3])document.getElementById("p"+j).hidden=i!=j;
};""",
    )


def _tabs_probes(t: Traits) -> tuple[Probe, ...]:
    return (
        probe("first tab at first", visible("#p1"), hidden("#p2"), hidden("#p3")),
        probe("second tab", click("#t2"), text("#p2", t["line2"]), hidden("#p1")),
        probe("third tab and back", click("#t3"), visible("#p3"), click("#t1"), visible("#p1"), hidden("#p3")),
    )


TABS = DesignFamily(
    name="tabs",
    slots={**HEADED, **PARTS},
    key=("canvas", "accent", "name1", "title"),
    openings=("Make tabs", "A page with three tabs", "Build a tab panel", "Show three tabs"),
    clauses=(
        CANVAS,
        TITLE,
        (
            'tabs #t1 "{name1}", #t2 "{name2}", #t3 "{name3}", white on {accent}',
            '{accent} buttons #t1 "{name1}", #t2 "{name2}" and #t3 "{name3}" with white text',
        ),
        (
            'panels #p1 "{line1}", #p2 "{line2}", #p3 "{line3}", the first one shown',
            '#p1 says "{line1}" and is shown, #p2 "{line2}" and #p3 "{line3}" are hidden',
        ),
        ("panels are white with a {accent} border", "white panels, {accent} borders"),
        ("a click on a tab shows its panel alone", "each tab shows only its own panel"),
    ),
    thought="tabs, {accent} on {canvas}, {name1}, {name2}, {name3}",
    page=_tabs,
    probes=_tabs_probes,
    places={"title": (27, 15)},
)


def _accordion(t: Traits) -> str:
    accent = color(t, "accent")
    parts = "".join(
        f"""
<button id="q{i}">{t[f"name{i}"]}</button>
<p id="a{i}" hidden>{t[f"line{i}"]}</p>"""
        for i in "123"
    )
    return document(
        t["title"],
        f"""
body{{background:{color(t, "canvas")};font:26px sans-serif;padding:50px}}
h1{{color:{accent};font-size:48px;font-weight:bold;margin-bottom:30px}}
button{{background:{accent};color:#ffffff;width:100%;padding:24px;margin-bottom:12px;text-align:left}}
p{{background:#ffffff;padding:24px;margin-bottom:12px}}""",
        f"""
<h1>{t["title"]}</h1>{parts}""",
        """
for(const i of [1,2,3])document.getElementById("q"+i).onclick=()=>{
const p=document.getElementById("a"+i);
p.hidden=!p.hidden;
};""",
    )


def _accordion_probes(t: Traits) -> tuple[Probe, ...]:
    return (
        probe("all closed at first", hidden("#a1"), hidden("#a2"), hidden("#a3")),
        probe("first opens", click("#q1"), text("#a1", t["line1"]), hidden("#a2")),
        probe("third opens and closes", click("#q3"), visible("#a3"), click("#q3"), hidden("#a3")),
    )


ACCORDION = DesignFamily(
    name="accordion",
    slots={**HEADED, **PARTS},
    key=("canvas", "accent", "name1", "title"),
    openings=("Make an accordion", "A page of questions that open", "Build an accordion", "Show an FAQ that folds"),
    clauses=(
        CANVAS,
        TITLE,
        (
            'full-width bars #q1 "{name1}", #q2 "{name2}", #q3 "{name3}", white on {accent}',
            '{accent} wide buttons #q1 "{name1}", #q2 "{name2}" and #q3 "{name3}" with white text',
        ),
        (
            'each hides a white answer: #a1 "{line1}", #a2 "{line2}", #a3 "{line3}"',
            'white answers #a1 "{line1}", #a2 "{line2}" and #a3 "{line3}", hidden at first',
        ),
        ("a click on a bar opens or closes its answer", "clicking a bar toggles its answer"),
    ),
    thought="accordion, {accent} on {canvas}, {name1}, {name2}, {name3}",
    page=_accordion,
    probes=_accordion_probes,
    places={"title": (26, 13)},
    unseen=("line1", "line2", "line3"),
)
