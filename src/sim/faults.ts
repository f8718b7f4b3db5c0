import type { Policy } from '../policy/index.ts';
import { leave, propose, startAgent } from './agent.ts';
import { layout } from './control-channel.ts';
import type { Recorded } from './control-lan.ts';
import type { Host } from './host.ts';
import type { World } from './world.ts';

/** How rough a world is in which faults happen. */
export interface Climate {
  readonly loss: number;
  readonly duplication: number;
  readonly straggling: number;
  readonly delayMs: readonly [number, number];
  readonly latenessMsMax: number;
  readonly kernelFailure: number;
  readonly frameLoss: number;
  readonly synCookies: boolean;
  readonly descheduled: number;
}

export const fair: Climate = {
  loss: 0,
  duplication: 0,
  straggling: 0,
  delayMs: [0.1, 3],
  latenessMsMax: 5,
  kernelFailure: 0,
  frameLoss: 0,
  synCookies: false,
  descheduled: 0,
};

export function setClimate(world: World, climate: Climate): void {
  world.controlLan.loss = climate.loss;
  world.controlLan.duplication = climate.duplication;
  world.controlLan.straggling = climate.straggling;
  world.controlLan.delayMs = climate.delayMs;
  world.lan.loss = climate.frameLoss;
  world.lan.synCookies = climate.synCookies;
  world.timers.latenessMsMax = climate.latenessMsMax;
  world.kernelFaults.failure = climate.kernelFailure;
  world.scheduling.descheduled = climate.descheduled;
  world.scheduling.descheduledMsMax = 1200;
}

export function anyClimate({ timeline: { random } }: World): Climate {
  const slow = random.chance(0.25);
  return {
    loss: random.pick([0, 0, 0.02, 0.15]),
    duplication: random.pick([0, 0.05]),
    straggling: random.pick([0, 0.003]),
    delayMs: slow ? [0.1, 45] : [0.1, 5],
    latenessMsMax: slow ? 40 : 5,
    kernelFailure: random.pick([0, 0.02]),
    frameLoss: random.pick([0, 0.01]),
    synCookies: random.chance(0.25),
    descheduled: random.pick([0, 0.0005, 0.003]),
  };
}

/** Does harm until `until`, at instants drawn by lot. */
export function startFaults(world: World, climate: Climate, until: number): void {
  const { timeline } = world;
  const { random } = timeline;
  const next = (): void => {
    timeline.after(-Math.log(1 - random.next()) * 600, () => {
      if (timeline.now >= until) return;
      random.pick(faults)(world, random.pick(world.hosts), climate);
      next();
    });
  };
  next();
}

/** Sends what nobody should take for real, at instants drawn by lot, for as long as the run lasts. */
export function startForging(world: World): void {
  const { timeline } = world;
  timeline.after(timeline.random.between(20, 400), () => {
    forge(world, timeline.random.pick(world.hosts));
    startForging(world);
  });
}

/** All networks whole, everybody awake and running. */
export function endFaults(world: World): void {
  world.calm = true;
  setClimate(world, fair);
  world.timeline.say('faults end');
  heal(world);
  for (const host of world.hosts) {
    // Where an agent is leaving, connections go on for longer than anybody waits.
    if (host.leavingSince !== null) host.kill();
    else host.life?.wake();
  }
  restartMissing(world);
}

/** Until everybody is there. */
export function restartMissing(world: World): void {
  for (const host of world.hosts) if (!host.life) startAgent(world, host);
}

type Fault = (world: World, host: Host, climate: Climate) => void;

const kill: Fault = ({ timeline }, host) => {
  timeline.say(`${host.name} is killed`);
  host.kill();
};

const crash: Fault = ({ timeline }, host) => {
  timeline.say(`${host.name} crashes`);
  host.crash();
};

const restart: Fault = (world) => {
  const missing = world.hosts.filter(({ life }) => life === null);
  if (missing.length > 0) startAgent(world, world.timeline.random.pick(missing));
};

