"""Page families with text input: signin, todo."""

from reward.designs.family import DesignFamily, Traits, color, document
from reward.designs.phrases import CANVAS, HEADED, TITLE
from reward.designs.probes import click, probe, text, type_text
from reward.designs.words import ITEMS
from rollout.records import Probe

NEW = "Walk the dog"
"""An entry that is in no initial list."""


def _signin(t: Traits) -> str:
    accent = color(t, "accent")
    return document(
        t["title"],
        f"""
body{{background:{accent};font:22px sans-serif;padding:60px 180px}}
main{{background:{color(t, "canvas")};padding:40px}}
h1{{color:{accent};font-size:36px;font-weight:bold;margin-bottom:20px}}
input{{background:#ffffff;border:2px solid {accent};width:100%;padding:14px;margin:8px 0 20px}}
button{{background:{accent};color:#ffffff;width:100%;padding:16px}}
#note{{margin-top:20px}}""",
        f"""
<main>
<h1>{t["title"]}</h1>
<p>{t["field"]}</p>
<input id="name">
<p>Password</p>
<input id="pass" type="password">
<button id="go">{t["button"]}</button>
<p id="note"></p>
</main>""",
        f"""
document.getElementById("go").onclick=()=>{{
document.getElementById("note").textContent="{t["greeting"]} "+document.getElementById("name").value;
}};""",
    )


def _signin_probes(t: Traits) -> tuple[Probe, ...]:
    return (
        probe("greets", type_text("#name", "Ada"), click("#go"), text("#note", f"{t['greeting']} Ada")),
        probe("takes a password", type_text("#pass", "secret"), click("#go"), text("#note", f"{t['greeting']} Ada")),
    )


SIGNIN = DesignFamily(
    name="signin",
    slots={
        **HEADED,
        "field": ("Account", "Email", "Login", "Member", "User", "Your name"),
        "button": ("Continue", "Enter", "Log in", "Sign in"),
        "greeting": ("Good day", "Hello", "Hi", "Welcome"),
    },
    key=("canvas", "accent", "field", "title"),
    openings=("Build a sign-in form", "Make a login page", "A sign-in page", "I need a log-in form"),
    clauses=(
        (
            "a {canvas} card on a {accent} page",
            "the page is {accent}, the card {canvas}",
            "{accent} page, {canvas} card",
        ),
        TITLE,
        (
            'fields "{field}" #name and "Password" #pass, white with a {accent} border',
            'white fields with {accent} borders: #name labeled "{field}", #pass labeled "Password"',
        ),
        ('a {accent} button #go says "{button}" in white', 'button #go "{button}", white on {accent}'),
        (
            'a click writes "{greeting} " and the name into #note',
            'clicking puts "{greeting} " plus the name in #note',
        ),
    ),
    thought="signin, {canvas} card on {accent}, {field}, {greeting}",
    page=_signin,
    probes=_signin_probes,
    places={"title": (42, 20), "button": (50, 69)},
    unseen=("greeting",),
)


def _todo(t: Traits) -> str:
    accent = color(t, "accent")
    return document(
        t["title"],
        f"""
body{{background:{color(t, "canvas")};font:24px sans-serif;padding:50px 100px}}
h1{{color:{accent};font-size:48px;font-weight:bold;margin-bottom:30px}}
input{{background:#ffffff;border:3px solid {accent};width:440px;padding:16px}}
button{{background:{accent};color:#ffffff;border:3px solid {accent};width:150px;padding:16px}}
li{{background:{accent};color:#ffffff;list-style:none;padding:20px;margin-top:16px}}""",
        f"""
<h1>{t["title"]}</h1>
<input id="item">
<button id="add">{t["button"]}</button>
<ul id="list">
<li>{t["item1"]}</li>
<li>{t["item2"]}</li>
<li>{t["item3"]}</li>
</ul>""",
        """
document.getElementById("add").onclick=()=>{
const li=document.createElement("li");
li.textContent=document.getElementById("item").value;
document.getElementById("list").append(li);
};""",
    )


def _todo_probes(t: Traits) -> tuple[Probe, ...]:
    return (
        probe("adds an entry", type_text("#item", NEW), click("#add"), text("#list", NEW)),
        probe("keeps the others", text("#list", t["item1"]), text("#list", t["item3"])),
    )


TODO = DesignFamily(
    name="todo",
    slots={
        **HEADED,
        "button": ("Add", "Insert", "Keep", "Note", "Put", "Save"),
        **{f"item{i}": ITEMS[(i - 1) * 6 : i * 6] for i in (1, 2, 3)},
    },
    key=("canvas", "accent", "button", "title"),
    openings=("Make a to-do list", "A shopping list", "Build a list to add to", "I need a list of things"),
    clauses=(
        CANVAS,
        TITLE,
        (
            'in #list the entries "{item1}", "{item2}", "{item3}", white on {accent}',
            '{accent} entries with white text in #list: "{item1}", "{item2}", "{item3}"',
        ),
        (
            'a white field #item with a {accent} border and a {accent} button #add, "{button}" in white',
            'field #item, white with {accent} border; button #add "{button}", white on {accent}',
        ),
        ("a click adds what is typed to the list", "clicking appends the typed text as an entry"),
    ),
    thought="todo, {accent} on {canvas}, {item1}, {item2}, {item3}",
    page=_todo,
    probes=_todo_probes,
    places={"title": (32, 13)},
)
