"""Tests of the library mirror: CDN addresses, versions, modules, fonts, and path traversal."""

import json
from pathlib import Path

import pytest

from actors.browser.renderer import ChromiumRenderer
from actors.mirror.addresses import FileRequest, Nothing, WantedFonts, parse
from actors.mirror.folder import INDEX, Mirror
from actors.mirror.versions import choose
from actors.settings import BrowserSettings
from rollout.errors import SettingsError
from rollout.records import Page


@pytest.mark.parametrize(
    ("url", "expected"),
    [
        ("https://cdn.jsdelivr.net/npm/p5@1.4.1/lib/p5.js", ("p5", "1.4.1", "lib/p5.js")),
        ("https://cdn.jsdelivr.net/npm/chart.js", ("chart.js", "", "")),
        ("https://cdn.jsdelivr.net/npm/@scope/name@2/dist/a.css", ("@scope/name", "2", "dist/a.css")),
        ("https://unpkg.com/vue@3/dist/vue.global.js", ("vue", "3", "dist/vue.global.js")),
        ("https://unpkg.com/@babel/standalone/babel.min.js", ("@babel/standalone", "", "babel.min.js")),
        ("http://unpkg.com/react@18.2.0", ("react", "18.2.0", "")),
        ("https://cdnjs.cloudflare.com/ajax/libs/three.js/r128/three.min.js",
         ("three", "0.128.0", "build/three.min.js")),
        ("https://cdnjs.cloudflare.com/ajax/libs/p5.js/1.4.0/addons/p5.sound.js",
         ("p5", "1.4.0", "lib/addons/p5.sound.js")),
        ("https://cdnjs.cloudflare.com/ajax/libs/mathjax/3.2.0/es5/a.js", ("mathjax", "3.2.0", "es5/a.js")),
        ("https://cdnjs.cloudflare.com/ajax/libs/font-awesome/4.7.0/css/font-awesome.css",
         ("font-awesome", "4.7.0", "css/font-awesome.css")),
        ("https://cdnjs.cloudflare.com/ajax/libs/font-awesome/6.4.0/css/all.css",
         ("@fortawesome/fontawesome-free", "6.4.0", "css/all.css")),
        ("https://cdn.plot.ly/plotly-latest.min.js", ("plotly.js-dist-min", "1.58.5", "plotly.min.js")),
        ("https://cdn.plot.ly/plotly-2.27.1.min.js", ("plotly.js-dist-min", "2.27.1", "plotly.min.js")),
        ("https://threejs.org/build/three.module.js", ("three", "", "build/three.module.js")),
        ("https://code.jquery.com/jquery-3.6.0.slim.min.js", ("jquery", "3.6.0", "dist/jquery.slim.min.js")),
        ("https://ajax.googleapis.com/ajax/libs/jquery/3.5.1/jquery.js", ("jquery", "3.5.1", "dist/jquery.js")),
        ("https://d3js.org/d3.v7.min.js", ("d3", "7", "dist/d3.min.js")),
        ("https://cdn.tailwindcss.com", ("tailwindcss-cdn", "3", "tailwindcss.js")),
        ("https://cdn.tailwindcss.com/?plugins=forms", ("tailwindcss-cdn", "3", "tailwindcss-with-all-plugins.js")),
        ("https://stackpath.bootstrapcdn.com/bootstrap/4.5.2/css/bootstrap.min.css",
         ("bootstrap", "4.5.2", "dist/css/bootstrap.min.css")),
        ("https://use.fontawesome.com/releases/v5.15.4/css/all.css",
         ("@fortawesome/fontawesome-free", "5.15.4", "css/all.css")),
        ("https://cdn.mathjax.org/mathjax/latest/MathJax.js?config=TeX-AMS_SVG", ("mathjax", "2", "MathJax.js")),
        ("https://fonts.gstatic.com/s/@fontsource~inter/files/a.woff2", ("@fontsource/inter", "", "files/a.woff2")),
    ],
)  # fmt: skip
def test_cdn_address_names_package_version_and_file(url: str, expected: tuple[str, str, str]) -> None:
    found = parse(url)
    assert isinstance(found, FileRequest)
    assert (found.package, found.version, found.paths[0] if found.paths else "") == expected
    assert not found.module


@pytest.mark.parametrize(
    "url",
    [
        "https://esm.sh/react@18/client",
        "https://cdn.skypack.dev/canvas-confetti",
        "https://cdn.jsdelivr.net/npm/d3@7/+esm",
        "https://unpkg.com/htm?module",
    ],
)
def test_cdn_address_can_request_a_module(url: str) -> None:
    found = parse(url)
    assert isinstance(found, FileRequest)
    assert found.module


@pytest.mark.parametrize("url", ["https://polyfill.io/v3/polyfill.min.js?features=es6", "https://cdn.polyfill.io/x.js"])
def test_polyfill_address_is_answered_with_nothing(url: str) -> None:
    assert parse(url) == Nothing()


