// Symbols for values that are read from a page, which no recording knows. They can be converted and expected, not
// computed with; only the numbers of a box can, because they enter positions of the mouse in a linear way.

class Untranslatable extends Error {}

const BASE = { x: 100, y: 200, width: 400, height: 300 };
const shifted = {};  // "reading.field" -> the amount added in this pass
const used = new Set();  // numbers of boxes that were computed with
const formulas = new WeakMap();
const comparisons = new WeakMap();

function refuse(reason) {
  throw new Untranslatable(reason);
}

function formulaOf(value) {
  return (typeof value === 'object' || typeof value === 'function') && value !== null ? formulas.get(value) : undefined;
}

// The symbol of a formula such as `r1|number`; `numeric` is the name of a box's number, else empty.
function symbol(formula, numeric = '') {
  const made = new Proxy(function () {}, {
    get(_, key) {
      if (key === 'then') return undefined;
      if (key === Symbol.toPrimitive) {
        if (!numeric) return () => refuse('computes with a value read from the page');
        used.add(numeric);
        const [name, field] = numeric.split('.');
        return () => BASE[field] + 7 * Number(name.slice(1)) + (shifted[numeric] || 0);
      }
      if (typeof key === 'symbol') return undefined;
      if (key === 'trim' || key === 'toString') return () => symbol(key === 'trim' ? `${formula}|trim` : formula);
      if (key === 'equals') return (other) => comparison(formula, other);
      if (key === 'toJSON') return refuse('computes with a value read from the page');
      if (key === 'length') return symbol(`${formula}|length`);
      if (formula.includes('|') || !(key in BASE)) return symbol(`${formula}|.${key}`);
      return symbol(`${formula}|.${key}`, `${formula}.${key}`);
    },
    apply() {
      return refuse('calls a method of a value read from the page');
    },
    has: () => refuse('computes with a value read from the page'),
    ownKeys: () => refuse('computes with a value read from the page'),
  });
  formulas.set(made, formula);
  return made;
}

function comparison(formula, other) {
  const made = {};
  comparisons.set(made, [formula, other]);
  return made;
}

module.exports = { Untranslatable, BASE, shifted, used, comparisons, refuse, formulaOf, symbol, comparison };

// Conversions of the language that a symbol passes through.
for (const [name, conversion] of [['parseFloat', 'number'], ['parseInt', 'integer'], ['Number', 'number']]) {
  const native = globalThis[name];
  const converted = (value, ...rest) => formulaOf(value) ? symbol(`${formulaOf(value)}|${conversion}`)
    : native(value, ...rest);
  globalThis[name] = Object.assign(converted, { prototype: native.prototype });
  for (const key of Object.getOwnPropertyNames(native)) if (!(key in converted)) converted[key] = native[key];
}
Number.parseFloat = globalThis.parseFloat;
Number.parseInt = globalThis.parseInt;
const compare = Buffer.compare;
Buffer.compare = (left, right) => formulaOf(left) ? refuse('orders two pictures') : compare(left, right);
