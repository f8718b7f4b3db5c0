// Labs of manycast, by its command line, as a user starts them.
import { readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { askAgentOnce } from '../dist/platform/agent-client.js';
import { end, run, start } from './commands.mjs';

/** The command line of this clone, as built. */
export const manycastCommand = [process.execPath, fileURLToPath(new URL('../dist/cli/main.js', import.meta.url))];
const home = () => process.env.MANYCAST_LAB_HOME ?? join(tmpdir(), `manycast-${process.getuid()}`, 'lab');
let started = 0;
/** Labs that are up, so that a process that ends early takes them down. */
const standing = new Set();

/**
 * Starts a lab and waits until it serves. Commands in its machines are run by `ip netns exec`, which starts no Node process beside what is measured.
 * @param {{ replicas?: number, clients?: number, addresses?: number, delivery?: 'segment' | 'router', routers?: number, ports?: string, serve?: string, certified?: boolean }} options
 *   as of `manycast lab up`; `addresses` of each client machine, `ports` such as "80/tcp,7/udp", `serve` for `sh -c`, in which MANYCAST_NODE and MANYCAST_DIRECTORY are set
 */
export async function startLab({ certified = false, ...sizes } = {}) {
  const name = `b${process.pid.toString(36)}${(started++).toString(36)}`.slice(-10);
  const options = Object.entries(sizes).flatMap(([option, value]) =>
    value === undefined ? [] : [`--${option}`, `${value}`],
  );
  standing.add(name);
  try {
    await run([...manycastCommand, 'lab', 'up', name, ...options, ...(certified ? ['--certified'] : [])]);
    return labOf(name);
  } catch (error) {
    await down(name);
    throw error;
  }
}

function labOf(name) {
  const directory = join(home(), name);
  const state = () => JSON.parse(readFileSync(join(directory, 'lab.json'), 'utf8'));
  const { plan, servers, agents, routers } = state();
  const children = new Set();
  const nodes = new Map(
    [...plan.replicas, ...plan.clients, ...plan.routers, { name: 'sw', namespace: plan.switchNamespace }].map(
      (node) => [node.name, node],
    ),
  );
  const inside = (node, argv) => ['ip', 'netns', 'exec', nodes.get(node).namespace, ...argv];
  return {
    ...{ name, directory, plan },
    /** Process records `{ pid, startTime }`, in the order of the replicas; there may be new ones after a `step`: `state()`. */
    ...{ servers, agents, routers, state },
    /** Save this file and the agents re-divide the clients. */
    policyFile: join(directory, 'policy.yaml'),
    /** `manycast status --json` of a replica, without a process for it. */
    status: (replica) => askAgentOnce(join(directory, replica, 'agent.sock'), 'GET', '/v1/status'),
    /** What a command on a machine prints: "r1", "c1", "rt", or "sw", the switch. */
    run: (node, argv, options) => run(inside(node, argv), options),
    /** `manycast …` on a machine. */
    manycastOn: (node, ...argv) => run(inside(node, [...manycastCommand, ...argv])),
    /** As `manycast lab step`: "cut: r2". */
    step: (text) => run([...manycastCommand, 'lab', 'step', name, text]),
    /** Starts a command that goes on until `end`. */
    start(node, argv, options) {
      const child = start(inside(node, argv), options);
      children.add(child);
      return child;
    },
    /** The replica that owns the slot of an address, under the default mask. */
    async ownerOf(address) {
      const { owners } = await askAgentOnce(join(directory, plan.replicas[0].name, 'agent.sock'), 'GET', '/v1/status');
      return owners.find(({ slots }) => includes(slots, Number(address.split('.').at(-1))))?.name;
    },
    /** Takes it down. */
    async end() {
      await Promise.all([...children].map((child) => end(child)));
      await down(name);
    },
  };
}

/**
 * Takes down the labs that a failure or a signal left up.
 */
export async function endLabs() {
  for (const name of [...standing])
    await down(name).catch(() => rmSync(join(home(), name), { recursive: true, force: true }));
}

async function down(name) {
  await run([...manycastCommand, 'lab', 'down', name]);
  standing.delete(name);
}

/** @param {string} slots such as "0-84,200" */
function includes(slots, slot) {
  return slots.split(',').some((range) => {
    const [first, last = first] = range.split('-').map(Number);
    return slot >= first && slot <= last;
  });
}