@pytest.mark.parametrize(
    "url",
    [
        "https://example.com/npm/vue@3/a.js",
        "file:///etc/passwd",
        "data:text/javascript,1",
        "https://cdn.jsdelivr.net/gh/user/repo/file.js",
        "https://cdnjs.cloudflare.com/ajax/libs/vue",
        "https://cdn.plot.ly/other.js",
        "https://fonts.googleapis.com/css2",
        "https://unpkg.com/",
        "https://[bad",
    ],
)
def test_other_addresses_are_unknown(url: str) -> None:
    assert parse(url) is None


@pytest.mark.parametrize(
    ("url", "faces"),
    [
        ("https://fonts.googleapis.com/css2?family=Inter:wght@400;700&family=Lora",
         (("Inter", 400, False), ("Inter", 700, False), ("Lora", 400, False))),
        ("https://fonts.googleapis.com/css2?family=Playfair+Display:ital,wght@0,400;1,700&display=swap",
         (("Playfair Display", 400, False), ("Playfair Display", 700, True))),
        ("https://fonts.googleapis.com/css2?family=Inter:wght@300..500",
         (("Inter", 300, False), ("Inter", 400, False), ("Inter", 500, False))),
        ("https://fonts.googleapis.com/css?family=Roboto:400,700i|Lora",
         (("Roboto", 400, False), ("Roboto", 700, True), ("Lora", 400, False))),
    ],
)  # fmt: skip
def test_font_style_sheet_address_names_font_faces(url: str, faces: tuple[tuple[str, int, bool], ...]) -> None:
    assert parse(url) == WantedFonts(faces=faces)


@pytest.mark.parametrize(
    ("asked", "available", "answer"),
    [
        ("1.4.0", ["1.4.0", "1.6.0"], "1.4.0"),
        ("1.4.9", ["1.4.0", "1.6.0"], "1.6.0"),
        ("1", ["1.4.0", "1.6.0", "2.0.0"], "1.6.0"),
        ("1.4", ["1.4.0", "1.4.2", "1.6.0"], "1.4.2"),
        ("^1.2", ["1.4.0"], "1.4.0"),
        ("", ["1.4.0", "1.10.0"], "1.10.0"),
        ("latest", ["1.4.0", "1.10.0"], "1.10.0"),
        ("3", ["1.4.0"], None),
        ("0.152.2", ["0.128.0", "0.150.1", "0.180.0"], "0.150.1"),
        ("0.128", ["0.128.0", "0.180.0"], "0.128.0"),
        ("1.0", [], None),
    ],
)
def test_available_version_is_chosen_for_the_requested_one(
    asked: str, available: list[str], answer: str | None
) -> None:
    assert choose(asked, available) == answer


@pytest.fixture
def mirror(tmp_path: Path) -> Mirror:
    return build(
        tmp_path / "mirror",
        {
            "lib@1.2.0/package.json": json.dumps({"main": "main.js", "jsdelivr": "dist/lib.min.js"}),
            "lib@1.2.0/dist/lib.min.js": "window.lib = 1;",
            "lib@1.2.0/dist/lib.css": "p { color: red }",
            "es@2.0.0/package.json": json.dumps({"exports": {".": {"import": "./es.mjs"}, "./sub": "./sub.mjs"}}),
            "es@2.0.0/es.mjs": 'import c from "common"; import {x} from "./sub.mjs"; export default c; export {x};',
            "es@2.0.0/sub.mjs": "export const x = 1;",
            "common@3.0.0/package.json": json.dumps({"main": "./index", "dependencies": {"es": "^2"}}),
            "common@3.0.0/index.js": "exports.data = require('./d.json'); exports.answer = require('./value/deep').v;",
            "common@3.0.0/value/deep.js": "module.exports = {v: 42};",
            "common@3.0.0/d.json": '{"a": 1}',
            "@fontsource/inter@5.0.0/400.css": "@font-face { src: url(./files/inter.woff2) format('woff2') }",
            "@fontsource/inter@5.0.0/files/inter.woff2": "font",
        },
    )


def build(folder: Path, files: dict[str, str]) -> Mirror:
    packages: dict[str, str] = {}
    for name, text in files.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
        end = name.index("/", name.index("/") + 1) if name.startswith("@") else name.index("/")
        packages[name[:end]] = "sha512-x"
    (folder / INDEX).write_text(json.dumps({"packages": packages}))
    return Mirror(folder)


def body(mirror: Mirror, url: str) -> str | None:
    answer = mirror.answer(url)
    return None if answer is None else answer.body.decode()


def test_files_are_served_with_their_media_type(mirror: Mirror) -> None:
    assert body(mirror, "https://cdn.jsdelivr.net/npm/lib@1.2.0/dist/lib.min.js") == "window.lib = 1;"
    assert body(mirror, "https://cdn.jsdelivr.net/npm/lib") == "window.lib = 1;"
    assert body(mirror, "https://cdn.jsdelivr.net/npm/lib@1/dist/lib.js") == "window.lib = 1;"
    style = mirror.answer("https://unpkg.com/lib@1/dist/lib.css")
    assert style is not None
    assert style.media_type.startswith("text/css")


