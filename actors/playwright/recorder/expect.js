// Stands in for `expect`: expectations of locators and of values read from the page become steps of a probe.
const { refuse, formulaOf, comparisons } = require('./values.js');
const { Locator, textOf } = require('./page.js');

const RELATIONS = {
  toBe: 'equal', toEqual: 'equal', toStrictEqual: 'equal', toBeGreaterThan: 'greater',
  toBeGreaterThanOrEqual: 'at_least', toBeLessThan: 'less', toBeLessThanOrEqual: 'at_most', toContain: 'contains',
};
const STORED = 'compares with a stored picture';

// The step's fields for a wanted text, pattern or reading.
function wanted(value) {
  if (value instanceof RegExp) return { pattern: textOf(value) };
  if (formulaOf(value)) return { to: formulaOf(value) };
  if (typeof value !== 'string') refuse('gives a number where Playwright takes a text');
  return value ? { value } : {};
}

const ofLocator = {
  toBeVisible: ({ visible = true } = {}) => ({ kind: 'expect_visible', negated: !visible }),
  toBeHidden: () => ({ kind: 'expect_hidden' }),
  toBeAttached: () => ({ kind: 'expect_count', value: '0', negated: true }),
  toBeChecked: ({ checked = true } = {}) => ({ kind: 'expect_checked', negated: !checked }),
  toBeEnabled: ({ enabled = true } = {}) => ({ kind: 'expect_enabled', negated: !enabled }),
  toBeDisabled: () => ({ kind: 'expect_disabled' }),
  toBeEmpty: () => ({ kind: 'expect_empty' }),
  toHaveText: (text) => text === '' ? { kind: 'expect_text', pattern: '/^\\s*$/' }
    : { kind: 'expect_text', ...wanted(text), exact: !(text instanceof RegExp) },
  toContainText: (text) => text === '' ? { kind: 'expect_text', pattern: '/^/' } : { kind: 'expect_text', ...wanted(text) },
  toHaveValue: (text) => ({ kind: 'expect_value', ...wanted(text) }),
  toHaveCount: (number) => formulaOf(number) ? refuse('computes with a value read from the page')
    : { kind: 'expect_count', value: String(number) },
  toHaveClass: (text) => ({ kind: 'expect_attribute', name: 'class', ...wanted(text) }),
  toHaveId: (text) => ({ kind: 'expect_attribute', name: 'id', ...wanted(text) }),
  toHaveAttribute: (name, text) => ({
    kind: 'expect_attribute', name, ...(text === undefined || typeof text === 'object' && !(text instanceof RegExp)
      && !formulaOf(text) ? { pattern: '/^/' } : wanted(text)),
  }),
  toHaveCSS: (name, text) => {
    if (text instanceof RegExp) refuse('expects a style by a pattern');
    return { kind: 'expect_style', name, ...wanted(text) };
  },
  toHaveScreenshot: () => refuse(STORED),
  toMatchSnapshot: () => refuse(STORED),
};

function literal(value) {
  if (formulaOf(value)) return { to: formulaOf(value) };
  if (value === undefined) return { value: 'null' };
  return { value: JSON.stringify(value) };
}

// The step that compares the reading of a formula by a matcher of values.
function relation(formula, matcher, words) {
  const step = { kind: 'expect_reading', reading: formula };
  if (matcher in RELATIONS) return { ...step, relation: RELATIONS[matcher], ...literal(words[0]) };
  if (matcher === 'toBeTruthy') return { ...step, relation: 'truthy' };
  if (matcher === 'toBeFalsy') return { ...step, relation: 'truthy', negated: true };
  if (matcher === 'toBeNull' || matcher === 'toBeUndefined') return { ...step, relation: 'equal', value: 'null' };
  if (matcher === 'toBeDefined') return { ...step, relation: 'equal', value: 'null', negated: true };
  if (matcher === 'toBeCloseTo') return { ...step, relation: `close ${words[1] ?? 2}`, ...literal(words[0]) };
  if (matcher === 'toHaveLength') return { ...step, reading: `${formula}|length`, relation: 'equal', ...literal(words[0]) };
  if (matcher === 'toMatch') {
    if (words[0] instanceof RegExp) return { ...step, relation: 'matches', pattern: textOf(words[0]) };
    return { ...step, relation: 'contains', ...literal(words[0]) };
  }
  if (matcher === 'toMatchSnapshot' || matcher === 'toHaveScreenshot') return refuse(STORED);
  return refuse(`expects with ${matcher}`);
}

function stepOf(value, matcher, words) {
  if (value instanceof Locator) {
    if (!ofLocator[matcher]) refuse(`expects with ${matcher}`);
    return { locator: value.text, ...ofLocator[matcher](...words) };
  }
  const compared = typeof value === 'object' && value !== null && comparisons.get(value);
  if (compared) {
    const holds = matcher === 'toBeTruthy' || (matcher === 'toBe' && words[0] === true);
    if (!holds && matcher !== 'toBeFalsy' && !(matcher === 'toBe' && words[0] === false)) refuse(`expects with ${matcher}`);
    return { ...relation(compared[0], 'toEqual', [compared[1]]), negated: !holds };
  }
  const formula = formulaOf(value);
  if (!formula) refuse(/Snapshot|Screenshot/.test(matcher) ? STORED : 'compares values that were not read from the page');
  return relation(formula, matcher, words);
}

// `expect` of one recording at a time, which `current` returns.
function makeExpect(current) {
  let polling = false;
  const record = (value, matcher, words, negated) => {
    if (value instanceof Locator && Array.isArray(words[0])) {  // as many elements, each as its text
      if (negated) refuse('expects another list');
      current().add({ kind: 'expect_count', locator: value.text, value: String(words[0].length) });
      words[0].forEach((one, at) => record(value.nth(at), matcher, [one], false));
      return;
    }
    const step = stepOf(value, matcher, words);
    if (negated) step.negated = !step.negated;
    if (!step.negated) delete step.negated;
    if (polling && step.kind === 'expect_reading') {  // reads anew until the relation holds
      const { locator, name, value: script } = current().readings[step.reading.split('|')[0]];
      if (script && step.value) refuse('waits for a computed value');
      Object.assign(step, { name, ...(locator ? { locator } : {}), ...(script ? { value: script } : {}) });
      if (script && step.to) refuse('waits for a computed value');
    }
    current().add(step);
  };
  const poll = async (work) => {
    polling = true;
    try { return await work(); } finally { polling = false; }
  };
  const matchers = (value, negated = false) => new Proxy({}, {
    get(_, matcher) {
      if (matcher === 'not') return matchers(value, !negated);
      if (matcher === 'then') return undefined;
      if (matcher === 'toPass') return () => poll(value);
      if (matcher === 'resolves') return matchers(value, negated);
      return (...words) => record(value, matcher, words, negated);
    },
  });
  const expect = (value) => matchers(value);
  expect.soft = expect;
  expect.configure = () => expect;
  expect.poll = (read) => new Proxy({}, {
    get(_, key) {
      const polled = (negated) => new Proxy({}, {
        get: (__, matcher) => async (...words) => poll(async () => record(await read(), matcher, words, negated)),
      });
      return key === 'not' ? polled(true) : (...words) => polled(false)[key](...words);
    },
  });
  for (const name of ['any', 'anything', 'objectContaining', 'arrayContaining', 'stringContaining', 'stringMatching']) {
    expect[name] = () => refuse(`expects with ${name}`);
  }
  return expect;
}

module.exports = { makeExpect };
