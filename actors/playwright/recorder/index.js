// The specifications' '@playwright/test': collects the tests, which record.js then runs on a recording page.
const { refuse } = require('./values.js');
const { makeExpect } = require('./expect.js');

const tests = [];
let describes = [];
let hooks = [[]];
let recording = null;

function add(skipped, title, ...rest) {
  tests.push({ describe: [...describes], title, skipped, before: hooks.flat(), body: rest[rest.length - 1] });
}

const test = (...words) => add('', ...words);
test.only = test;
test.skip = (...words) => typeof words[0] === 'string' && words.length > 1 ? add('is skipped', ...words) : undefined;
test.fixme = test.skip;
test.fail = test.skip;
test.describe = (...words) => {
  const outer = describes;
  if (typeof words[0] === 'string') describes = [...describes, words[0]];
  hooks.push([]);
  words[words.length - 1]();
  hooks.pop();
  describes = outer;
};
test.describe.only = test.describe;
test.describe.serial = test.describe;
test.describe.parallel = test.describe;
test.describe.configure = () => {};
test.beforeEach = (...words) => hooks[hooks.length - 1].push(words[words.length - 1]);
test.beforeAll = () => {};
test.afterEach = () => {};
test.afterAll = () => {};
test.use = () => {};
test.setTimeout = () => {};
test.slow = () => {};
test.step = (title, body) => body();
test.info = () => refuse('asks for information on its run');
test.extend = () => refuse('has fixtures of its own');

module.exports = {
  test,
  expect: makeExpect(() => recording),
  default: test,
  devices: new Proxy({}, { get: () => ({}) }),
  tests,
  start(next) { recording = next; },
};
