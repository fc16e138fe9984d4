// Reports the result of each test, in the order of files and lines.
const { message, write } = require('/relook/report.js');
const STATUS = { expected: 'passed', skipped: 'skipped' };
const status = (outcome, last) =>
  STATUS[outcome] || (last.status === 'timedOut' ? 'timed_out' : last.status ? 'failed' : 'skipped');

module.exports = class {
  errors = [];

  onBegin(config, suite) {
    this.suite = suite;
  }

  onError(error) {
    this.errors.push(message(error.message || error.value));
  }

  onEnd() {
    const tests = this.suite.allTests().sort((one, other) => one.location.line - other.location.line);
    const results = tests.map((test) => {
      const [, , file, ...titles] = test.titlePath();
      const last = test.results.at(-1) || {};
      const [error] = last.errors || [];
      return {
        spec: file, title: test.title, describe: titles.slice(0, -1), status: status(test.outcome(), last),
        error: message(error && (error.message || error.value)), ms: last.duration || 0,
      };
    });
    write(results, this.errors);
  }
};
