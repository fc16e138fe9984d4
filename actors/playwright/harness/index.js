// The specifications' '@playwright/test': the real package, with every request of a page answered inside the fence.
// A browser that ends before it is closed is noted in the report: its tests say nothing about the page.
const { ask } = require('/relook/mirror.js');
const { lost } = require('/relook/report.js');
const real = require('/playwright/node_modules/@playwright/test');
const { served, origin } = JSON.parse(process.env.RELOOK_RUN);

function passes(address) {
  const url = new URL(address);
  if (url.protocol === 'file:') return url.pathname.startsWith('/specs/');
  return Boolean(served) && url.origin === origin;
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
    const close = browser.close.bind(browser);
    browser.close = (options) => { browser.off('disconnected', lost); return close(options); };
    browser.on('disconnected', lost);
    await use(browser);  // Playwright's own fixture closes it
  }, { scope: 'worker' }],
});

module.exports = Object.assign({}, real, { test, default: test });
