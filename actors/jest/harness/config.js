// The configuration of a run: TypeScript through Babel, one process, the harness's puppeteer.
const run = JSON.parse(process.env.RELOOK_RUN);
const preset = (name, options) => [`/jest/node_modules/@babel/preset-${name}`, options];

module.exports = {
  rootDir: '/specs',
  testMatch: run.specs.map((spec) => `<rootDir>/${spec}`),
  testEnvironment: '/jest/node_modules/jest-environment-node',
  transform: {
    '\\.[cm]?[jt]sx?$': ['/jest/node_modules/babel-jest', {
      babelrc: false,
      configFile: false,
      presets: [preset('env', { targets: { node: 'current' } }), preset('typescript', {})],
    }],
  },
  moduleNameMapper: { '^puppeteer(-core)?$': '/harness/puppeteer.js' },
  modulePaths: ['/jest/node_modules'],
  testTimeout: run.test_timeout_ms,
  maxWorkers: 1,
  // A test that never closes its browser would keep the process.
  forceExit: true,
  watchman: false,
  cacheDirectory: '/tmp/jest',
  reporters: ['/harness/reporter.js'],
};
