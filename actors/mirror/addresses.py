"""Parses CDN URLs into files of npm packages, without reference to a mirror."""

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from urllib.parse import SplitResult, parse_qsl, unquote, urlsplit


@dataclass(frozen=True, slots=True, kw_only=True)
class FileRequest:
    """One file of one package. Example: `FileRequest(package="d3", version="7.9.0", paths=("dist/d3.min.js",))`."""

    package: str
    """npm name, including the scope."""
    version: str = ""
    """An exact version, a range such as `3` or `^4.1`, or empty for the newest."""
    paths: tuple[str, ...] = ()
    """Acceptable files, best first, relative to the package; empty for its browser entry."""
    module: bool = False
    """Serves an ES module with addresses as imports, like esm.sh."""


@dataclass(frozen=True, slots=True, kw_only=True)
class WantedFonts:
    """A style sheet of Google Fonts: `(family, weight, italic)` of each face."""

    faces: tuple[tuple[str, int, bool], ...]


@dataclass(frozen=True, slots=True)
class Nothing:
    """A script obsolete in current browsers (polyfill.io): answered with an empty one."""


Address = FileRequest | WantedFonts | Nothing
NPM = re.compile(r"/(?P<name>(?:@[^/@]+/)?[^/@]+)(?:@(?P<version>[^/]*))?(?:/(?P<path>.*))?")
"""`/name@version/path`, as in all CDNs of npm packages."""
LIBRARIES = {
    "three.js": ("three", "build/"),
    "p5.js": ("p5", "lib/"),
    "d3": ("d3", "dist/"),
    "Chart.js": ("chart.js", "dist/"),
    "chart.js": ("chart.js", "dist/"),
    "mathjs": ("mathjs", "lib/browser/"),
    "mathjax": ("mathjax", ""),
    "plotly.js": ("plotly.js-dist-min", ""),
    "numeric": ("numeric", ""),
    "jquery": ("jquery", "dist/"),
    "bootstrap": ("bootstrap", "dist/"),
    "twitter-bootstrap": ("bootstrap", "dist/"),
    "bootstrap-icons": ("bootstrap-icons", ""),
    "font-awesome": ("@fortawesome/fontawesome-free", ""),
    "gsap": ("gsap", "dist/"),
    "react": ("react", ""),
    "react-dom": ("react-dom", ""),
    "babel-standalone": ("@babel/standalone", ""),
    "vue": ("vue", "dist/"),
    "leaflet": ("leaflet", "dist/"),
    "highlight.js": ("@highlightjs/cdn-assets", ""),
    "animate.css": ("animate.css", ""),
    "animejs": ("animejs", "lib/"),
    "lodash.js": ("lodash", ""),
    "axios": ("axios", "dist/"),
    "katex": ("katex", "dist/"),
    "KaTeX": ("katex", "dist/"),
    "echarts": ("echarts", "dist/"),
    "matter-js": ("matter-js", "build/"),
    "tone": ("tone", "build/"),
    "marked": ("marked", ""),
    "tailwindcss": ("tailwindcss", "dist/"),
}
"""Library names of cdnjs, with their npm packages and the folders of their files."""


def parse(url: str) -> Address | None:
    """The request of `url`; None for an unknown CDN address."""
    try:
        split = urlsplit(url)
    except ValueError:  # a page can request anything
        return None
    host = (split.hostname or "").removeprefix("www.")
    form = FORMS.get(host)
    if split.scheme not in ("http", "https"):
        return None
    if any(label.startswith("polyfill") for label in host.split(".")):
        return Nothing()
    return form(split) if form is not None else None


