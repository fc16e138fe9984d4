// Records the tests of one specification: `node record.js SPEC` prints a JSON list of
// {describe, title, steps, reason}; `reason` says why a test cannot become a probe, and is empty otherwise.
const { Untranslatable, BASE, shifted, used, formulaOf } = require('./values.js');
const { Recording, Page, strict } = require('./page.js');
const library = require('@playwright/test');

const SHIFT = 64;
const print = process.stdout.write.bind(process.stdout);
process.stdout.write = () => true;
process.stderr.write = () => true;
let recording = null;
globalThis.setTimeout = (work, ms, ...words) => {
  if (recording && ms > 0) recording.add({ kind: 'wait', value: String(Math.min(ms, 10000)) });
  queueMicrotask(() => work(...words));
  return 0;
};

async function pass(test, shifts) {
  for (const name of Object.keys(shifted)) delete shifted[name];
  Object.assign(shifted, shifts);
  recording = new Recording();
  library.start(recording);
  const fixtures = { page: strict(new Page(recording)), browserName: 'chromium' };
  const info = { title: test.title, project: { name: 'chromium' }, setTimeout() {} };
  for (const hook of test.before) await hook(fixtures, info);
  await test.body(fixtures, info);
  if (!recording.opened) throw new Untranslatable('does not open the page');
  return recording.steps.map((step) => step.at ? { ...step, at: step.at.map(number) } : step);
}

function number(value) {
  const found = formulaOf(value) ? +value : value;
  if (typeof found !== 'number' || !isFinite(found)) throw new Untranslatable('moves the mouse to an unknown position');
  return found;
}

const shape = (steps) => JSON.stringify(steps.map(({ at, ...rest }) => rest));
const predict = (sum, shifts) => sum.constant + Object.entries(sum.factors)
  .reduce((total, [name, factor]) => total + factor * (baseOf(name) + (shifts[name] || 0)), 0);
const baseOf = (name) => BASE[name.split('.')[1]] + 7 * Number(name.split('.')[0].slice(1));
const rounded = (value) => Math.round(value * 1e6) / 1e6;

// The steps with positions as linear formulas of the boxes, found by moving one number of a box at a time.
async function recorded(test) {
  used.clear();
  const base = await pass(test, {});
  const names = [...used];
  const sums = base.map((step) => (step.at || []).map((constant) => ({ constant, factors: {} })));
  for (const name of names) {
    const moved = await pass(test, { [name]: SHIFT });
    if (shape(moved) !== shape(base)) throw new Untranslatable('branches on a position');
    moved.forEach((step, i) => (step.at || []).forEach((value, k) => {
      const factor = rounded((value - base[i].at[k]) / SHIFT);
      if (!factor) return;
      sums[i][k].factors[name] = factor;
      sums[i][k].constant -= factor * baseOf(name);
    }));
  }
  const all = Object.fromEntries(names.map((name, i) => [name, 11 + 3 * i]));
  const last = await pass(test, all);
  last.forEach((step, i) => (step.at || []).forEach((value, k) => {
    if (Math.abs(value - predict(sums[i][k], all)) > 1e-3) throw new Untranslatable('computes a position in a curved way');
  }));
  return base.map(({ at, ...step }, i) => at ? { ...step, value: sums[i].map(formula).join(', ') } : step);
}

function formula({ constant, factors }) {
  const order = Object.keys(BASE);
  const place = ([name]) => order.indexOf(name.split('.')[1]);
  const terms = Object.entries(factors).sort((a, b) => place(a) - place(b)).map(([name, factor]) => factor === 1 ? name : `${factor} * ${name}`);
  return [...terms, ...(rounded(constant) || !terms.length ? [rounded(constant)] : [])].join(' + ');
}

// A condition on a value of the page cannot be seen while recording: symbols are always true.
function branches(test, steps) {
  const asks = steps.some((step) => step.kind === 'read' && /^(visible|checked|enabled)$/.test(step.name));
  return asks && /\bif\s*\(|\bwhile\s*\(|\?[^.]|&&|\|\||!\s*\(?await/.test(`${test.body}`);
}

async function main() {
  require(process.argv[2]);
  const found = [];
  for (const test of library.tests) {
    const { describe, title } = test;
    let steps = [];
    let reason = test.skipped;
    try {
      if (!reason) steps = await recorded(test);
      if (branches(test, steps)) reason = 'branches on a value read from the page';
      else if (!reason && !steps.some((step) => step.kind.startsWith('expect_'))) reason = 'expects nothing';
    } catch (error) {
      reason = error instanceof Untranslatable ? error.message : `fails while it is recorded: ${error}`.slice(0, 200);
    }
    found.push({ describe, title, steps: reason ? [] : steps, reason });
  }
  print(JSON.stringify(found));
}

main().catch((error) => {
  print(JSON.stringify({ error: String(error).slice(0, 300) }));
});
