// The tests' 'puppeteer': puppeteer-core with the installed Chromium, whose pages load libraries from the mirror.
const core = require('/jest/node_modules/puppeteer-core');
const { ask } = require('/relook/mirror.js');
const { lost } = require('/relook/report.js');
const { chromium, mirrored } = JSON.parse(process.env.RELOOK_RUN);
const FLAGS = ['--no-sandbox', '--disable-gpu'];
const LOCAL = /^(file|data|blob|about):/;

// The first priority of interceptions: a test that intercepts requests itself decides before the mirror does.
async function answer(request) {
  try {
    if (LOCAL.test(request.url())) return await request.continue({}, 0);
    const { type, body } = await ask(request.method(), request.url());
    if (!type) return await request.abort('internetdisconnected', 0);
    const headers = { 'access-control-allow-origin': '*' };
    return await request.respond({ status: 200, contentType: type, headers, body }, 0);
  } catch {
    return undefined; // the page or its browser is gone
  }
}

async function attend(page) {
  if (!mirrored) return page; // without a mirror, every request fails: the fence has no network
  page.on('request', answer);
  await page.setRequestInterception(true);
  return page;
}

async function launch(options = {}) {
  const browser = await core.default.launch({
    ...options,
    executablePath: chromium,
    headless: /headless/.test(chromium) ? 'shell' : true,
    args: [...FLAGS, ...(options.args || []).filter((flag) => !/^--(headless|remote-debugging)/.test(flag))],
  }).catch((error) => { lost(); throw error; });
  browser.on('disconnected', lost);
  for (const name of ['close', 'disconnect']) {
    const real = browser[name].bind(browser);
    browser[name] = () => { browser.off('disconnected', lost); return real(); };
  }
  const newPage = browser.newPage.bind(browser);
  browser.newPage = async () => attend(await newPage());
  return browser;
}

const puppeteer = Object.assign(Object.create(core.default), { launch });
module.exports = Object.assign({}, core, { launch, default: puppeteer, __esModule: true });
