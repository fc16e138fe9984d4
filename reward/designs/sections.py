"""Still sections of a page: hero, cards."""

from reward.designs.family import Family, Traits, color, document
from reward.designs.palette import ALIGNS, DARKS, LIGHTS, SIZES
from reward.designs.phrases import ALIGN, BUTTON, CANVAS, TITLE, TITLE_COLOR
from reward.designs.words import BUTTONS, ITEMS, LINES, TITLES


def _hero(t: Traits) -> str:
    accent = color(t, "accent")
    return document(
        t["title"],
        f"""
body{{background:{color(t, "canvas")};font:20px sans-serif;text-align:{t["align"]};padding:120px 60px}}
h1{{color:{accent};font-size:{SIZES[t["size"]]}px;font-weight:bold}}
p{{margin:30px 0}}
button{{background:{accent};color:#ffffff;padding:16px 40px}}""",
        f"""
<h1>{t["title"]}</h1>
<p>{t["line"]}</p>
<button>{t["button"]}</button>""",
    )


HERO = Family(
    name="hero",
    slots={
        "canvas": tuple(LIGHTS),
        "accent": tuple(DARKS),
        "align": ALIGNS,
        "size": tuple(SIZES),
        "title": TITLES,
        "line": LINES,
        "button": BUTTONS,
    },
    key=("canvas", "accent", "align", "title"),
    openings=("Build a hero section", "Make the hero of a landing page", "A landing page hero", "Design a hero"),
    clauses=(
        CANVAS,
        ALIGN,
        (
            'a {size} {accent} title "{title}"',
            'the title "{title}" is {size} and {accent}',
            '"{title}" as a {size} headline in {accent}',
            'a {accent} {size_px}px heading says "{title}"',
        ),
        ('below it the line "{line}"', 'a tagline in black: "{line}"', 'the text "{line}" under the title'),
        BUTTON,
    ),
    thought="hero, {accent} on {canvas}, {align}, {size} title",
    page=_hero,
    places={"title": (50, 25), "line": (50, 40), "button": (50, 52)},
)


def _cards(t: Traits) -> str:
    accent = color(t, "accent")
    cards = "".join(
        f"""
<div class="card">
<h2>{t[f"item{i}"]}</h2>
<p>{t[f"line{i}"]}</p>
</div>"""
        for i in "123"
    )
    direction = "row" if t["layout"] == "row" else "column"
    return document(
        t["title"],
        f"""
body{{background:{color(t, "canvas")};font:18px sans-serif;padding:40px}}
h1{{color:{accent};font-size:40px;font-weight:bold;margin-bottom:30px}}
main{{display:flex;flex-direction:{direction};gap:20px}}
.card{{background:{accent};color:#ffffff;padding:20px;flex:1}}
h2{{font-size:26px;font-weight:bold;margin-bottom:10px}}""",
        f"""
<h1>{t["title"]}</h1>
<main>{cards}
</main>""",
    )


CARDS = Family(
    name="cards",
    slots={
        "canvas": tuple(LIGHTS),
        "accent": tuple(DARKS),
        "layout": ("row", "column"),
        "title": TITLES,
        **{f"item{i}": ITEMS[(i - 1) * 6 : i * 6] for i in (1, 2, 3)},
        **{f"line{i}": LINES[(i - 1) * 5 : i * 5] for i in (1, 2, 3)},
    },
    key=("canvas", "accent", "layout", "title"),
    openings=("Make a page with three cards", "Show three cards", "A card list", "Build a page of cards"),
    clauses=(
        CANVAS,
        TITLE,
        TITLE_COLOR,
        ("the cards stand in a {layout}", "lay the cards out as a {layout}", "one {layout} of cards"),
        ("cards are {accent} with white text", "white text on {accent} cards", "each card is {accent}, its text white"),
        (
            'the cards: "{item1}" with "{line1}", "{item2}" with "{line2}", "{item3}" with "{line3}"',
            'card one "{item1}": "{line1}", card two "{item2}": "{line2}", card three "{item3}": "{line3}"',
        ),
    ),
    thought="cards in a {layout}, {accent} on {canvas}, title {title}",
    page=_cards,
    places={"title": (5, 7)},
)
