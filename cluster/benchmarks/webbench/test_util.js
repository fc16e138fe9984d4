// The package '@web-bench/test-util' of Web-Bench's specifications: the same functions, written for this harness.
const fs = require('fs');
const path = require('path');
const { expect } = require('@playwright/test');

const FAITHFUL = Boolean(process.env.RELOOK_FAITHFUL);
const SIDES = { width: ['Left', 'Right'], height: ['Top', 'Bottom'] };

async function expectArrayItemsEqual(items, numDigits = 5) {
  items.slice(1).forEach((item, index) => expect(items[index]).toBeCloseTo(item, numDigits));
}

async function expectBetween(actual, lowest, highest) {
  expect(actual).toBeGreaterThanOrEqual(lowest);
  expect(actual).toBeLessThanOrEqual(highest);
}

// The public function does not wait for its check, so that a failure may come after the end of the test.
async function expectTolerance(actual, wanted, percent = 5) {
  const check = expectBetween(actual, wanted * (1 - percent / 100), wanted * (1 + percent / 100));
  if (!FAITHFUL) await check;
}

async function expectOneLine(page, selector) {
  const fits = await page.locator(selector).first().evaluate((el) => el.scrollHeight <= el.clientHeight);
  expect(fits).toBeTruthy();
}

async function getComputedStyleByLocator(locator) {
  return locator.evaluate((el) => window.getComputedStyle(el));
}

async function getComputedStyle(page, selector) {
  return getComputedStyleByLocator(page.locator(selector).first());
}

async function getHtmlElement(page, selector) {
  return page.locator(selector).evaluate((el) => el);
}

// The rectangle of an element in the coordinates of the document.
async function getOffsetByLocator(locator) {
  return locator.evaluate((el) => {
    const { x, y, width, height } = el.getBoundingClientRect();
    const left = x + window.scrollX;
    const top = y + window.scrollY;
    const centerX = left + width / 2;
    const centerY = top + height / 2;
    return { left, top, width, height, centerX, centerY, right: left + width, bottom: top + height };
  });
}

async function getOffset(page, selector) {
  return getOffsetByLocator(page.locator(selector).first());
}

async function getViewport(page) {
  return page.evaluate(() => {
    const { clientWidth, clientHeight } = document.documentElement;
    return { width: clientWidth, height: clientHeight };
  });
}

function sum(style, names) {
  return names.reduce((total, name) => total + parseFloat(style[name]), 0);
}

// Paddings and borders of one direction.
function edges(style, size) {
  return sum(style, SIDES[size].flatMap((side) => [`padding${side}`, `border${side}Width`]));
}

function borderBox(style, size) {
  return parseFloat(style[size]) + (style.boxSizing === 'content-box' ? edges(style, size) : 0);
}

function contentBox(style, size) {
  return parseFloat(style[size]) - (style.boxSizing === 'content-box' ? 0 : edges(style, size));
}

function marginBox(style, size) {
  return borderBox(style, size) + sum(style, SIDES[size].map((side) => `margin${side}`));
}

function getBox(style) {
  return { width: borderBox(style, 'width'), height: borderBox(style, 'height') };
}

function getMarginBox(style) {
  return { width: marginBox(style, 'width'), height: marginBox(style, 'height') };
}

async function getBoxByLocator(locator) {
  return getBox(await getComputedStyleByLocator(locator));
}

async function getContentBoxByLocator(locator) {
  const style = await getComputedStyleByLocator(locator);
  return { width: contentBox(style, 'width'), height: contentBox(style, 'height') };
}

async function getMarginBoxByLocator(locator) {
  return getMarginBox(await getComputedStyleByLocator(locator));
}

function isExisted(file, folder) {
  return fs.existsSync(path.join(process.env.EVAL_PROJECT_ROOT || folder, file));
}

function namesOf(keys) {
  return typeof keys === 'string' ? [keys] : keys || [];
}

async function getWindowMirror(page, keys) {
  return page.evaluate((names) => Object.fromEntries(names.map((name) => [name, window[name]])), namesOf(keys));
}

async function getDomParams(locator, keys) {
  return locator.evaluate((el, names) => Object.fromEntries(names.map((name) => [name, el[name]])), namesOf(keys));
}

async function sleep(ms) {
  await new Promise((resolve) => setTimeout(resolve, ms || 100));
}

function getCmdKey() {
  return process.platform === 'darwin' ? 'Meta' : 'Control';
}

function getCmdKeyText() {
  return process.platform === 'darwin' ? 'Cmd' : 'Ctrl';
}

// '#rrggbb' of a colour in the notation of rgb() or rgba(), without its opacity; a hexadecimal one in lower case.
function parseColorToHex(color) {
  if (/^#(?:[\da-f]{3}){1,2}$/i.test(color)) return color.toLowerCase();
  const call = /^(rgba?)\(([^()]*)\)$/.exec(color);
  if (!call) return null;
  const parts = call[2].split(',').map((part) => part.trim());
  const alpha = call[1] === 'rgba' ? parts.pop() : '1';
  if (parts.length !== 3 || !parts.every((part) => /^\d{1,3}%?$/.test(part))) return null;
  if (!/^(?:[01]?\.\d+|[01])$/.test(alpha)) return null;
  const bytes = parts.map((part) => (part.endsWith('%') ? Math.round(parseInt(part, 10) * 2.55) : parseInt(part, 10)));
  return `#${bytes.map((byte) => byte.toString(16).padStart(2, '0')).join('')}`;
}

module.exports = {
  expectArrayItemsEqual,
  expectBetween,
  expectTolerance,
  expectOneLine,
  getComputedStyle,
  getComputedStyleByLocator,
  getHtmlElement,
  getOffset,
  getOffsetByLocator,
  getBox,
  getBoxByLocator,
  getContentBoxByLocator,
  getMarginBox,
  getMarginBoxByLocator,
  getViewport,
  isExisted,
  getWindowMirror,
  getDomParams,
  sleep,
  getCmdKey,
  getCmdKeyText,
  parseColorToHex,
};
