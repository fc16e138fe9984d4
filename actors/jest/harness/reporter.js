// Reports the result of each test; a file that could not run, or whose hooks failed, has one failed result.
const path = require('path');
const { message, write } = require('/relook/report.js');
const TIMED_OUT = /Exceeded timeout of|Test timed out/;

function status(test) {
  if (test.status === 'passed') return 'passed';
  if (test.status !== 'failed') return 'skipped';
  return TIMED_OUT.test(test.failureMessages.join('')) ? 'timed_out' : 'failed';
}

module.exports = class {
  onRunComplete(contexts, run) {
    const results = run.testResults.flatMap((file) => {
      const spec = path.relative('/specs', file.testFilePath);
      const tests = file.testResults.map((test) => ({
        spec, title: test.title, describe: test.ancestorTitles, status: status(test),
        error: message(test.failureMessages[0]), ms: test.duration || 0,
      }));
      if (file.testExecError || tests.length === 0) {
        tests.push({ spec, title: '', describe: [], status: 'failed', error: message(file.failureMessage), ms: 0 });
      }
      return tests;
    });
    write(results, []);
  }
};
