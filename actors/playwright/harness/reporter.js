// Writes the result of each test, and no output of the tests: the report is small, however much they print.
const fs = require('fs');
const LONGEST = 2000;
const message = (error) => String((error && (error.message || error.value)) || '').slice(0, LONGEST);

module.exports = class {
  errors = [];

  onBegin(config, suite) {
    this.suite = suite;
  }

  onError(error) {
    this.errors.push(message(error));
  }

  onEnd() {
    const results = this.suite.allTests().map((test) => {
      const [, , file, ...titles] = test.titlePath();
      const last = test.results.at(-1) || {};
      return {
        file, line: test.location.line, title: test.title, describe: titles.slice(0, -1), outcome: test.outcome(),
        status: last.status || null, error: message(last.errors && last.errors[0]), ms: last.duration || 0,
      };
    });
    fs.writeFileSync('/report/report.json', JSON.stringify({ results, errors: this.errors.slice(0, 10) }));
  }
};