@pytest.mark.parametrize(
    "path",
    ["../../secret.txt", "%2e%2e/%2e%2e/secret.txt", "dist/missing.js", "dist", "a\0b", "x" * 5000, "link.js"],
)
def test_files_outside_a_package_are_not_served(mirror: Mirror, path: str) -> None:
    (mirror.folder.parent / "secret.txt").write_text("secret")
    (mirror.folder / "lib@1.2.0" / "link.js").symlink_to(mirror.folder.parent / "secret.txt")
    assert mirror.answer(f"https://unpkg.com/lib@1.2.0/{path}") is None


def test_missing_packages_are_not_served(mirror: Mirror) -> None:
    assert mirror.answer("https://unpkg.com/other@1/a.js") is None
    assert mirror.answer("https://unpkg.com/lib@7/dist/lib.min.js") is None
    assert mirror.answer("https://unpkg.com/..%2f..@1/secret.txt") is None


def test_every_address_of_a_module_leads_to_one_instance(mirror: Mirror) -> None:
    canonical = "https://esm.sh/es@2.0.0/es.mjs"
    handed = f'export * from "{canonical}";\nexport {{ default }} from "{canonical}";\n'
    assert body(mirror, "https://esm.sh/es") == handed
    assert body(mirror, "https://cdn.skypack.dev/es@2") == handed
    assert body(mirror, "https://esm.sh/es@2.0.0/sub") == 'export * from "https://esm.sh/es@2.0.0/sub.mjs";\n'
    source = body(mirror, canonical)
    assert source is not None
    assert 'from "https://esm.sh/common@3.0.0/index.js"' in source
    assert 'from "./sub.mjs"' in source


def test_fonts_are_served_at_google_addresses(mirror: Mirror) -> None:
    sheet = body(mirror, "https://fonts.googleapis.com/css2?family=Inter:wght@400;900&family=Other")
    assert sheet is not None
    address = sheet.partition("url(")[2].partition(")")[0]
    assert body(mirror, address) == "font"
    assert mirror.answer("https://fonts.googleapis.com/css2?family=Other") is None


def test_libraries_are_listed_with_their_versions(mirror: Mirror) -> None:
    assert mirror.libraries == ("common (3.0.0)", "es (2.0.0)", "lib (1.2.0)")
    assert mirror.fonts == ("inter",)


def test_folder_without_an_index_is_refused(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match=r"mirror\.json.*cluster\.mirror build"):
        Mirror(tmp_path)


def test_mirror_with_a_missing_package_is_refused(mirror: Mirror) -> None:
    for path in sorted((mirror.folder / "lib@1.2.0").rglob("*"), reverse=True):
        path.rmdir() if path.is_dir() else path.unlink()
    (mirror.folder / "lib@1.2.0").rmdir()
    with pytest.raises(SettingsError, match=r"lacks 1 of its 4 packages, such as lib@1\.2\.0"):
        Mirror(mirror.folder)


PAGE = """<!doctype html><html><head>
<script src="https://cdn.jsdelivr.net/npm/lib@1/dist/lib.min.js"></script>
<link rel="stylesheet" href="https://unpkg.com/lib@1/dist/lib.css">
<script src="https://cdn.example.com/other.js"></script>
</head><body><div style="height:200px;background:teal"></div><p>plain</p><h1 id="a">waiting</h1><h2 id="b">waiting</h2>
<script>document.getElementById('a').textContent = 'lib ' + window.lib;</script>
<script type="module">
import common, {x} from "https://esm.sh/es";
document.getElementById('b').textContent = 'answer ' + common.answer + ' x ' + x + ' a ' + common.data.a;
</script></body></html>"""


@pytest.mark.browser
async def test_page_loads_libraries_from_the_mirror_only(mirror: Mirror) -> None:
    renderer = ChromiumRenderer(BrowserSettings(mirror=mirror.folder))
    try:
        first, again = [await renderer.render(Page(html=PAGE)) for _ in range(2)]
    finally:
        await renderer.stop()
    assert first.outcome == "ok", first.detail
    assert {text.text for text in first.blocks} == {"plain", "lib 1", "answer 42 x 1 a 1"}
    assert {text.color for text in first.blocks if text.text == "plain"} == {(255, 0, 0)}
    assert first.blocked == ("Script https://cdn.example.com/other.js (not in the library mirror)",)
    assert [shot.sha256 for shot in first.shots] == [shot.sha256 for shot in again.shots]


@pytest.mark.browser
async def test_cached_renders_depend_on_the_mirror(mirror: Mirror, tmp_path: Path) -> None:
    html = "<body><script src='https://unpkg.com/lib@1'></script><script>document.write(window.lib)</script>"
    page = Page(html=html)
    other = build(tmp_path / "other", {"lib@1.9.0/package.json": "{}", "lib@1.9.0/index.js": "window.lib = 'nine';"})
    seen = []
    for folder in (mirror.folder, other.folder, None):
        renderer = ChromiumRenderer(BrowserSettings(mirror=folder), cache=tmp_path / "cache")
        try:
            seen.append((await renderer.render(page)).blocks[0].text)
        finally:
            await renderer.stop()
    assert seen == ["1", "nine", "undefined"]
