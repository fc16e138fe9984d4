// The configuration of a run: one project a specification file, which keeps their order.
const { devices } = require('/playwright/node_modules/@playwright/test');
const run = JSON.parse(process.env.RELOOK_RUN);

module.exports = {
  testDir: '/specs',
  outputDir: '/report/results',
  reporter: '/node_modules/@playwright/test/reporter.js',
  workers: 1,
  retries: 0,
  timeout: run.test_timeout_ms,
  expect: { timeout: run.expect_timeout_ms },
  maxFailures: run.max_failures,
  ...(run.served ? { globalSetup: '/node_modules/@playwright/test/serve.js' } : {}),
  use: {
    ...devices['Desktop Chrome'],
    viewport: { width: run.viewport[0], height: run.viewport[1] },
    actionTimeout: run.action_timeout_ms,
    launchOptions: { executablePath: run.chromium },
    ...(run.served ? { baseURL: run.origin } : {}),
  },
  projects: run.specs.map((spec, index) => ({
    name: `${index}`,
    testMatch: new RegExp(`^${`/specs/${spec}`.replace(/[.*+?^${}()|[\]\\]/g, '\\$&')}$`),
  })),
};