def _npm(split: SplitResult, prefix: str = "/", *, module: bool = False) -> Address | None:
    path = unquote(split.path)
    found = NPM.fullmatch("/" + path.removeprefix(prefix)) if path.startswith(prefix) else None
    if found is None:
        return None
    file = (found["path"] or "").removesuffix("/+esm")
    module = module or file == "+esm" or "module" in dict(parse_qsl(split.query, keep_blank_values=True))
    file = "" if file == "+esm" else file
    return FileRequest(
        package=found["name"], version=found["version"] or "", paths=tuple(_twins(file)) if file else (), module=module
    )


def _jsdelivr(split: SplitResult) -> Address | None:
    return _npm(split, "/npm/")


def _module(split: SplitResult) -> Address | None:
    """esm.sh and similar: `/name`, `/name@version/path`; build prefixes (`/v135/`, `/stable/`) are ignored."""
    path = re.sub(r"^/(?:v\d+|stable|npm:)/", "/", split.path)
    return _npm(split._replace(path=path), module=True)


def _cdnjs(prefix: str) -> Callable[[SplitResult], Address | None]:
    """`/ajax/libs/NAME/VERSION/FILE` of cdnjs and copies, without the package's build folder."""

    def form(split: SplitResult) -> Address | None:
        path = unquote(split.path)
        parts = path.removeprefix(prefix).split("/", 2) if path.startswith(prefix) else []
        if len(parts) < 3:
            return Nothing() if "polyfill" in path else None
        name, version, file = parts
        package, folder = LIBRARIES.get(name, (name.lower(), "dist/"))
        if package == "@fortawesome/fontawesome-free" and version.startswith("4"):
            package = "font-awesome"
        if package == "three" and version.startswith("r"):
            version = f"0.{version[1:]}.0"
        stem, dot, suffix = file.partition(".")
        named = f"{folder}{stem}-{version}{dot}{suffix}"  # build names of some packages
        return FileRequest(package=package, version=version, paths=(*_twins(folder + file), named))

    return form


def _plotly(split: SplitResult) -> Address | None:
    """`/plotly-2.35.2.min.js`; `latest` has been version 1.58.5 since 2021."""
    found = re.fullmatch(r"/plotly(?:-(?P<version>latest|[\d.]+?))?(?:\.min)?\.js", split.path)
    if found is None:
        return None
    version = {"latest": "1.58.5", None: ""}.get(found["version"], found["version"])
    return FileRequest(package="plotly.js-dist-min", version=version or "", paths=("plotly.min.js",))


def _three(split: SplitResult) -> Address | None:
    """threejs.org serves the newest release's file tree."""
    return FileRequest(package="three", paths=(split.path.lstrip("/"),))


def _jquery(split: SplitResult) -> Address | None:
    found = re.fullmatch(r"/jquery-(?P<version>\d[\d.]*?)(?P<build>(?:\.slim)?(?:\.min)?\.js)", split.path)
    if found is None:
        return None
    return FileRequest(package="jquery", version=found["version"], paths=(f"dist/jquery{found['build']}",))


def _d3(split: SplitResult) -> Address | None:
    found = re.fullmatch(r"/d3\.v(?P<version>\d+)(?P<build>(?:\.min)?\.js)", split.path)
    return FileRequest(package="d3", version=found["version"], paths=(f"dist/d3{found['build']}",)) if found else None


def _tailwind(split: SplitResult) -> Address | None:
    """The Play CDN: `/3.4.1?plugins=forms,typography`."""
    plugins = dict(parse_qsl(split.query)).get("plugins", "")
    build = "-with-all-plugins" if plugins else ""
    return FileRequest(package="tailwindcss-cdn", version="3", paths=(f"tailwindcss{build}.js",))


def _font_awesome(split: SplitResult) -> Address | None:
    found = re.fullmatch(r"/releases/v(?P<version>[\d.]+)/(?P<path>.+)", split.path)
    if found is None:
        return None
    return FileRequest(package="@fortawesome/fontawesome-free", version=found["version"], paths=(found["path"],))


