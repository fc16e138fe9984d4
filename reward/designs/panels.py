"""Page families that display data: pricing, table, profile."""

from reward.designs.family import DesignFamily, Traits, color, document
from reward.designs.phrases import BUTTON, CANVAS, COLORS, HEADED, TITLE
from reward.designs.sections import ORDINALS
from reward.designs.words import BUTTONS, FIRST_NAMES, ITEMS, LAST_NAMES, ROLES

PLANS = (("Free", "Basic", "Starter"), ("Plus", "Team", "Standard"), ("Pro", "Business", "Premium"))
PRICES = (range(1, 20), range(20, 50), range(50, 100))


def _pricing(t: Traits) -> str:
    accent = color(t, "accent")
    plans = "".join(
        f"""
<div class="plan{" top" if t["best"] == ordinal else ""}">
<h2>{t[f"plan{i}"]}</h2>
<b>${t[f"price{i}"]}</b>
</div>"""
        for i, ordinal in enumerate(ORDINALS, start=1)
    )
    return document(
        t["title"],
        f"""
body{{background:{color(t, "canvas")};font:24px sans-serif;text-align:center;padding:50px}}
h1{{color:{accent};font-size:44px;font-weight:bold;margin-bottom:50px}}
main{{display:flex;gap:20px}}
.plan{{background:#ffffff;border:3px solid {accent};padding:100px 10px;flex:1}}
.top{{background:{accent};color:#ffffff}}
b{{font-size:56px;font-weight:bold}}""",
        f"""
<h1>{t["title"]}</h1>
<main>{plans}
</main>""",
    )


PRICING = DesignFamily(
    name="pricing",
    slots={
        **HEADED,
        "best": ORDINALS,
        **{f"plan{i}": names for i, names in enumerate(PLANS, start=1)},
        **{f"price{i}": tuple(map(str, prices)) for i, prices in enumerate(PRICES, start=1)},
    },
    key=("canvas", "accent", "best", "title"),
    openings=("Build a pricing page", "Make a page of three plans", "A pricing table", "Show what our plans cost"),
    clauses=(
        CANVAS,
        TITLE,
        (
            'plans "{plan1}" at ${price1}, "{plan2}" at ${price2}, "{plan3}" at ${price3}',
            '"{plan1}" costs ${price1}, "{plan2}" ${price2} and "{plan3}" ${price3}',
        ),
        (
            "the {best} plan is white on {accent}, the others black on white, all with a {accent} border",
            "highlight the {best} plan: white text on {accent}; the rest are white with a {accent} border",
        ),
    ),
    thought="pricing, {accent} on {canvas}, {best} plan highlighted",
    page=_pricing,
    places={"title": (50, 12)},
)


def _table(t: Traits) -> str:
    accent = color(t, "accent")
    rows = "".join(
        f"""
<tr><td>{t[f"item{i}"]}</td><td>{t[f"amount{i}"]}</td><td>${t[f"cost{i}"]}</td></tr>"""
        for i in "123"
    )
    return document(
        t["title"],
        f"""
body{{background:{color(t, "canvas")};font:24px sans-serif;padding:50px}}
h1{{color:{accent};font-size:40px;font-weight:bold;margin-bottom:30px}}
table{{background:#ffffff;width:100%;border-collapse:collapse;text-align:left}}
th{{background:{accent};color:#ffffff;font-weight:bold}}
th,td{{padding:24px;border:2px solid {accent}}}""",
        f"""
<h1>{t["title"]}</h1>
<table>
<tr><th>{t["head1"]}</th><th>{t["head2"]}</th><th>{t["head3"]}</th></tr>{rows}
</table>""",
    )


TABLE = DesignFamily(
    name="table",
    slots={
        **HEADED,
        "head1": ("Item", "Name", "Product"),
        "head2": ("Amount", "Number", "Stock"),
        "head3": ("Cost", "Price", "Total"),
        **{f"item{i}": ITEMS[(i - 1) * 6 : i * 6] for i in (1, 2, 3)},
        **{f"amount{i}": tuple(map(str, range(1, 100))) for i in (1, 2, 3)},
        **{f"cost{i}": tuple(map(str, range(1, 100))) for i in (1, 2, 3)},
    },
    key=("canvas", "accent", "head1", "title"),
    openings=("Make a table", "Show a table of goods", "A page with a table", "Build a data table"),
    clauses=(
        CANVAS,
        TITLE,
        (
            'columns "{head1}", "{head2}", "{head3}"',
            'its head is "{head1}", "{head2}" and "{head3}"',
        ),
        (
            "rows {item1} {amount1} ${cost1}, {item2} {amount2} ${cost2}, {item3} {amount3} ${cost3}",
            "the rows: {item1}, {amount1}, ${cost1}; {item2}, {amount2}, ${cost2}; {item3}, {amount3}, ${cost3}",
        ),
        (
            "white cells with {accent} borders, head cells white on {accent}",
            "the head row is white on {accent}, cells are white, borders {accent}",
        ),
    ),
    thought="table, {accent} on {canvas}, {item1}, {item2}, {item3}",
    page=_table,
    places={"title": (22, 12)},
)


def _profile(t: Traits) -> str:
    accent = color(t, "accent")
    return document(
        t["first"],
        f"""
body{{background:{color(t, "canvas")};font:22px sans-serif;text-align:center;padding:50px 180px}}
main{{background:#ffffff;padding:40px}}
.face{{background:{accent};color:#ffffff;font-size:56px;width:140px;margin:auto;padding:38px 0;border-radius:70px}}
h1{{color:{accent};font-size:36px;font-weight:bold;margin:20px}}
p{{margin-bottom:20px}}
button{{background:{accent};color:#ffffff;padding:16px 40px}}""",
        f"""
<main>
<div class="face">{t["first"][0]}{t["last"][0]}</div>
<h1>{t["first"]} {t["last"]}</h1>
<p>{t["role"]}</p>
<p>{t["fans"]} followers</p>
<button>{t["button"]}</button>
</main>""",
    )


PROFILE = DesignFamily(
    name="profile",
    slots={
        **COLORS,
        "first": FIRST_NAMES,
        "last": LAST_NAMES,
        "role": ROLES,
        "fans": tuple(map(str, range(100, 1000))),
        "button": BUTTONS,
    },
    key=("canvas", "accent", "first", "last"),
    openings=("Make a profile card", "A user profile", "Build a profile page", "Show a person's profile"),
    clauses=(
        CANVAS,
        (
            'a white card for "{first} {last}", the name in {accent}',
            'the name "{first} {last}" is {accent} on a white card',
        ),
        (
            'a {accent} circle with white initials "{first[0]}{last[0]}"',
            'initials "{first[0]}{last[0]}" in white in a {accent} circle',
        ),
        ('the role "{role}" and "{fans} followers"', '"{role}", then "{fans} followers"'),
        BUTTON,
    ),
    thought="profile of {first} {last}, {accent} on {canvas}, {role}",
    page=_profile,
    places={"role": (50, 54), "button": (50, 72)},
)
