// Writes the report of a run: the results of its tests, and no output of them, so that it is small.
const fs = require('fs');
const LONGEST = 2000;
const MOST_ERRORS = 10;

exports.message = (text) => String(text || '').slice(0, LONGEST);
exports.write = (results, errors) => fs.writeFileSync(
  '/report/report.json', JSON.stringify({ results, errors: errors.slice(0, MOST_ERRORS) }));
// A browser that ends before it is closed: its tests say nothing about the page.
exports.lost = () => fs.appendFileSync('/report/browser_lost', '.');
