import type { Policy } from '../policy/index.ts';
import { realControl, startAgent } from './agent.ts';
import { anyClimate, endFaults, restartMissing, setClimate, startFaults, startForging } from './faults.ts';
import { type Settle, Timeline, type Violation } from './timeline.ts';
import { World, type WorldOptions } from './world.ts';

export interface RunOptions {
  readonly seed: number;
  readonly settle: Settle;
  /** Keeps the lines of the trace. */
  readonly trace?: boolean;
  /** Of the world; the rest is drawn from the seed. */
  readonly world?: Partial<WorldOptions>;
  /** How long faults happen, virtual milliseconds. */
  readonly faultsMs?: number;
}

export interface RunResult {
  readonly seed: number;
  readonly violation: Violation | null;
  /** Of everything that happened: the same seed gives the same. */
  readonly hash: string;
  readonly lines: readonly string[];
  readonly steps: number;
  readonly datagrams: number;
  readonly virtualMs: number;
  /** From the end of the faults until everything was well. */
  readonly recoveryMs: number;
}

/** After faults have ended everything is well within this. */
const recoveryMsMax = 12_000;
/** Then nothing moves for this long. */
const quietMs = 1500;
/** Agents that start together see their first map within this. */
const formingMsMax = 4000;
/** From the end of the faults to the end of the run at least: retransmissions have come round by then. */
const livenessMs = 5600;
const stalledMs = 5000;
const connectMs = 1500;

/** One run: the world forms, suffers, recovers and is left alone; ends with the first violation. */
export async function runSeed(options: RunOptions): Promise<RunResult> {
  const { seed, settle, faultsMs = 20_000 } = options;
  const timeline = new Timeline(seed, settle, options.trace);
  const world = new World(timeline, { ...drawnOptions(timeline), ...options.world });
  let recoveryMs = 0;
  const stages = [
    () => form(world),
    () => suffer(world, faultsMs),
    async () => {
      recoveryMs = await recover(world);
    },
    () => restQuietly(world),
  ];
  for (const stage of stages) if (timeline.violation === null) await stage();
  const { violation, trace, steps, now } = timeline;
  return {
    ...{ seed, violation, hash: trace.hash(), lines: trace.lines ?? [], steps, virtualMs: now, recoveryMs },
    datagrams: world.controlLan.sent,
  };
}

function drawnOptions({ random }: Timeline): WorldOptions {
  const wide = random.chance(0.25);
  const policy: Policy = { strategy: 'equal', handoff: random.chance(0.2) ? 'reset' : 'forward', drainDeadline: 60 };
  return {
    replicas: 5,
    voters: random.pick([3, 5]),
    mask: wide ? '0.0.0.31' : '0.0.0.15',
    clients: wide ? 32 : 16,
    policy,
    expect: { handoffs: new Set([policy.handoff]), drainMs: policy.drainDeadline * 1000 },
    createControl: realControl,
  };
}

async function form(world: World): Promise<void> {
  const { timeline, clients } = world;
  const { random } = timeline;
  for (const host of world.hosts) timeline.after(random.between(0, 400), () => startAgent(world, host));
  for (const client of clients) timeline.after(random.between(500, 2500), () => client.connect());
  startForging(world);
  await waitUntilWell(world, formingMsMax);
}

async function suffer(world: World, ms: number): Promise<void> {
  const climate = anyClimate(world);
  world.timeline.say(`faults begin: ${JSON.stringify(climate)}`);
  setClimate(world, climate);
  startFaults(world, climate, world.timeline.now + ms);
  await world.timeline.run(ms);
}

async function recover(world: World): Promise<number> {
  const since = world.timeline.now;
  endFaults(world);
  const ailment = await waitUntilWell(world, recoveryMsMax);
  if (ailment !== null) world.checkers.liveness(`after ${recoveryMsMax} ms without faults ${ailment}`);
  return world.timeline.now - since;
}

/** Null when all is well in time, else what is not. */
async function waitUntilWell(world: World, msMax: number): Promise<string | null> {
  const { timeline } = world;
  const until = timeline.now + msMax;
  let ailment = world.ailment();
  while (ailment !== null && timeline.now < until) {
    if (!(await timeline.run(20))) return null;
    if (timeline.now > 500) restartMissing(world);
    ailment = world.ailment();
  }
  timeline.say(ailment === null ? 'all is well' : `not well: ${ailment}`);
  return ailment;
}

async function restQuietly(world: World): Promise<void> {
  const { timeline, checkers, clients } = world;
  const begin = timeline.now;
  if (!(await timeline.run(500))) return;
  const before = world.standing();
  const probes = clients.map((client) => client.connect());
  if (!(await timeline.run(quietMs))) return;
  checkers.quiet(before, world.standing());
  // Slots may settle at this very instant.
  const ailment = await waitUntilWell(world, 300);
  if (ailment !== null) checkers.liveness(`left alone, ${ailment}`);
  for (const { client, port, state, openedAt } of probes) {
    if (state !== 'opening' || timeline.now - openedAt < connectMs) continue;
    checkers.liveness(`connection ${client.index}:${port} of slot ${client.slot} is not established`);
  }
  if (!(await timeline.run(begin + livenessMs - timeline.now))) return;
  for (const client of clients) {
    for (const connection of client.connections.values()) {
      const ms = connection.waitingSince === null ? 0 : timeline.now - connection.waitingSince;
      if (connection.state === 'established' && ms > stalledMs) checkers.stalled(connection, ms);
    }
  }
}
