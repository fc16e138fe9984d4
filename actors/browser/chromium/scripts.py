"""JavaScript injected into pages: shims in the page's world before its scripts, a reader in an isolated world.

DOM clobbering (`<img name="body">`) and patched prototypes falsify plain property reads, even in isolated worlds if a
name is looked up on `document` or a form. The reader therefore uses the prototypes' getters and methods.
"""

import json
import re

EPOCH_S = 1_781_602_887
"""Page time zero in Unix seconds: 16 June 2026, 09:41:27 UTC, a plausible date."""
FRAMES_PER_S = 60
"""Animation callbacks per second of page time."""
GL_FRAMES_PER_S = 10
"""The same with WebGL, which is slow without a GPU."""
COARSE_FRAMES_PER_S = 1
"""The same for pages too heavy for both."""
ASKED = "relook:asks"
"""First word of the console line of a page that checks for the shims."""

SHIMS = """(() => {
'use strict';
const later = setTimeout, date = Date.now.bind(Date), zero = EPOCH_MS, now = () => date() - zero;
const call = Reflect.apply, note = console.debug.bind(console), sources = new WeakMap();
// What stands in for a built-in function says of itself what that one says, and has its name, length and descriptor.
const source = Function.prototype.toString, has = WeakMap.prototype.has.bind(sources);
const sourceOf = WeakMap.prototype.get.bind(sources), keep = WeakMap.prototype.set.bind(sources);
const replace = (owner, name, make, kind = 'value') => {
  const descriptor = owner && Object.getOwnPropertyDescriptor(owner, name), native = descriptor && descriptor[kind];
  if (!native) return;
  const stand = make(native);
  for (const key of ['name', 'length']) {
    Object.defineProperty(stand, key, {value: native[key], configurable: true});
  }
  keep(stand, call(source, native, []));
  Object.defineProperty(owner, name, {...descriptor, [kind]: stand});
};
let asked = false;
replace(Function.prototype, 'toString', () => ({ toString() {
  if (!has(this)) return call(source, this, []);
  if (!asked) { asked = true; note(ASKED); }
  return sourceOf(this);
} }).toString);
// Animation callbacks run on page time, however few frames are drawn.
let step = 1000 / FRAMES_PER_S, waiting = new Map(), last = 0, armed = false;
const tick = () => {
  armed = false;
  const due = waiting, time = now();
  waiting = new Map();
  for (const callback of due.values()) { try { callback(time); } catch (error) { later(() => { throw error; }, 0); } }
};
replace(window, 'requestAnimationFrame', () => ({ requestAnimationFrame(callback) {
  if (typeof callback !== 'function') throw new TypeError('parameter 1 is not of type Function');
  waiting.set(++last, callback);
  if (!armed) {
    armed = true;
    const time = now();
    later(tick, Math.max(1, Math.ceil((Math.floor(time / step + 1e-6) + 1) * step - time)));
  }
  return last;
} }).requestAnimationFrame);
replace(window, 'cancelAnimationFrame', () => ({ cancelAnimationFrame(handle) {
  waiting.delete(handle);
} }).cancelAnimationFrame);
for (const type of [window.HTMLCanvasElement, window.OffscreenCanvas]) {
  replace(type && type.prototype, 'getContext', native => ({ getContext(kind, ...rest) {
    const context = call(native, this, [kind, ...rest]);
    if (context && /^(experimental-)?webgl2?$|^webgpu$/.test(kind)) step = Math.max(step, 1000 / GL_FRAMES_PER_S);
    return context;
  } }).getContext);
}
// Clocks: whole milliseconds of page time. What the browser measures in real time never lies after this moment.
const whole = native => ({ get() {
  return Math.min(now(), Math.max(0, Math.floor(call(native, this, []))));
} }).get;
replace(Performance.prototype, 'now', () => ({ now() { return now(); } }).now);
replace(Performance.prototype, 'timeOrigin', () => ({ get() { return zero; } }).get, 'get');
replace(Event.prototype, 'timeStamp', whole, 'get');
for (const name of ['startTime', 'duration']) replace(PerformanceEntry.prototype, name, whole, 'get');
// Chance: two sequences that are the same in every render.
const chance = seed => () => {
  seed = seed + 0x6D2B79F5 | 0;
  let t = Math.imul(seed ^ seed >>> 15, 1 | seed);
  t = t + Math.imul(t ^ t >>> 7, 61 | t) ^ t;
  return (t ^ t >>> 14) >>> 0;
};
const number = chance(0x9E3779B9 | 0), byte = chance(0x51ED270B | 0);
replace(Math, 'random', () => ({ random() { return number() / 4294967296; } }).random);
replace(Crypto.prototype, 'getRandomValues', native => ({ getRandomValues(array) {
  call(native, this, [array]);
  const bytes = new Uint8Array(array.buffer, array.byteOffset, array.byteLength);
  for (let i = 0; i < bytes.length; i++) bytes[i] = byte();
  return array;
} }).getRandomValues);
replace(Crypto.prototype, 'randomUUID', native => ({ randomUUID() {
  return call(native, this, []).replace(/[0-9a-f]/g, (digit, at) =>
    at === 14 ? digit : (at === 19 ? 8 + byte() % 4 : byte() % 16).toString(16));
} }).randomUUID);
let said = 0;
const cut = value => typeof value === 'string' && value.length > 2000 ? value.slice(0, 2000) : value;
for (const name of ['log', 'info', 'warn', 'error', 'debug', 'table', 'dir', 'trace']) {
  replace(console, name, native => (...words) => {
    if (++said <= 500) call(native, console, words.slice(0, 10).map(cut));
  });
}
// Cameras and microphones: there are none. The browser looks for them in real time, for seconds in a new process.
const devices = window.MediaDevices && MediaDevices.prototype;
replace(devices, 'getUserMedia', () => ({ getUserMedia() {
  return Promise.reject(new DOMException('Requested device not found', 'NotFoundError'));
} }).getUserMedia);
replace(devices, 'enumerateDevices', () => ({ enumerateDevices() { return Promise.resolve([]); } }).enumerateDevices);
for (const way of ['RTCPeerConnection', 'webkitRTCPeerConnection', 'WebTransport']) delete window[way];
})();"""
"""For the page's world, in every frame, before its scripts; `shims` fills in the numbers."""


