// Fresh connections from every client address, at a steady pace whatever becomes of those before: what new clients see while something happens.
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { createInterface } from 'node:readline';
import { setTimeout as delay } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';

const program = fileURLToPath(new URL('probe-client.mjs', import.meta.url));
export const probeEveryMs = 10;
/** What is not open by then is not served. */
const probeTimeoutMs = 1000;
const pollMs = 10;

/** Unix milliseconds with fractions, comparable between the processes of a machine. */
export const now = () => performance.timeOrigin + performance.now();

/**
 * Begins to probe port 80 of `service` from the addresses of `machines` (`{namespace, addresses}`). `records` grows: `{at, durationMs, client, opened, by}`, `by` with `wants: 'answer'` only, where a connection counts when it is
 * answered; else as for `served.gapMs` of scenarios, when it is open.
 * `served(after, forMs, atMostMs)` resolves when every address was served by an attempt that began after `after`, and then for so long; false when that takes too long.
 */
export function startProbes(machines, service, { wants = 'open' } = {}) {
  const records = [];
  const addresses = machines.flatMap((machine) => machine.addresses);
  const children = machines.map(({ namespace, addresses: own }) => {
    const task = { service, addresses: own, intervalMs: probeEveryMs, timeoutMs: probeTimeoutMs, wants };
    const argv = ['netns', 'exec', namespace, process.execPath, program, JSON.stringify(task)];
    const child = spawn('ip', argv, { stdio: ['pipe', 'pipe', 'inherit'] });
    createInterface({ input: child.stdout }).on('line', (line) => records.push(JSON.parse(line)));
    return child;
  });
  return {
    records,
    async served(after, forMs, atMostMs) {
      const missing = new Set(addresses);
      let seen = 0;
      for (const end = now() + atMostMs; missing.size > 0 && now() < end; await delay(pollMs)) {
        for (; seen < records.length; seen++) {
          const { at, client, opened } = records[seen];
          if (opened && at > after) missing.delete(client);
        }
      }
      await delay(forMs);
      return missing.size === 0;
    },
    async end() {
      await Promise.all(
        children.map(async (child) => {
          if (child.exitCode !== null || child.signalCode !== null) return;
          child.stdin.end();
          await once(child, 'close');
        }),
      );
    },
  };
}

/** The longest time without a connection that opened, of each client address, milliseconds; `from` and `to` end such times too. */
export function gapsOf(records, from, to) {
  const openedBy = new Map();
  for (const { client, at, durationMs, opened } of records) {
    const times = openedBy.get(client) ?? [from, to];
    openedBy.set(client, times);
    if (opened && at + durationMs > from && at + durationMs < to) times.push(at + durationMs);
  }
  return [...openedBy.values()].map((times) => {
    times.sort((a, b) => a - b);
    return times.slice(1).reduce((longest, time, i) => Math.max(longest, time - times[i]), 0);
  });
}