const restartKilled: Fault = (world, host) => {
  kill(world, host, fair);
  world.timeline.after(world.timeline.random.between(1, 1500), () => host.life === null && startAgent(world, host));
};

const stop: Fault = ({ timeline }, host) => {
  const ms = timeline.random.between(0, timeline.random.chance(0.5) ? 400 : 3000);
  timeline.say(`${host.name} is stopped for ${Math.round(ms)} ms`);
  host.life?.stop(ms);
};

/** The worst moment: it has said something, has not done what follows, is not heard any more, and soon gets no turn at all. */
const silence: Fault = (world, host) => {
  const { timeline, hosts, controlLan } = world;
  const { life } = host;
  // Just less than a lease is the most dangerous: what comes of the turn is still obeyed, and lasts far longer than anybody thinks.
  const ms = timeline.random.chance(0.5) ? timeline.random.between(350, 495) : timeline.random.between(50, 1000);
  life?.interrupt(ms, () => {
    timeline.say(`${host.name} is stopped in the midst of a turn for ${Math.round(ms)} ms, and not heard any more`);
    for (const other of hosts) controlLan.block(host, other);
    timeline.after(ms + timeline.random.between(0, 60), () => {
      if (!world.calm) life.stop(timeline.random.between(0, 3000));
    });
  });
};

const block: Fault = ({ timeline, hosts, controlLan }, host) => {
  const other = timeline.random.pick(hosts);
  timeline.say(`${host.name} is not heard by ${other.name}`);
  controlLan.block(host, other);
  if (timeline.random.chance(0.5)) controlLan.block(other, host);
};

const splitAny: Fault = (world) =>
  split(
    world,
    world.names.filter(() => world.timeline.random.chance(0.5)),
  );

function split({ timeline, hosts, controlLan }: World, side: readonly string[]): void {
  timeline.say(`split: ${side.join()} from the others`);
  const isThere = ({ name }: Host): boolean => side.includes(name);
  for (const a of hosts) for (const b of hosts) if (isThere(a) !== isThere(b)) controlLan.block(a, b);
}

const cut: Fault = ({ timeline }, host) => {
  timeline.say(`${host.name} loses its cable`);
  host.pullCable();
  timeline.after(timeline.random.between(50, 4000), () => host.plugCable());
};

const heal = (world: World): void => {
  world.timeline.say('all cuts are healed');
  world.controlLan.unblockAll();
  for (const host of world.hosts) host.plugCable();
};

const dropMulticast: Fault = ({ timeline, controlLan }) => {
  controlLan.multicastBlocked = !controlLan.multicastBlocked;
  timeline.say(`multicast ${controlLan.multicastBlocked ? 'is blocked' : 'passes'}`);
};

const loseMuch: Fault = ({ timeline, controlLan, lan }, _host, climate) => {
  const loss = timeline.random.between(0.05, 0.6);
  timeline.say(`${Math.round(100 * loss)} % of all datagrams and frames are lost`);
  controlLan.loss = loss;
  lan.loss = loss / 4;
  timeline.after(timeline.random.between(100, 1500), () => {
    controlLan.loss = Math.min(controlLan.loss, climate.loss);
    lan.loss = Math.min(lan.loss, climate.frameLoss);
  });
};

const failTransactions: Fault = ({ timeline, kernelFaults }, _host, climate) => {
  timeline.say('kernels refuse half of all transactions');
  kernelFaults.failure = 0.5;
  timeline.after(timeline.random.between(50, 1000), () => {
    kernelFaults.failure = Math.min(kernelFaults.failure, climate.kernelFailure);
  });
};

const flush: Fault = ({ timeline }, host) => {
  timeline.say(`another program flushes the tables of ${host.name}`);
  host.kernel.flush();
};

