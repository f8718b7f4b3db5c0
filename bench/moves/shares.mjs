// Saves policies that say who has which slots, and hears from an agent's events when its kernel accepts them.
import { renameSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { askAgent } from '../../dist/platform/agent-client.js';
import { until } from '../commands.mjs';
import { now } from '../probes.mjs';

const patienceMs = 30_000;
const slotCount = 256;

/**
 * Follows what r1 and r2 accept. `move(to, first, count)` saves a policy that gives `to` that many slots from `first` on, and r1 or r2, whichever is not `to`, the others, and resolves with when it
 * was saved and how long it took until the kernel of `to` had taken a table that accepts them, milliseconds.
 */
export function followShares(lab, handoff = 'forward') {
  const ended = new AbortController();
  const tables = { r1: [], r2: [] };
  for (const name of Object.keys(tables))
    void follow(join(lab.directory, name, 'agent.sock'), tables[name], ended.signal);
  return {
    async move(to, first, count) {
      const other = to === 'r1' ? 'r2' : 'r1';
      const begun = tables[to].length;
      const had = tables[to].at(-1)?.count ?? 0;
      const savedAt = save(lab, sharesOf({ to, other, first, count }), handoff);
      if (had === count) return { savedAt, ms: 0 };
      await until(
        `${count} slots at ${to}`,
        () => tables[to].slice(begun).some((table) => table.count === count),
        patienceMs,
        5,
      );
      return { savedAt, ms: tables[to].slice(begun).find((table) => table.count === count).end - savedAt };
    },
    /** No replica holds connections of slots that it has given away. */
    drained: () => until('nothing drains', async () => (await lab.status('r1')).holders.length === 0, patienceMs),
    close: () => ended.abort(),
  };
}

async function follow(socket, tables, signal) {
  try {
    for await (const line of askAgent(socket, 'GET', '/v1/events', '', signal)) {
      if (line.type === 'table') tables.push({ end: line.end, count: countOf(line.slots) });
    }
  } catch {
    // The agent ends, or nobody follows any more; a move that waits for it says so.
  }
}

/** As an editor does: written aside, then renamed over the old one. */
function save({ policyFile }, shares, handoff) {
  writeFileSync(`${policyFile}.new`, `strategy: explicit\nshares: ${JSON.stringify(shares)}\nhandoff: ${handoff}\n`, {
    mode: 0o600,
  });
  const savedAt = now();
  renameSync(`${policyFile}.new`, policyFile);
  return savedAt;
}

function sharesOf({ to, other, first, count }) {
  if (count === slotCount) return { [to]: `0-${slotCount - 1}` };
  const last = first + count - 1;
  const rest = [first > 0 ? `0-${first - 1}` : '', last < slotCount - 1 ? `${last + 1}-${slotCount - 1}` : ''];
  return { [to]: `${first}-${last}`, [other]: rest.filter(Boolean).join(',') };
}

/** Of slots such as "0-84,200". */
function countOf(slots) {
  if (slots === '') return 0;
  return slots.split(',').reduce((sum, range) => {
    const [first, last = first] = range.split('-').map(Number);
    return sum + last - first + 1;
  }, 0);
}
