"""Locates elements by CSS, role, text, label, placeholder or test id, and reports their state.

The meaning is that of Playwright's locators: texts are compared with white space collapsed, as substrings without case
unless exact. Roles are the explicit ones or those that the tag implies; names follow the common cases of the
accessible name computation (`aria-labelledby`, `aria-label`, `<label>`, `alt`, content, `title`, placeholder).
Elements in shadow roots and frames are found only by chains (`chain.py`).
"""

import json
from typing import TypedDict

from actors.browser.chromium.checks.chain import CHAIN
from actors.browser.chromium.isolated_world import IsolatedWorld
from actors.browser.chromium.scripts import TOOLS
from rollout.records import ProbeStep

ROLES = {
    "button": "button,input[type=button],input[type=submit],input[type=reset],summary",
    "link": "a[href],area[href]",
    "checkbox": "input[type=checkbox]",
    "radio": "input[type=radio]",
    "slider": "input[type=range]",
    "spinbutton": "input[type=number]",
    "textbox": "textarea,input:not([type]),input[type=text],input[type=email],input[type=tel],input[type=url]",
    "searchbox": "input[type=search]",
    "combobox": "select:not([multiple]):not([size])",
    "listbox": "select[multiple],select[size]",
    "option": "option",
    "heading": "h1,h2,h3,h4,h5,h6",
    "img": "img[alt]:not([alt=''])",
    "list": "ul,ol,menu",
    "listitem": "li",
    "table": "table",
    "row": "tr",
    "cell": "td",
    "columnheader": "th",
    "navigation": "nav",
    "main": "main",
    "dialog": "dialog",
    "paragraph": "p",
    "progressbar": "progress",
}
"""Selectors of the elements with an implied role; other roles are found only where they are explicit."""

