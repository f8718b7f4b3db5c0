// Many open connections from the client machines of a network, as one thing.
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { readFileSync } from 'node:fs';
import { createInterface } from 'node:readline';
import { fileURLToPath } from 'node:url';

/** Files, pipes, health checks, connections that begin. */
const descriptorsBesides = 1000;
const program = fileURLToPath(new URL('connections-client.mjs', import.meta.url));

/**
 * One process on each machine (`{namespace, addresses}`), which has no connection yet.
 * `open(count)` opens or replaces until there are so many, and throws when they do not open; `ask()` has each ask once and resolves with how many were not answered, those that ended since the
 * last time among them; `load(perSecond, seconds)` resolves with how many requests were answered.
 */
export function connectionsOf(machines, { host, port = 80 }) {
  const clients = machines.map(({ namespace, addresses }) => {
    const task = JSON.stringify({ host, port, addresses });
    const argv = ['netns', 'exec', namespace, process.execPath, program, task];
    const child = spawn('ip', argv, { stdio: ['pipe', 'pipe', 'inherit'] });
    // Written to after it has ended: whoever awaits its answer hears of it.
    child.stdin.on('error', () => {});
    return { child, answers: createInterface({ input: child.stdout })[Symbol.asyncIterator]() };
  });
  const tell = (taskOf) =>
    Promise.all(
      clients.map(async ({ child, answers }, i) => {
        child.stdin.write(`${JSON.stringify(taskOf(i))}\n`);
        const { value, done } = await answers.next();
        if (done) throw new Error('a process that holds connections has ended');
        return JSON.parse(value);
      }),
    );
  const sum = (said, of) => said.reduce((total, each) => total + each[of], 0);
  return {
    async open(count) {
      const share = (i) => Math.floor(((i + 1) * count) / clients.length) - Math.floor((i * count) / clients.length);
      const said = await tell((i) => ({ open: share(i) }));
      if (sum(said, 'open') < count) throw new Error(`${sum(said, 'open')} of ${count} connections are open`);
    },
    async ask() {
      return sum(await tell(() => ({ ask: true })), 'unanswered');
    },
    async load(perSecond, seconds) {
      return sum(await tell(() => ({ load: perSecond / clients.length, seconds })), 'answered');
    },
    async close() {
      await Promise.all(
        clients.map(async ({ child }) => {
          if (child.exitCode !== null || child.signalCode !== null) return;
          child.kill('SIGKILL');
          await once(child, 'close');
        }),
      );
    },
  };
}

/** How many connections one process of this machine may have, with some room for other files. */
export function connectionsMax() {
  const [, hard] = /^Max open files\s+\S+\s+(\S+)/m.exec(readFileSync('/proc/self/limits', 'utf8'));
  return hard === 'unlimited' ? Number.POSITIVE_INFINITY : Number(hard) - descriptorsBesides;
}
