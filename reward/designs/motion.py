"""Animated page families: banner, loader, timer. Screenshots are never taken at an instant of a jump."""

from reward.designs.family import DesignFamily, Traits, color, document
from reward.designs.phrases import CANVAS, HEADED, TITLE
from reward.designs.words import LINES


def _banner(t: Traits) -> str:
    accent = color(t, "accent")
    return document(
        t["title"],
        f"""
body{{background:{color(t, "canvas")};font:24px sans-serif}}
h1{{color:{accent};font-size:48px;font-weight:bold;padding:120px 40px 60px}}
.strip{{background:{accent};color:#ffffff;padding:50px 40px}}
p{{animation:slide {t["seconds"]}s linear infinite alternate}}
@keyframes slide{{to{{transform:translateX(320px)}}}}""",
        f"""
<h1>{t["title"]}</h1>
<div class="strip">
<p>{t["line"]}</p>
</div>""",
    )


BANNER = DesignFamily(
    name="banner",
    slots={**HEADED, "line": LINES, "seconds": ("3", "4", "5", "6")},
    key=("canvas", "accent", "seconds", "title"),
    openings=("Make a page with a moving banner", "A news ticker", "Build an animated banner", "Show a sliding notice"),
    clauses=(
        CANVAS,
        TITLE,
        ('a {accent} strip says "{line}" in white', 'white text "{line}" on a {accent} strip'),
        (
            "the text slides 320px to the right in {seconds}s and back, for ever",
            "it moves right by 320px over {seconds} seconds, then back again",
        ),
    ),
    thought="banner, {accent} on {canvas}, slides in {seconds}s",
    page=_banner,
    places={"title": (24, 25)},
    unseen=("seconds",),
)


def _loader(t: Traits) -> str:
    accent = color(t, "accent")
    return document(
        t["title"],
        f"""
body{{background:{color(t, "canvas")};font:24px sans-serif;text-align:center;padding:130px 60px}}
h1{{color:{accent};font-size:48px;font-weight:bold}}
p{{margin:40px}}
.track{{background:#ffffff;border:3px solid {accent}}}
.bar{{background:{accent};height:80px;animation:fill {t["seconds"]}s linear both}}
@keyframes fill{{from{{width:{t["start"]}%}}to{{width:100%}}}}""",
        f"""
<h1>{t["title"]}</h1>
<p>{t["line"]}</p>
<div class="track">
<div class="bar"></div>
</div>""",
    )


LOADER = DesignFamily(
    name="loader",
    slots={**HEADED, "line": LINES, "start": ("0", "10", "20", "30"), "seconds": ("3", "4", "5", "6")},
    key=("canvas", "accent", "seconds", "title"),
    openings=("Build a loading screen", "Make a loading bar", "A page that loads", "Show an animated progress bar"),
    clauses=(
        CANVAS,
        TITLE,
        ('the line "{line}" above the bar', 'text "{line}" under the heading'),
        ("a {accent} bar in a white track with a {accent} border", "a white track, its border and bar {accent}"),
        (
            "the bar grows from {start}% to 100% in {seconds}s",
            "it fills from {start}% to full over {seconds} seconds",
        ),
    ),
    thought="loader, {accent} on {canvas}, from {start}% in {seconds}s",
    page=_loader,
    places={"title": (50, 26), "line": (50, 40)},
    unseen=("start", "seconds"),
)


def _timer(t: Traits) -> str:
    accent = color(t, "accent")
    return document(
        t["title"],
        f"""
body{{background:{color(t, "canvas")};font:24px sans-serif;text-align:center;padding:80px}}
h1{{color:{accent};font-size:48px;font-weight:bold}}
#time{{background:{accent};color:#ffffff;font-size:160px;padding:40px;margin:40px}}""",
        f"""
<h1>{t["title"]}</h1>
<div id="time">{t["start"]}</div>
<p>{t["line"]}</p>""",
        f"""
const time=document.getElementById("time");
setInterval(()=>{{time.textContent=Number(time.textContent)-1}},{t["tick"]});""",
    )


TIMER = DesignFamily(
    name="timer",
    slots={**HEADED, "line": LINES, "start": tuple(map(str, range(20, 100))), "tick": ("600", "700", "800")},
    key=("canvas", "accent", "tick", "title"),
    openings=("Make a countdown", "A page with a timer", "Build a countdown timer", "Show a number counting down"),
    clauses=(
        CANVAS,
        TITLE,
        (
            "#time shows {start} in white on {accent}",
            "white {start} on {accent} in #time",
            "start at {start} in #time, white on {accent}",
        ),
        ("it loses one every {tick} ms", "count down by 1 every {tick} ms", "each {tick} ms it drops by one"),
        ('below it the line "{line}"', 'the text "{line}" at the bottom'),
    ),
    thought="timer, {accent} on {canvas}, from {start} each {tick} ms",
    page=_timer,
    places={"title": (50, 18), "line": (50, 82)},
    unseen=("start", "tick"),
)