FIND = (
    "((step, roles, act) => {"
    + TOOLS
    + r"""
const childrenOf = get(Element, 'children');
const all = selector => [...Document.prototype.querySelectorAll.call(document, selector)];
const spaced = text => (text || '').replace(/\s+/g, ' ').trim();
const expression = text => { 
  const parts = /^\/(.+)\/([ims]*)$/s.exec(text);
  return parts && RegExp(parts[1], parts[2]);
};
const fits = (text, wanted) => {
  const pattern = expression(wanted);
  if (pattern) return pattern.test(spaced(text));
  if (step.exact) return spaced(text) === spaced(wanted);
  return spaced(text).toLowerCase().includes(spaced(wanted).toLowerCase());
};
const inner = one => one instanceof HTMLElement ? get(HTMLElement, 'innerText')(one) : get(Node, 'textContent')(one);
const labels = one => one.labels ? [...one.labels].map(inner) : [];
const drawn = one => {
  const box = rectOf(one);
  return visible(one, {visibilityProperty: true}) && box.width > 0 && box.height > 0;
};
const nameOf = one => {
  const by = attribute(one, 'aria-labelledby');
  if (by) return by.split(/\s+/).map(id => all('#' + CSS.escape(id)).map(inner).join(' ')).join(' ');
  const given = attribute(one, 'aria-label') || labels(one).join(' ') || attribute(one, 'alt');
  if (given) return given;
  const button = one instanceof HTMLInputElement && /^(button|submit|reset)$/.test(one.type) && one.value;
  const field = [HTMLInputElement, HTMLSelectElement, HTMLTextAreaElement].some(type => one instanceof type);
  return button || (!field && inner(one)) || attribute(one, 'title') || attribute(one, 'placeholder') || '';
};
"""
    + CHAIN
    + r"""
let found;
try {
  if (step.locator) found = chain(step.locator);
  else if (step.selector) found = all(step.selector);
  else if (step.role) {
    const implied = new Set(roles[step.role] ? all(roles[step.role]) : []);
    found = all('*').filter(one => {
      const role = (attribute(one, 'role') || '').trim().split(/\s+/)[0];
      return (role ? role === step.role : implied.has(one)) && drawn(one)
        && (!step.accessible_name || fits(nameOf(one), step.accessible_name));
    });
  } else if (step.text) {
    const skipped = /^(SCRIPT|STYLE|NOSCRIPT|HEAD|TITLE)$/;
    const said = one => one instanceof HTMLInputElement && /^(button|submit)$/.test(one.type) ? one.value : inner(one);
    const hits = new Set(all('body, body *').filter(one => !skipped.test(tagOf(one)) && fits(said(one), step.text)));
    found = [...hits].filter(one => ![...childrenOf(one)].some(child => hits.has(child)));
  } else if (step.label) {
    found = all('*').filter(one => labels(one).some(text => fits(text, step.label))
      || (attribute(one, 'aria-label') !== null && fits(attribute(one, 'aria-label'), step.label)));
  } else if (step.placeholder) {
    found = all('[placeholder]').filter(one => fits(attribute(one, 'placeholder'), step.placeholder));
  } else if (step.test_id) found = all('[data-testid]').filter(one => attribute(one, 'data-testid') === step.test_id);
  else found = [];
} catch (error) { return JSON.stringify({bad: String(error.message)}); }
const count = found.length, at = step.nth < 0 ? count + step.nth : step.nth;
const element = found[step.nth === null ? 0 : at];
if (step.kind === 'expect_url') {
  const pattern = step.pattern && expression(step.pattern), shown = location.hash;
  return JSON.stringify({count, found: true, shown, matches: pattern ? pattern.test(shown) : null});
}
if (!element) return JSON.stringify({count, found: false});
if (act === 'element') return element;
if (act) {
  const box = rectOf(element);
  if (box.top < 0 || box.left < 0 || box.bottom > innerHeight || box.right > innerWidth) {
    Element.prototype.scrollIntoView.call(element, {block: 'center', inline: 'center', behavior: 'instant'});
  }
}
const fire = () => ['input', 'change'].forEach(name => element.dispatchEvent(new Event(name, {bubbles: true})));
let done = '';
if (act === 'fill') {
  const editable = element.isContentEditable || element instanceof HTMLTextAreaElement
    || (element instanceof HTMLInputElement && !/^(checkbox|radio|file|button|submit|reset|image)$/.test(element.type));
  if (!editable) return JSON.stringify({bad: 'the element cannot be filled'});
  if (element instanceof HTMLInputElement && /^(range|color|date|time|month|week|datetime-local)$/.test(element.type)) {
    const wanted = element.type === 'color' ? step.value.toLowerCase() : step.value.trim();
    element.focus();
    element.value = wanted;
    if (element.value !== wanted) return JSON.stringify({bad: `the field does not take ${step.value}`});
    fire();
    done = 'filled';
  } else {
    element.focus();
    if (element.select) element.select(); else getSelection().selectAllChildren(element);
    done = 'selected';
  }
}
if (act === 'select') {
  if (!(element instanceof HTMLSelectElement)) return JSON.stringify({bad: 'the element is not a select'});
  const options = [...element.options];
  const option = options.find(one => one.value === step.value || spaced(one.label) === spaced(step.value));
  if (option) {
    options.forEach(one => { one.selected = one === option; });
    fire();
    done = 'filled';
  }
}
if (act === 'focus' || act === 'blur') element[act]();
if (act === 'dispatch') element.dispatchEvent(new Event(step.name, {bubbles: true, cancelable: true, composed: true}));
const readings = one => ({
  text: get(Node, 'textContent')(one), inner_text: inner(one), html: one.innerHTML,
  attribute: step.name.startsWith('attribute:') ? attribute(one, step.name.slice(10)) : null,
})[step.name.replace(/:.*/, '')] ?? null;
const hits = (one, box) => {  // whether a click at the centre reaches the element
  let top = document.elementFromPoint(box.left + box.width / 2, box.top + box.height / 2);
  while (top && rootOfShadow(top)) {
    const inside = rootOfShadow(top).elementFromPoint(box.left + box.width / 2, box.top + box.height / 2);
    if (!inside || inside === top) break;
    top = inside;
  }
  const targets = [one, ...(one.labels || [])], control = one.closest('label,button');
  for (; top; top = aboveOf(top)) if (targets.includes(top) || (control && top === control)) return true;
  return false;
};
const box = rectOf(element), field = 'value' in element && !(element instanceof HTMLLIElement);
const role = attribute(element, 'aria-checked');
const input = element instanceof HTMLInputElement && /^(checkbox|radio)$/.test(element.type);
const wanted = step.name ? (step.kind === 'expect_style' ? getComputedStyle(element).getPropertyValue(step.name)
  : attribute(element, step.name)) : field ? element.value : null;
const raw = step.locator ? whole(element) : inner(element);
const plain = step.kind === 'expect_value' || step.name ? wanted : step.pattern && step.locator ? raw : spaced(raw);
const pattern = step.pattern && expression(step.pattern);
return JSON.stringify({
  count, found: true, done, x: box.left + box.width / 2, y: box.top + box.height / 2, visible: drawn(element),
  enabled: !Element.prototype.matches.call(element, ':disabled') && attribute(element, 'aria-disabled') !== 'true',
  checked: input ? element.checked : role === null ? null : role === 'true',
  shown: plain === null ? null : String(plain).toWellFormed(),
  matches: pattern ? plain !== null && pattern.test(plain) : null,
  editable: !element.readOnly, empty: field ? element.value === '' : !raw.trim(),
  box: {x: box.x, y: box.y, width: box.width, height: box.height}, read: readings(element), hit: hits(element, box),
});
})"""
)