const loseDisk: Fault = (world, host) => {
  // Most of the voters must remember what they have said, and any host may come to be one.
  if (world.hosts.some(({ forgetful }) => forgetful)) return;
  crash(world, host, fair);
  world.timeline.say(`${host.name} loses its disk`);
  host.disk.clear();
  host.forgetful = true;
  world.checkers.forgot(host);
};

const proposeAny: Fault = (world, host) => propose(world, host, { kind: 'policy', policy: anyPolicy(world) });

const replaceVoter: Fault = (world, host) => {
  const { random } = world.timeline;
  const voters = host.agent?.control.view().voters.map(({ name }) => name) ?? [];
  const others = world.names.filter((name) => !voters.includes(name));
  if (voters.length === 0 || others.length === 0) return;
  const [name, instead] = [random.pick(others), random.pick(voters)];
  // The worst moment: those two would be most of the voters that there are to be, and the others are most of those that there were.
  if (random.chance(0.4)) split(world, [host.name, name]);
  propose(world, host, { kind: 'voters', name, instead });
};

const leaveAny: Fault = (world, host) => {
  world.timeline.say(`${host.name} is to leave`);
  leave(world, host);
};

const faults: readonly Fault[] = [
  ...[kill, crash, restartKilled, restart, restart, restart, stop, stop, silence, silence, block, splitAny, cut],
  ...[heal, heal, heal, heal],
  ...[dropMulticast, loseMuch, failTransactions, flush, loseDisk, proposeAny, proposeAny, proposeAny, leaveAny],
  ...[replaceVoter, replaceVoter, replaceVoter, replaceVoter],
];

export function anyPolicy({ timeline: { random }, names, firstPolicy: { handoff, drainDeadline } }: World): Policy {
  const weights = Object.fromEntries(names.map((name) => [name, random.below(4)]));
  return random.chance(0.3)
    ? { strategy: 'equal', handoff, drainDeadline }
    : { strategy: 'weighted', handoff, drainDeadline, weights };
}

/** Datagrams replayed together. */
const conversation = 40;

function forge(world: World, host: Host): void {
  const { random } = world.timeline;
  const older = world.controlLan.older(host);
  if (older.length > 0 && random.chance(0.5)) {
    // The receiver's memory of what it heard ended with its earlier life: it may take this for late, and no harm may come of it.
    const begin = random.below(older.length);
    for (const { datagram, via } of older.slice(begin, begin + conversation)) {
      host.agent?.life.turn(() => host.agent?.driver.receive(datagram, via));
    }
    return;
  }
  const recorded = world.controlLan.recorded(host);
  if (recorded.length === 0) return;
  const original = random.pick(recorded);
  const { what, datagram } = random.pick(forgeries)(original, random.below(original.datagram.length));
  const { agent } = host;
  agent?.life.turn(() => {
    world.hostile = what;
    agent.driver.receive(datagram, original.via);
    world.hostile = null;
  });
}

/** From a genuine datagram that its receiver has had already; `at` is any place in it. */
type Forgery = (original: Recorded, at: number) => { readonly what: string; readonly datagram: Uint8Array };

const forgeries: readonly Forgery[] = [
  ({ datagram }) => ({ what: 'replayed', datagram }),
  ({ datagram }, at) => ({ what: 'truncated', datagram: withByte(datagram, layout.authentic, 0).subarray(0, at) }),
  ({ datagram }) => ({ what: 'foreign', datagram: withByte(datagram, layout.cluster, 1) }),
  ({ datagram }) => ({ what: 'future', datagram: withByte(datagram, layout.version, 9) }),
  ({ datagram }, at) => {
    // Changing anything in it makes the HMAC wrong.
    const changed = withByte(datagram, at, (datagram[at] ?? 0) ^ 1);
    return { what: 'forged', datagram: withByte(changed, layout.authentic, 0) };
  },
];

function withByte(datagram: Uint8Array, at: number, value: number): Uint8Array {
  const copy = datagram.slice();
  copy[at] = value;
  return copy;
}
