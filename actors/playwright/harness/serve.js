// Serves a folder of the run at localhost, inside the fence.
const fs = require('fs');
const http = require('http');
const path = require('path');
const { served, origin } = JSON.parse(process.env.RELOOK_RUN);

const TYPES = {
  '.html': 'text/html; charset=utf-8', '.js': 'text/javascript; charset=utf-8', '.mjs': 'text/javascript; charset=utf-8',
  '.css': 'text/css; charset=utf-8', '.json': 'application/json', '.svg': 'image/svg+xml', '.png': 'image/png',
  '.jpg': 'image/jpeg', '.jpeg': 'image/jpeg', '.gif': 'image/gif', '.webp': 'image/webp', '.woff2': 'font/woff2',
};

function file(address) {
  const root = path.resolve('/specs', served);
  const wanted = path.join(root, decodeURIComponent(new URL(address, origin).pathname));
  if (wanted !== root && !wanted.startsWith(root + path.sep)) return null;
  // Public harnesses serve with `npx serve`, which finds pages without their ending.
  if (!fs.existsSync(wanted) && fs.existsSync(`${wanted}.html`)) return `${wanted}.html`;
  return fs.statSync(wanted).isDirectory() ? path.join(wanted, 'index.html') : wanted;
}

module.exports = async () => {
  const server = http.createServer((request, response) => {
    try {
      const found = file(request.url);
      const body = fs.readFileSync(found);
      const type = TYPES[path.extname(found).toLowerCase()] || 'application/octet-stream';
      response.writeHead(200, { 'content-type': type }).end(body);
    } catch {
      response.writeHead(404).end();
    }
  });
  await new Promise((resolve) => server.listen(Number(new URL(origin).port), '127.0.0.1', resolve));
  return () => server.close();
};