def shims(frames_per_s: int = FRAMES_PER_S) -> str:
    """The script for a number of animation callbacks per second of page time."""
    numbers = {"GL_FRAMES_PER_S": GL_FRAMES_PER_S, "FRAMES_PER_S": frames_per_s, "EPOCH_MS": EPOCH_S * 1000}
    return re.sub("|".join(numbers), lambda name: str(numbers[name[0]]), SHIMS).replace("ASKED", json.dumps(ASKED))


READY_WORLD = "relook-ready"
READY_BINDING = "relookReady"
READY = f"if (self === top) requestAnimationFrame(() => {READY_BINDING}(''));"
"""For an isolated world: reports that the document's first frame has run."""

READER_WORLD = "relook-reader"
ASK_STORES = "Promise.allSettled([indexedDB.databases(), caches.keys()]).then(() => null)"
"""Resolves after the stores have answered all earlier requests."""
ASK_TRANSITION = """(() => {
const get = Object.getOwnPropertyDescriptor(Document.prototype, 'activeViewTransition')?.get;
const transition = get && get.call(document), begun = globalThis.relookBegun ||= new WeakMap();
if (!transition) return false;
if (!begun.has(transition)) {
  const done = () => { begun.set(transition, true); };
  begun.set(transition, false);
  transition.ready.then(done, done);
}
return !begun.get(transition);
})()"""
"""Whether a view transition waits to capture the page before and after it."""
TOOLS = """
const own = (type, name) => Object.getOwnPropertyDescriptor(type.prototype, name).get;
const get = (type, name) => { const getter = own(type, name); return object => getter.call(object); };
const bind = (type, name) => {
  const method = type.prototype[name];
  return (object, ...rest) => method.apply(object, rest);
};
const bodyOf = get(Document, 'body'), titleOf = get(Document, 'title'), rootOf = get(Document, 'documentElement');
const tagOf = get(Element, 'tagName'), parentOf = get(Node, 'parentElement');
const rectOf = bind(Element, 'getBoundingClientRect'), query = bind(Document, 'querySelector');
const queryAll = bind(Document, 'querySelectorAll'), attribute = bind(Element, 'getAttribute');
const visible = bind(Element, 'checkVisibility');
const seen = element => visible(element, {opacityProperty: true, visibilityProperty: true});
const rootOfShadow = get(Element, 'shadowRoot'), hostOf = get(ShadowRoot, 'host'), homeOf = bind(Node, 'getRootNode');
const shadowOf = element => rootOfShadow(element) || (globalThis.relookShadows || new Map()).get(element) || null;
const aboveOf = element => {  // the parent, or the host of the shadow root that the element is in
  const above = parentOf(element), home = above ? null : homeOf(element);
  return above || (home instanceof ShadowRoot ? hostOf(home) : null);
};
const kindOf = get(Node, 'nodeType'), firstOf = get(Node, 'firstChild'), nextOf = get(Node, 'nextSibling');
const MOST_NODES = 200000;
const flat = function* (root) {  // each node below `root` that may be drawn, with its parent in the flat tree, in order
  const nodes = root ? [root] : [], parents = [null];
  for (let count = 0; nodes.length && count < MOST_NODES; count++) {
    const node = nodes.pop(), parent = parents.pop(), kind = kindOf(node);
    if (kind === 1 || kind === 3) yield [node, parent];
    if (kind !== 1) continue;
    let child = firstOf(shadowOf(node) || node), below = [];
    if (node instanceof HTMLSlotElement) below = HTMLSlotElement.prototype.assignedNodes.call(node);
    if (!below.length) for (; child; child = nextOf(child)) below.push(child);
    while (below.length) { nodes.push(below.pop()); parents.push(node); }
  }
};
const round = number => Math.round(number * 10) / 10;
const brush = new OffscreenCanvas(1, 1).getContext('2d', {willReadFrequently: true}), colours = new Map();
const colour = text => {  // any CSS colour as [red, green, blue, alpha], alpha in [0, 1]
  let parsed = colours.get(text);
  if (parsed) return parsed;
  const plain = /^rgba?\\((\\d+), (\\d+), (\\d+)(?:, ([\\d.]+))?\\)$/.exec(text);
  if (plain) parsed = [+plain[1], +plain[2], +plain[3], plain[4] === undefined ? 1 : +plain[4]];
  else {
    brush.clearRect(0, 0, 1, 1); brush.fillStyle = '#000'; brush.fillStyle = text; brush.fillRect(0, 0, 1, 1);
    parsed = [...brush.getImageData(0, 0, 1, 1).data]; parsed[3] /= 255;
  }
  colours.set(text, parsed);
  return parsed;
};
const over = (top, below) => [0, 1, 2].map(i => Math.round(top[i] * top[3] + below[i] * (1 - top[3])));
"""

