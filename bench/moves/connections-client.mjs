// Runs on a client machine: holds connections open to an HTTP server, and has them ask when it is told to. Each line on standard input, a JSON object, is
// answered with one when it is done: `{open}`, so many in all; `{ask}`, each asks once; `{load, seconds}`, so many requests a second, of one connection after the other.
import { connect } from 'node:net';
import { createInterface } from 'node:readline';

const { host, port, addresses } = JSON.parse(process.argv[2]);
const request = 'GET / HTTP/1.1\r\nHost: bench\r\n\r\n';
/** Under way at a time: fewer than a server's backlog has room for. */
const underWayMax = 100;
const patienceMs = 5000;
const tickMs = 5;
const connections = new Set();
let begun = 0;
let ended = 0;
/** When all asked last. */
let seenEnded = 0;

for await (const line of createInterface({ input: process.stdin })) {
  const task = JSON.parse(line);
  const done = 'open' in task ? await open(task.open) : 'ask' in task ? await askAll() : await load(task);
  process.stdout.write(`${JSON.stringify({ ...done, open: connections.size, ended })}\n`);
}
process.exit();

/** Those that have ended are replaced. */
async function open(count) {
  const missing = Math.max(0, count - connections.size);
  const failed = await each(Array.from({ length: missing }), begin);
  return { failed };
}

/** How many had no answer: they ended, or were silent for `patienceMs`. */
async function askAll() {
  const endedBefore = ended - seenEnded;
  const unanswered = await each([...connections], (connection) => connection.ask());
  seenEnded = ended;
  return { unanswered: unanswered + endedBefore };
}

async function load({ load: perSecond, seconds }) {
  const list = [...connections];
  const start = performance.now();
  const answers = [];
  let sent = 0;
  while (performance.now() - start < seconds * 1000) {
    const due = ((performance.now() - start) * perSecond) / 1000;
    for (; sent < due && list.length > 0; sent++) answers.push(list[sent % list.length].ask());
    await new Promise((resolve) => setTimeout(resolve, tickMs));
  }
  const answered = (await Promise.all(answers)).filter(Boolean).length;
  return { answered, sent };
}

/** How many of the items `work` does not resolve true for. */
async function each(items, work) {
  let next = 0;
  let failed = 0;
  const one = async () => {
    while (next < items.length) if (!(await work(items[next++]))) failed++;
  };
  await Promise.all(Array.from({ length: underWayMax }, one));
  return failed;
}

/** Resolves true when it is open. */
function begin() {
  const socket = connect({ host, port, localAddress: addresses[begun++ % addresses.length] });
  let waiting = [];
  const answer = (isAnswered) => {
    waiting.shift()?.(isAnswered);
  };
  const connection = {
    ask() {
      if (!connections.has(connection)) return Promise.resolve(false);
      return new Promise((resolve) => {
        const timer = setTimeout(() => resolve(false), patienceMs);
        waiting.push((isAnswered) => {
          clearTimeout(timer);
          resolve(isAnswered);
        });
        socket.write(request);
      });
    },
  };
  return new Promise((resolve) => {
    socket.setNoDelay(true);
    socket.once('connect', () => {
      connections.add(connection);
      resolve(true);
    });
    // What nginx answers fits one segment; answers that come together are told apart by their beginnings.
    socket.on('data', (chunk) => {
      for (const _ of chunk.toString('latin1').matchAll(/HTTP\/1\.1 200/g)) answer(true);
    });
    socket.on('error', () => {});
    socket.once('close', () => {
      if (connections.delete(connection)) ended++;
      for (const each of waiting) each(false);
      waiting = [];
      resolve(false);
    });
  });
}
