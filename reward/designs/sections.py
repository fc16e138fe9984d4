"""Static page families: hero, cards, quote, navbar."""

from reward.designs.family import DesignFamily, Traits, color, document
from reward.designs.palette import ALIGNS, DARKS, SIZES
from reward.designs.phrases import ALIGN, BUTTON, CANVAS, COLORS, HEADED, TITLE
from reward.designs.words import BUTTONS, ITEMS, LINES, PEOPLE, SECTIONS, TITLES

ORDINALS = ("first", "second", "third")


def _hero(t: Traits) -> str:
    accent = color(t, "accent")
    return document(
        t["title"],
        f"""
body{{background:{color(t, "canvas")};font:22px sans-serif;text-align:{t["align"]};padding:170px 60px}}
h1{{color:{accent};font-size:{SIZES[t["size"]]}px;font-weight:bold}}
p{{margin:30px 0}}
button{{background:{accent};color:#ffffff;padding:20px 40px}}""",
        f"""
<h1>{t["title"]}</h1>
<p>{t["line"]}</p>
<button>{t["button"]}</button>""",
    )


HERO = DesignFamily(
    name="hero",
    slots={
        **COLORS,
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
    places={"title": (50, 31), "line": (50, 44), "button": (50, 57)},
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
    return document(
        t["title"],
        f"""
body{{background:{color(t, "canvas")};font:18px sans-serif;padding:40px}}
h1{{color:{accent};font-size:40px;font-weight:bold;margin-bottom:30px}}
main{{display:flex;flex-direction:{t["layout"]};gap:20px}}
.card{{background:{accent};color:#ffffff;padding:28px;flex:1}}
h2{{font-size:26px;font-weight:bold;margin-bottom:10px}}""",
        f"""
<h1>{t["title"]}</h1>
<main>{cards}
</main>""",
    )


CARDS = DesignFamily(
    name="cards",
    slots={
        **HEADED,
        "layout": ("row", "column"),
        **{f"item{i}": ITEMS[(i - 1) * 6 : i * 6] for i in (1, 2, 3)},
        **{f"line{i}": LINES[(i - 1) * 5 : i * 5] for i in (1, 2, 3)},
    },
    key=("canvas", "accent", "layout", "title"),
    openings=("Make a page with three cards", "Show three cards", "A card list", "Build a page of cards"),
    clauses=(
        CANVAS,
        TITLE,
        ("the cards stand in a {layout}", "lay the cards out as a {layout}", "one {layout} of cards"),
        ("cards are {accent} with white text", "white text on {accent} cards", "each card is {accent}, its text white"),
        (
            'the cards: "{item1}" with "{line1}", "{item2}" with "{line2}", "{item3}" with "{line3}"',
            'card one "{item1}": "{line1}", card two "{item2}": "{line2}", card three "{item3}": "{line3}"',
        ),
    ),
    thought="cards in a {layout}, {accent} on {canvas}, title {title}",
    page=_cards,
    places={"title": (21, 10)},
)


def _quote(t: Traits) -> str:
    return document(
        t["name"],
        f"""
body{{background:{color(t, "accent")};color:#ffffff;font:22px sans-serif;text-align:{t["align"]};padding:150px 60px}}
blockquote{{font-size:{SIZES[t["size"]]}px;font-weight:bold}}
p{{margin-top:40px}}""",
        f"""
<blockquote>{t["line"]}</blockquote>
<p>{t["name"]}</p>""",
    )


QUOTE = DesignFamily(
    name="quote",
    slots={"accent": tuple(DARKS), "align": ALIGNS, "size": tuple(SIZES), "line": LINES, "name": PEOPLE},
    key=("accent", "align", "line", "name"),
    openings=("Show a quote", "Make a testimonial", "A page with a quote", "Build a quotation page"),
    clauses=(
        ("a {accent} page, white text", "white text on {accent}", "the whole page is {accent}, the text white"),
        ALIGN,
        (
            'the quote "{line}" is {size}',
            'in {size} bold type: "{line}"',
            'a {size_px}px bold quote "{line}"',
        ),
        ('said by "{name}"', 'the author is "{name}"', 'below it the name "{name}"'),
    ),
    thought="quote, white on {accent}, {align}, {size}, by {name}",
    page=_quote,
    places={"name": (50, 50)},
)


def _navbar(t: Traits) -> str:
    accent = color(t, "accent")
    links = "".join(
        f"""
<a{' class="on"' if t["active"] == ordinal else ""}>{t[f"link{i}"]}</a>"""
        for i, ordinal in enumerate(ORDINALS, start=1)
    )
    return document(
        t["brand"],
        f"""
body{{background:{color(t, "canvas")};font:20px sans-serif}}
nav{{background:{accent};color:#ffffff;display:flex;gap:10px;padding:20px 40px}}
b{{font-size:28px;font-weight:bold;flex:1}}
a{{padding:8px 16px}}
.on{{background:#ffffff;color:{accent}}}
h1{{color:{accent};font-size:48px;font-weight:bold;padding:140px 40px 20px}}
p{{padding:0 40px}}""",
        f"""
<nav>
<b>{t["brand"]}</b>{links}
</nav>
<h1>{t["title"]}</h1>
<p>{t["line"]}</p>""",
    )


NAVBAR = DesignFamily(
    name="navbar",
    slots={
        **HEADED,
        "brand": TITLES,
        "line": LINES,
        "active": ORDINALS,
        **{f"link{i}": SECTIONS[(i - 1) * 4 : i * 4] for i in (1, 2, 3)},
    },
    key=("canvas", "accent", "active", "brand"),
    openings=("Build a page with a navigation bar", "A page with a navbar", "Make a site header", "Design a top bar"),
    clauses=(
        CANVAS,
        ("the bar is {accent} with white text", "white text on a {accent} bar", "a {accent} bar, its text white"),
        ('the brand "{brand}" on its left', 'brand name "{brand}"', 'the bar begins with "{brand}"'),
        (
            'links "{link1}", "{link2}", "{link3}", the {active} one active ({accent} on white)',
            'on its right "{link1}", "{link2}" and "{link3}"; the {active} link is {accent} on white',
        ),
        TITLE,
        ('below it the line "{line}"', 'under the heading: "{line}"'),
    ),
    thought="navbar, {accent} on {canvas}, brand {brand}, {active} link active",
    page=_navbar,
    places={"brand": (17, 6), "title": (25, 41), "line": (21, 51)},
)
