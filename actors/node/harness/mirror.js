// Asks the library mirror through the socket of the run. One request a connection: a JSON line; then the media type in
// a line, and the body. An empty type is a refusal.
const net = require('net');

exports.ask = (method, address) => new Promise((resolve, reject) => {
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
