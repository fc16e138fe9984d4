"""ES modules of npm packages as served by CDNs such as esm.sh: imports become addresses, CommonJS is wrapped."""

import json
import posixpath
import re
from collections.abc import Callable
from typing import Any

HOST = "https://esm.sh"
"""Host of all canonical addresses, whichever was requested: a module with two addresses would be two modules."""
BARE = re.compile(r"""(\b(?:from|import)\s*\(?\s*["'])([^."'/][^"':]*)(["'])""")
"""An import by package name."""
REQUIRE = re.compile(r"""\brequire\(\s*["']([^"']+)["']\s*\)""")
EXPORTED = re.compile(r"\bexports\.([A-Za-z_$][\w$]*)\s*=")
RESERVED = frozenset({"default", "__esModule", "delete", "new", "in", "if", "for", "do", "with", "class", "function"})
CONDITIONS = ("browser", "import", "module", "default", "require")
"""Keys of conditional exports, in the preference of browser bundlers."""

Read = Callable[[str], str | None]
"""Text of a package's file; None without such a file."""
Locate = Callable[[str], str | None]
"""Canonical address of a module by bare name; None if not mirrored."""


def entry(manifest: dict[str, Any], subpath: str = "") -> str:
    """The file of `import "name/subpath"`, by the package's package.json."""
    exports = manifest.get("exports")
    key = f"./{subpath}" if subpath else "."
    if isinstance(exports, dict) and not any(name.startswith(".") for name in exports):
        exports = {".": exports}
    found = _condition(exports.get(key)) if isinstance(exports, dict) else exports if key == "." else None
    if found is None and not subpath:
        found = manifest.get("module") or manifest.get("main") or "index.js"
    return posixpath.normpath(str(found or subpath))


def browser_entry(manifest: dict[str, Any]) -> str:
    """The file that a CDN serves for a package's bare address."""
    browser = manifest.get("browser")
    named = (manifest.get("jsdelivr"), manifest.get("unpkg"), browser, manifest.get("main"))
    return posixpath.normpath(next((name for name in named if isinstance(name, str)), "index.js"))


def address(package: str, version: str, path: str) -> str:
    """The canonical address of a module."""
    return f"{HOST}/{package}@{version}/{path}"


def reexport(target: str, source: str) -> str:
    """A module that re-exports everything from the module at `target`, which has the text `source`."""
    default = not is_module(source) or re.search(r"\bexport\s+default\b|\bas\s+default\b", source)
    return f'export * from "{target}";\n' + (f'export {{ default }} from "{target}";\n' if default else "")


def is_module(source: str) -> bool:
    """Whether a script is an ES module; otherwise it is CommonJS."""
    return bool(re.search(r"(?:^|[;}\s])(?:export\s*[{*d]|export\s+(?:const|let|var|class|function|async)\b)", source))


def serve(source: str, path: str, read: Read, locate: Locate) -> str:
    """The module at `path` with addresses for imports; CommonJS includes required files of its package."""
    if not is_module(source):
        return _wrap(path, read, locate)
    return BARE.sub(lambda found: found[1] + (locate(found[2]) or found[2]) + found[3], source)


def _condition(value: object) -> str | None:
    """The file of an `exports` entry, which may be nested conditions."""
    while isinstance(value, dict):
        value = next((value[name] for name in CONDITIONS if name in value), None)
    return value if isinstance(value, str) else None


def _wrap(path: str, read: Read, locate: Locate) -> str:
    """One ES module from a CommonJS file: its package's files in a table, other packages imported."""
    files: dict[str, str] = {}
    names: dict[str, str] = {}
    waiting = [path]
    while waiting:
        here = waiting.pop()
        source = read(here)
        if here in files or source is None:
            continue
        files[here] = f"module.exports = {source}" if here.endswith(".json") else source
        for name in REQUIRE.findall(source):
            if name.startswith("."):
                found = _resolve(posixpath.normpath(posixpath.join(posixpath.dirname(here), name)), read)
                waiting += [found] if found else []
            elif target := locate(name):
                names[name] = target
    exported = {name for source in files.values() for name in EXPORTED.findall(source)} - RESERVED
    return "\n".join(
        [
            *(f'import * as dep{number} from "{target}";' for number, target in enumerate(names.values())),
            "const packages = {"
            + ", ".join(f"{json.dumps(name)}: dep{number}" for number, name in enumerate(names))
            + "};",
            "const files = {",
            *(
                f"{json.dumps(name)}: function (module, exports, require, process, global) {{\n{source}\n}},"
                for name, source in files.items()
            ),
            "};",
            LOADER,
            f"const result = load({json.dumps(path)});",
            "export default result;",
            *(f"export const {name} = result.{name};" for name in sorted(exported)),
        ]
    )


def _resolve(path: str, read: Read) -> str | None:
    """The file that a relative `require` resolves to."""
    tries = (path, f"{path}.js", f"{path}.cjs", f"{path}.json", f"{path}/index.js")
    return next((one for one in tries if read(one) is not None), None)


LOADER = """const process = {env: {NODE_ENV: 'production'}}, loaded = {};
const load = path => {
  if (loaded[path]) return loaded[path].exports;
  const module = loaded[path] = {exports: {}};
  const folder = path.split('/').slice(0, -1);
  const require = name => {
    if (!name.startsWith('.')) {
      if (!packages[name]) throw new Error(`package ${name} is not in the library mirror`);
      return packages[name].default ?? packages[name];
    }
    const parts = [...folder];
    for (const part of name.split('/')) if (part === '..') parts.pop(); else if (part !== '.') parts.push(part);
    const at = parts.join('/');
    const found = [at, `${at}.js`, `${at}.cjs`, `${at}.json`, `${at}/index.js`].find(one => one in files);
    if (!found) throw new Error(`${name} is not in the package`);
    return load(found);
  };
  files[path].call(module.exports, module, module.exports, require, process, globalThis);
  return module.exports;
};"""
