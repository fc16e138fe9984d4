// The specifications' '@playwright/test': the real package, with every request of a page answered inside the fence.
// A browser that ends before it is closed is noted in the report: its tests say nothing about the page.
const fs = require('fs');
const net = require('net');
const real = require('/playwright/node_modules/@playwright/test');
const { served, origin } = JSON.parse(process.env.RELOOK_RUN);

function passes(address) {
  const url = new URL(address);
  if (url.protocol === 'file:') return url.pathname.startsWith('/specs/');
  return Boolean(served) && url.origin === origin;
}

// One request a connection: a JSON line; then the media type in a line, and the body. An empty type is a refusal.
function ask(method, address) {
  return new Promise((resolve, reject) => {
    const parts = [];
    const socket = net.connect('/mirror.sock', () => socket.write(JSON.stringify([method, address]) + '\n'));
    socket.on('data', (part) => parts.push(part));
    socket.on('error', reject);
    socket.on('end', () => {
      const answer = Buffer.concat(parts);
      const end = answer.indexOf('\n');
      resolve({ type: answer.toString('latin1', 0, end), body: answer.subarray(end + 1) });
    });
  });
}

async function route(route, request) {
  try {
    if (passes(request.url())) return await route.continue();
    const { type, body } = await ask(request.method(), request.url());
    if (!type) return await route.abort('internetdisconnected');
    await route.fulfill({ status: 200, contentType: type, headers: { 'access-control-allow-origin': '*' }, body });
  } catch {
    // The page or its browser is gone, or the address is not valid.
    await route.abort('failed').catch(() => {});
  }
}

const test = real.test.extend({
  browser: [async ({ browser }, use) => {
    const newContext = browser.newContext.bind(browser);
    browser.newContext = async (options) => {
      const context = await newContext(options);
      await context.route('**/*', route);
      return context;
    };
    const lost = () => fs.appendFileSync('/report/browser_lost', '.');
    const close = browser.close.bind(browser);
    browser.close = (options) => { browser.off('disconnected', lost); return close(options); };
    browser.on('disconnected', lost);
    await use(browser);  // Playwright's own fixture closes it
  }, { scope: 'worker' }],
});

module.exports = Object.assign({}, real, { test, default: test });