class Unmet(Exception):
    """A step failed or an expectation did not hold: what, got, wanted."""


class Found(TypedDict, total=False):
    """The element that a step locates, and the number of matches."""

    bad: str
    """The reason that the locator or the action is impossible."""
    count: int
    found: bool
    done: str
    """`filled` or, for text that is still to be inserted, `selected`; empty if nothing was done."""
    x: float
    y: float
    visible: bool
    enabled: bool
    editable: bool
    empty: bool
    """Whether the field or element has no text."""
    hit: bool
    """Whether a click at the centre reaches the element."""
    box: dict[str, float]
    """`x`, `y`, `width`, `height` in the viewport."""
    read: str | None
    """The text, HTML or attribute that `read` asks for."""
    checked: bool | None
    shown: str | None
    """The text, value, attribute or style that the step is about."""
    matches: bool | None
    """Whether `pattern` matches; None without one."""


async def find(world: IsolatedWorld, step: ProbeStep, act: str = "") -> Found:
    """The element that a step locates; `act` scrolls it into view, and fills or selects (`fill`, `select`)."""
    found: Found = json.loads(await world(_call(step, act)))
    return found


async def locate(world: IsolatedWorld, step: ProbeStep, act: str = "") -> Found:
    """As `find`. Raises Unmet for an impossible locator or action, and for several elements instead of one."""
    found = await find(world, step, act)
    if "bad" in found:
        raise Unmet(f"{described(step)}: {found['bad']}")
    counts = step.kind == "expect_count" or (step.reading and step.name == "count")
    if found["count"] > 1 and not (counts or step.selector or step.nth is not None):
        raise Unmet(f"{described(step)} matches {found['count']} elements, wanted one; give `nth`")
    return found


def finder(step: ProbeStep) -> str:
    """Expression of the isolated world: the element that a step locates."""
    return _call(step, "element")


def _call(step: ProbeStep, act: str) -> str:
    fields = {name: getattr(step, name) for name in step.__dataclass_fields__}
    return f"{FIND}({', '.join(json.dumps(word) for word in (fields, ROLES, act))})"


def described(step: ProbeStep) -> str:
    """Example: `role 'button' named 'Add'`."""
    if step.selector or step.locator:
        return repr(step.selector or step.locator)
    named = f" named {step.accessible_name!r}" if step.accessible_name else ""
    for kind in ("role", "text", "label", "placeholder", "test_id"):
        if getattr(step, kind):
            return f"{kind} {getattr(step, kind)!r}{named}"
    return "the page"