def _mathjax(split: SplitResult) -> Address | None:
    found = re.fullmatch(r"/mathjax/(?P<version>latest|[\d.]+(?:-latest)?)/(?P<path>.+)", split.path)
    if found is None:
        return None
    version = found["version"].removesuffix("-latest").replace("latest", "2")
    return FileRequest(package="mathjax", version=version, paths=(found["path"],))


def _fonts(split: SplitResult) -> Address | None:
    """`/css2?family=Inter:ital,wght@0,400;1,700` and the older `/css?family=Lato:400,700i|Lora`."""
    asked = [value for name, value in parse_qsl(split.query) if name == "family"]
    families = asked if split.path == "/css2" else [one for value in asked for one in value.split("|")]
    if split.path not in ("/css", "/css2", "/icon") or not families:
        return None
    return WantedFonts(faces=tuple(face for family in families for face in _faces(family)))


def _faces(family: str) -> Iterator[tuple[str, int, bool]]:
    name, _, styles = family.partition(":")
    axes, _, tuples = styles.partition("@")
    if not tuples:  # the older form, or no style
        for style in filter(None, styles.split(",")):
            weight = re.match(r"\d+", style)
            yield name, int(weight[0]) if weight else 700 if style[0] == "b" else 400, style.endswith(("i", "italic"))
        if not styles:
            yield name, 400, False
        return
    order = axes.split(",")
    for one in tuples.split(";"):
        value = dict(zip(order, one.split(","), strict=False))
        italic = value.get("ital") == "1"
        low, _, high = value.get("wght", "400").partition("..")
        weights = range(int(low), int(high) + 1, 100) if low.isdigit() and high.isdigit() else [low]
        yield from ((name, int(weight), italic) for weight in weights if str(weight).isdigit())


def _font_files(split: SplitResult) -> Address | None:
    """Font files of the served style sheets: `/s/PACKAGE/FILE`."""
    parts = split.path.removeprefix("/s/").split("/", 1)
    if len(parts) < 2:
        return None
    return FileRequest(package=unquote(parts[0]).replace("~", "/"), paths=(unquote(parts[1]),))


def _twins(path: str) -> Iterator[str]:
    """A file and its minified or unminified variant: CDNs serve both, packages often contain one."""
    yield path
    stem, dot, suffix = path.rpartition(".")
    if suffix in ("js", "css") and dot:
        yield f"{stem.removesuffix('.min')}.{suffix}" if stem.endswith(".min") else f"{stem}.min.{suffix}"


FORMS: dict[str, Callable[[SplitResult], Address | None]] = {
    "cdn.jsdelivr.net": _jsdelivr,
    "fastly.jsdelivr.net": _jsdelivr,
    "unpkg.com": _npm,
    "esm.sh": _module,
    "cdn.skypack.dev": _module,
    "esm.run": _module,
    "cdnjs.cloudflare.com": _cdnjs("/ajax/libs/"),
    "ajax.googleapis.com": _cdnjs("/ajax/libs/"),
    "cdn.bootcdn.net": _cdnjs("/ajax/libs/"),
    "cdn.bootcss.com": _cdnjs("/"),
    "cdn.staticfile.org": _cdnjs("/"),
    "cdn.staticfile.net": _cdnjs("/"),
    "lib.baomitu.com": _cdnjs("/"),
    "stackpath.bootstrapcdn.com": _cdnjs("/"),
    "maxcdn.bootstrapcdn.com": _cdnjs("/"),
    "netdna.bootstrapcdn.com": _cdnjs("/"),
    "cdn.plot.ly": _plotly,
    "threejs.org": _three,
    "code.jquery.com": _jquery,
    "d3js.org": _d3,
    "cdn.tailwindcss.com": _tailwind,
    "use.fontawesome.com": _font_awesome,
    "cdn.mathjax.org": _mathjax,
    "fonts.googleapis.com": _fonts,
    "fonts.gstatic.com": _font_files,
}
"""URL parsers by CDN host."""
