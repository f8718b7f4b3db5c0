import { type DriverEvent, startDriver, stateRecord } from '../agent/driver.ts';
import { type Change, titleOf } from '../control/change.ts';
import { type Control, type ControlConfig, createControl } from '../control/control.ts';
import { type Durable, decodeDurable } from '../control/durable.ts';
import type { ControlOutput } from '../control/io.ts';
import { nothingStays } from '../dataplane/staying.ts';
import type { Clock } from '../ports/clock.ts';
import type { StateStore } from '../ports/state-store.ts';
import { createSimulatedChannel, decodeOnce } from './control-channel.ts';
import type { Host } from './host.ts';
import { Life } from './life.ts';
import type { World } from './world.ts';

const sessionRecord = 'session';

/** Outputs that are done when the driver has done them; others may leave promises behind. */
const immediate: ReadonlySet<ControlOutput['kind']> = new Set([
  'send',
  'persist',
  'arm',
  'grant',
  'event',
  'list',
  'probe',
  'find',
  'letGo',
]);

/** Outputs that input which is refused may coincide with, as they are about time passing. */
const harmless: ReadonlySet<ControlOutput['kind']> = new Set(['send', 'arm']);

/** Starts the agent of a host, as the daemon does: all that it is made of is put together here. */
export function startAgent(world: World, host: Host): void {
  const { timeline, lan, names } = world;
  host.start();
  const life = new Life(timeline, world.scheduling);
  host.life = life;
  const service = { ...lan.service, ownMac: host.mac };
  const store = storeOf(host, life);
  const session = nextSession(store, timeline.now);
  const clock = clockOf(world, host, life);
  const dataPlane = host.kernel.openFor(life, service);
  timeline.say(`${host.name} starts, session ${session}`);
  timeline.unsettle();
  void (async () => {
    const adopted = await dataPlane.adopt();
    if (adopted === null) await dataPlane.apply({ service, rows: new Map() }).catch(() => {});
    if (!life.alive) return;
    const control = watchedControl(world, host, {
      ...{ session, node: host.name, peers: names, partition: service.partition },
      ...(adopted ?? { rows: new Map(), staying: nothingStays }),
      udpIdleMs: service.udpIdleMs ?? null,
      routers: [],
      ...{ start: clock.now(), durable: remembered(world, host), policy: world.firstPolicy },
      newIncarnation: world.newIncarnation(),
      decode: decodeOnce,
      witness: false,
      ...{ boot: host.boot, mac: host.mac },
    });
    const driver = startDriver({
      ...{ control, dataPlane, service, store, clock },
      channel: createSimulatedChannel(names, host.name, session),
      network: world.controlLan.openFor(host, life),
      flows: host.stack.tableFor(life),
      letGo: (reset) => life.effect(() => host.stack.letGo(reset)),
      advertise: () => {},
      probe: (peers) => probe(world, host, peers),
      onEvent: (event) => onDriverEvent(world, host, event),
      onFault: (error) => world.checkers.defect(error),
    });
    host.run({ life, session, control, driver });
  })().catch((error: unknown) => world.checkers.defect(error));
}

/** Hands everything off, then takes the service off the host, as `systemctl stop` does. */
export function leave(world: World, host: Host): void {
  const { agent, life } = host;
  if (!agent || !life) return;
  host.leavingSince ??= world.timeline.now;
  life.turn(() => {
    const left = agent.driver.leave().then(() => {
      if (host.agent !== agent) return;
      world.timeline.say(`${host.name} has left`);
      host.kill();
      host.forget();
    });
    left.catch((error: unknown) => world.checkers.defect(error));
  });
}

export function propose(world: World, host: Host, change: Change): void {
  const { agent } = host;
  if (!agent) return;
  const what = change.kind === 'policy' ? JSON.stringify(change.policy) : titleOf(change);
  world.timeline.say(`${host.name} proposes ${what}`);
  agent.life.turn(() => agent.driver.propose(change));
}

/** What an earlier life stored; before the very first start, who votes. */
function remembered(world: World, host: Host): Durable | null {
  const stored = host.disk.get(stateRecord);
  if (stored) {
    const durable = decodeDurable(stored);
    return durable.ok ? durable.value : null;
  }
  if (host.forgetful) return null;
  const founders = world.voters.map((name) => ({ name, incarnation: world.names.indexOf(name) + 1 }));
  return { incarnation: host.index + 1, founders, term: 0, follow: null, ledger: null };
}

