// Stands in for a page and its locators: every action and every reading becomes a step of a probe.
const { refuse, formulaOf, symbol } = require('./values.js');

const CLICKED = new Set(['position', 'force', 'timeout', 'noWaitAfter', 'button', 'delay']);

class Recording {
  constructor() {
    this.steps = [];
    this.readings = {};
    this.opened = false;
  }
  add(step) {
    this.steps.push(step);
  }
  // Keeps what a step reads, and returns its symbol.
  read(step) {
    const reading = `r${Object.keys(this.readings).length + 1}`;
    this.readings[reading] = step;
    this.add({ kind: 'read', ...step, reading });
    return symbol(reading);
  }
}

function textOf(text, exact) {
  if (text instanceof RegExp) return `/${text.source}/${text.flags.replace(/[^ims]/g, '')}`;
  if (formulaOf(text)) refuse('locates with a value read from the page');
  if (exact) return JSON.stringify(String(text));
  if (/^["/]| >> /.test(text)) refuse('has a text that a locator cannot hold');
  return String(text);
}

// The parts of a selector: CSS, `text=`, `xpath=..`, chains, and the pseudo-classes of Playwright at the end.
function partsOf(selector) {
  if (typeof selector !== 'string') refuse('locates with a value read from the page');
  return selector.split('>>').flatMap((piece) => {
    const part = piece.trim();
    if (part === 'xpath=..' || part === '..') return ['parent='];
    if (/^text=/.test(part)) return [`text=${part.slice(5).replace(/^'(.*)'$/, '"$1"')}`];
    if (/^(nth|visible)=/.test(part)) return [part];
    if (/^["']/.test(part)) return [`text="${part.slice(1, -1)}"`];
    const css = part.replace(/^css=/, '');
    if (/^(\/\/|\.\.|xpath=|[a-z-]+=)/.test(css)) refuse('has a locator of an unknown kind');
    const ending = /^(.*?):(has-text|text-is|visible)(?:\((["'])(.*)\3\))?$/s.exec(css);
    const [, plain, kind, , text] = ending || [null, css];
    if (/:(has-text|text|text-is|text-matches|visible|nth-match|near|left-of|right-of)\b/.test(plain)) {
      refuse('has a locator of an unknown kind');
    }
    const filter = { 'has-text': `has_text=${text}`, 'text-is': `has_text="${text}"`, visible: 'visible=true' }[kind];
    return [`css=${plain || '*'}`, ...(filter ? [filter] : [])];
  });
}

function filtersOf(options = {}) {
  const parts = [];
  for (const [name, value] of Object.entries(options)) {
    if (name === 'hasText') parts.push(`has_text=${textOf(value)}`);
    else if (name === 'hasNotText') parts.push(`has_not_text=${textOf(value)}`);
    else if (name === 'visible') parts.push(`visible=${value}`);
    else if (value !== undefined) refuse(`filters a locator by ${name}`);
  }
  return parts;
}

// What pages and locators have in common: making locators below `parts`.
class Scope {
  constructor(recording, parts) {
    this.recording = recording;
    this.parts = parts;
  }
  below(...parts) {
    return new Locator(this.recording, [...this.parts, ...parts]);
  }
  locator(selector, options) {
    return this.below(...(selector instanceof Locator ? selector.parts : partsOf(selector)), ...filtersOf(options));
  }
  frameLocator(selector) {
    return this.below(`frame=${selector}`);
  }
  getByText(text, { exact } = {}) { return this.below(`text=${textOf(text, exact)}`); }
  getByLabel(text, { exact } = {}) { return this.below(`label=${textOf(text, exact)}`); }
  getByPlaceholder(text, { exact } = {}) { return this.below(`placeholder=${textOf(text, exact)}`); }
  getByTitle(text, { exact } = {}) { return this.below(`title=${textOf(text, exact)}`); }
  getByAltText(text, { exact } = {}) { return this.below(`alt=${textOf(text, exact)}`); }
  getByTestId(id) { return this.below(`test_id=${id}`); }
  getByRole(role, { name, exact, ...rest } = {}) {
    if (Object.keys(rest).length) refuse('locates a role by its state');
    return this.below(`role=${role}${name === undefined ? '' : ` ${textOf(name, exact)}`}`);
  }
}

class Locator extends Scope {
  get text() {
    return this.parts.join(' >> ');
  }
  first() { return this.below('nth=0'); }
  last() { return this.below('nth=-1'); }
  nth(at) { return this.below(`nth=${at}`); }
  filter(options) { return this.below(...filtersOf(options)); }
  step(kind, more = {}) {
    this.recording.add({ kind, locator: this.text, ...more });
  }
  read(name, more = {}) {
    return this.recording.read({ locator: this.text, name, ...more });
  }
  async click(options = {}) {
    const { position, button } = options;
    const unknown = Object.keys(options).filter((name) => !CLICKED.has(name));
    if (unknown.length || (button && button !== 'left')) refuse(`clicks with ${unknown[0] || 'another button'}`);
    this.step('click', position ? { at: [position.x, position.y] } : {});
  }
  async tap() { this.step('click'); }
  async dblclick() { this.step('double_click'); }
  async hover() { this.step('hover'); }
  async focus() { this.step('focus'); }
  async blur() { this.step('blur'); }
  async dispatchEvent(type) { this.step('dispatch', { name: type }); }
  async scrollIntoViewIfNeeded() { this.recording.add({ kind: 'expect_count', locator: this.text, value: '1' }); }
  async fill(value) { this.step('fill', given(value)); }
  async clear() { this.step('fill'); }
  async type(value) { this.step('type', given(value)); }
  async pressSequentially(value) { this.step('type', given(value)); }
  async press(key) { this.step('focus'); this.recording.add(pressed(key)); }
  async check() { this.step('check'); }
  async uncheck() { this.step('uncheck'); }
  async setChecked(on) { this.step(on ? 'check' : 'uncheck'); }
  async selectOption(wanted) {
    if (Array.isArray(wanted) && wanted.length !== 1) refuse('selects several options');
    const one = Array.isArray(wanted) ? wanted[0] : wanted;
    const chosen = formulaOf(one) || typeof one === 'string' ? one : one && (one.value ?? one.label);
    if (chosen === undefined || chosen === null) refuse('selects an option by its number');
    this.step('select', given(chosen));
  }
  async dragTo(target, options = {}) {
    if (Object.keys(options).length || target.parts.length !== 1 || !target.text.startsWith('css=')) {
      refuse('drags to a position of an element');
    }
    this.step('drag', { to: target.text.slice(4) });
  }
  async waitFor({ state = 'visible' } = {}) {
    const kinds = { visible: 'expect_visible', hidden: 'expect_hidden' };
    if (state === 'attached') this.recording.add({ kind: 'expect_count', locator: this.text, value: '0', negated: true });
    else if (state === 'detached') this.step('expect_count', { value: '0' });
    else this.step(kinds[state]);
  }
  async textContent() { return this.read('text'); }
  async innerText() { return this.read('inner_text'); }
  async innerHTML() { return this.read('html'); }
  async inputValue() { return this.read('value'); }
  async getAttribute(name) { return this.read(`attribute:${name}`); }
  async boundingBox() { return this.read('box'); }
  async screenshot() { return this.read('picture'); }
  async count() { return this.read('count'); }
  async isVisible() { return this.read('visible'); }
  async isChecked() { return this.read('checked'); }
  async isEnabled() { return this.read('enabled'); }
  async evaluate(script, argument) { return this.read('script', { value: withArgument(script, argument, 'one') }); }
  async evaluateAll(script, argument) {
    if (this.parts.length !== 1 || !this.text.startsWith('css=')) refuse('evaluates a chain of locators');
    const found = `[...document.querySelectorAll(${JSON.stringify(this.text.slice(4))})]`;
    return this.recording.read({ name: 'script', value: `() => (${withArgument(script, argument, 'one')})(${found})` });
  }
  async allTextContents() { return this.evaluateAll((all) => all.map((one) => one.textContent)); }
}

class Page extends Scope {
  constructor(recording) {
    super(recording, []);
    this.mouse = {
      move: async (x, y) => recording.add({ kind: 'mouse', name: 'move', at: [x, y] }),
      down: async () => recording.add({ kind: 'mouse', name: 'down' }),
      up: async () => recording.add({ kind: 'mouse', name: 'up' }),
      wheel: async (x, y) => recording.add({ kind: 'mouse', name: 'wheel', at: [x, y] }),
      click: async (x, y) => {
        recording.add({ kind: 'mouse', name: 'move', at: [x, y] });
        recording.add({ kind: 'mouse', name: 'down' });
        recording.add({ kind: 'mouse', name: 'up' });
      },
    };
    this.keyboard = {
      press: async (key) => recording.add(pressed(key)),
      type: () => refuse('types without a field'),
    };
    for (const name of ['click', 'dblclick', 'fill', 'hover', 'check', 'uncheck', 'selectOption', 'press', 'type', 'focus',
      'textContent', 'innerText', 'innerHTML', 'inputValue', 'getAttribute', 'isVisible', 'isChecked', 'dispatchEvent']) {
      this[name] = (selector, ...rest) => this.locator(selector).first()[name](...rest);
    }
  }
  async goto() {
    if (this.recording.opened) refuse('opens the page twice');
    this.recording.opened = true;
  }
  async reload() { refuse('opens the page twice'); }
  async waitForLoadState() {}
  async bringToFront() {}
  on() {}
  once() {}
  viewportSize() { return { width: 1280, height: 720 }; }
  async setViewportSize() { refuse('resizes the viewport'); }
  async waitForTimeout(ms) {
    for (let left = ms; left > 0; left -= 10000) this.recording.add({ kind: 'wait', value: String(Math.min(left, 10000)) });
  }
  async waitForSelector(selector, options) { await this.locator(selector).first().waitFor(options); }
  async waitForFunction(script, argument) {
    const value = withArgument(script, argument);
    this.recording.add({ kind: 'expect_reading', name: 'script', value, reading: 'awaited', relation: 'truthy' });
  }
  async screenshot(options = {}) {
    if (options.clip) refuse('takes a picture of a rectangle');
    return this.recording.read({ name: 'picture' });
  }
  async evaluate(script, argument) {
    return this.recording.read({ name: 'script', value: withArgument(script, argument) });
  }
}

function given(value) {
  if (formulaOf(value)) return { to: formulaOf(value) };
  if (typeof value !== 'string') refuse('gives a number where Playwright takes a text');
  return value ? { value } : {};
}

function pressed(key) {
  if (key.length > 1 && key.includes('+')) refuse('presses keys together');
  return { kind: 'press', value: key };
}

// The source of a function of the page, with its argument filled in; `first` names an argument before it.
function withArgument(script, argument, first = '') {
  if (typeof script === 'string') return `() => (${script})`;
  if (formulaOf(argument)) refuse('computes with a value read from the page');
  const source = /^(async\s+)?(function\b|\(|[\w$]+\s*=>)/.test(`${script}`) ? `${script}` : `function ${script}`;
  const rest = argument === undefined ? '' : JSON.stringify(argument);
  return `(${first}) => (${source})(${[first, rest].filter(Boolean).join(', ')})`;
}

// Any other method of a stand-in is a reason not to translate.
const strict = (object) => new Proxy(object, {
  get(target, key) {
    const found = target[key];
    if (typeof found === 'function') {
      return (...words) => {
        const result = found.apply(target, words);
        return result instanceof Locator ? strict(result) : result;
      };
    }
    if (found !== undefined || key === 'then' || typeof key === 'symbol') return found;
    return () => refuse(`calls ${String(key)} of a page or locator`);
  },
});

module.exports = { Recording, Page, Locator, textOf, strict };