LOOK = (
    "((selector, kind, name, wanted, bring) => {"
    + TOOLS
    + """
let element;
try { element = query(document, selector); } catch (error) { return 'bad selector'; }
if (!element) return 'null';
if (bring) {
  const box = rectOf(element);
  if (box.top < 0 || box.left < 0 || box.bottom > innerHeight || box.right > innerWidth) {
    Element.prototype.scrollIntoView.call(element, {block: 'center', inline: 'center', behavior: 'instant'});
  }
}
const box = rectOf(element), style = getComputedStyle(element);
const field = [HTMLInputElement, HTMLTextAreaElement].find(type => element instanceof type);
let text = '', value = null;
if (field) text = get(field, 'value')(element);
else if (element instanceof HTMLSelectElement) text = get(HTMLSelectElement, 'value')(element);
else if (element instanceof HTMLElement) text = get(HTMLElement, 'innerText')(element);
else text = get(Node, 'textContent')(element);
if (kind === 'expect_attribute') {
  const states = {checked: HTMLInputElement, open: HTMLDetailsElement, disabled: field, selected: HTMLOptionElement};
  const live = states[name];
  if (name === 'value' && field) value = text;
  else if (live && element instanceof live && /^(true|false)$/.test(wanted)) value = String(get(live, name)(element));
  else value = attribute(element, name);
}
if (kind === 'expect_style') value = style.getPropertyValue(name);
const same = (left, right) => {  // also two names of one colour
  if (left === right) return true;
  if (kind !== 'expect_style' || !name.includes('color') || !CSS.supports('color', right)) return false;
  return String(colour(left)) === String(colour(right));
};
return JSON.stringify({
  x: box.left + box.width / 2, y: box.top + box.height / 2, value: value && value.toWellFormed(),
  matches: value !== null && same(value, wanted),
  text: text.replace(/\\s+/g, ' ').trim().toWellFormed(),
  visible: seen(element) && box.width >= 1 && box.height >= 1 && box.right + scrollX > 0 && box.bottom + scrollY > 0,
});
})"""
)


def look(selector: str, kind: str, name: str, wanted: str, *, bring: bool) -> str:
    """Script that reports on the first element a selector matches; `bring` scrolls it into view."""
    return f"{LOOK}({', '.join(json.dumps(word) for word in (selector, kind, name, wanted, bring))})"