/** The host of a peer answers whatever its agent does, unless one of the two cables is pulled. */
function probe({ timeline, hosts, lan }: World, asker: Host, peers: readonly string[]): void {
  for (const { name, up, cut } of hosts) {
    if (!peers.includes(name) || !up || cut || asker.cut || timeline.random.chance(lan.loss)) continue;
    timeline.after(timeline.random.between(0.1, 4), () =>
      asker.agent?.life.turn(() => asker.agent?.driver.alive(name)),
    );
  }
}

function onDriverEvent(world: World, host: Host, event: DriverEvent): void {
  world.timeline.say(`${host.name} ${brief(event)}`);
  world.onEvent(host, event);
  if (event.kind === 'ledger') {
    world.checkers.acted(host, event, () => host.agent?.control.view().holders ?? []);
  }
  const leavesAlone =
    host.leavingSince !== null && host.agent?.control.view().peers.every(({ state }) => state !== 'heard');
  if (event.kind === 'reset' && leavesAlone) host.abandonedAt = world.timeline.now;
  if (event.kind === 'failure') world.checkers.defect(event.error);
}

/** Texts and numbers of an event, whatever it is. */
function brief(event: DriverEvent): string {
  const fields = Object.entries(event).flatMap(([name, value]) => {
    if (value instanceof Set) return [`${name}=${[...value].join()}`];
    if (value instanceof Error) return [`${name}=${value.message}`];
    if (Array.isArray(value)) return [`${name}=${value.join()}`];
    return name === 'kind' || typeof value === 'object' ? [] : [`${name}=${value}`];
  });
  return [event.kind, ...fields].join(' ');
}

/** Tells the timeline when promises may be pending, and the checkers what comes of hostile input. */
function watchedControl(world: World, host: Host, config: ControlConfig): Control {
  const control = world.createControl(config);
  return {
    handle(input) {
      const hostile = input.kind === 'message' ? world.hostile : null;
      // What would have happened at this instant anyway is no fault of the datagram.
      const anyway = hostile === null ? [] : control.handle({ kind: 'tick', at: input.at });
      const outputs = control.handle(input);
      if (hostile !== null) {
        const kinds = outputs.map(({ kind }) => kind).filter((kind) => !harmless.has(kind));
        world.checkers.hostile(host, hostile, kinds);
      }
      const all = hostile === null ? outputs : [...anyway, ...outputs];
      world.decided = true;
      for (const { kind } of all) if (!immediate.has(kind)) world.timeline.unsettle();
      return all;
    },
    nextTimeout: () => control.nextTimeout(),
    view: () => control.view(),
  };
}

export const realControl: (config: ControlConfig) => Control = createControl;

/** A write that a stopped process was about to do comes late; whoever dies before it leaves the old value. */
function storeOf({ disk }: Host, life: Life): StateStore {
  return {
    read: (name) => disk.get(name) ?? null,
    write: (name, value) => life.effect(() => disk.set(name, value)),
    remove: (name) => life.effect(() => disk.delete(name)),
  };
}

/** As the real channel does it: one more than the last, on disk before it is used; where the disk forgot, the time is higher. */
function nextSession(store: StateStore, trueMs: number): number {
  const stored = store.read(sessionRecord);
  const last = stored ? Number(new TextDecoder().decode(stored)) : -1;
  const session = Math.max(last + 1, Math.floor(1_000_000 + trueMs / 1000));
  store.write(sessionRecord, new TextEncoder().encode(String(session)));
  return session;
}

function clockOf(world: World, host: Host, life: Life): Clock {
  const { timeline, timers } = world;
  return {
    now: () => host.clockAt(timeline.now),
    wakeAt(at, callback) {
      let cancelled = false;
      const late = timeline.random.between(0, timers.latenessMsMax);
      const ms = Math.max(0, host.trueTimeOf(at) - timeline.now) + late;
      const scheduled = timeline.after(ms, () =>
        life.turn(() => {
          if (cancelled) return;
          world.decided = false;
          callback();
          // No timer of the state machine's: the driver's own work goes on in promises.
          if (!world.decided) timeline.unsettle();
        }),
      );
      return () => {
        cancelled = true;
        scheduled.run = null;
      };
    },
  };
}
