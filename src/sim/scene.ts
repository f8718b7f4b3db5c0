import type { DriverEvent } from '../agent/driver.ts';
import { formatIp, type IpAddress } from '../base/address.ts';
import { defined } from '../base/assert.ts';
import { type Change, titleOf } from '../control/change.ts';
import type { Policy } from '../policy/index.ts';
import { leave, propose, realControl, startAgent } from './agent.ts';
import type { Connection, ConnectionEnd } from './client.ts';
import { fair, setClimate } from './faults.ts';
import type { Host } from './host.ts';
import { type Settle, Timeline, type Violation } from './timeline.ts';
import { World } from './world.ts';

/** A world that is directed from outside: replicas `r1` and so on, and nothing happens but what it is told. */
export interface SceneOptions {
  readonly seed: number;
  readonly settle: Settle;
  readonly replicas: number;
  /** Addresses of clients, all different. */
  readonly clients: readonly IpAddress[];
  readonly mask: string;
  /** In force at the beginning. */
  readonly policy: Policy;
  /** All handoffs that policies will name: connections may break by moves when `reset` is among them. */
  readonly handoffs: ReadonlySet<string>;
  /** Established connections of slots given away go on for at least this long. */
  readonly drainMs: number;
  readonly watch: SceneWatch;
}

/** What is seen from outside. Times are true virtual milliseconds. */
export interface SceneWatch {
  /** A kernel takes new connections of exactly these slots since some instant between `begin` and `end`. */
  table(
    replica: string,
    table: { readonly begin: number; readonly end: number; readonly slots: ReadonlySet<number> },
  ): void;
  /** At the switch; `from` is the replica that sent it, null for the client. */
  segment(kind: 'syn' | 'syn-ack' | 'rst', client: string, clientPort: number, from: string | null): void;
}

/** What becomes of a client's connection. */
export interface SceneConnectionEvents {
  opened(): void;
  answered(replica: string): void;
  /** `unanswered`: no SYN was answered. */
  ended(how: ConnectionEnd): void;
}

export interface SceneConnection {
  readonly port: number;
  /** Sends the next request, once the connection is open and the last one answered. */
  ask(): void;
  close(): void;
  /** Resets it from the client's side, without another event. */
  drop(): void;
}

/** What an agent says of the cluster. */
export interface SceneStatus {
  readonly node: string;
  readonly verdict: string;
  readonly epoch: number;
  readonly settled: boolean;
  readonly coordinator: string | null;
  readonly owners: readonly (string | null)[];
  readonly moving: readonly number[];
  /** Slots of which others than the owner may hold connections. */
  readonly held: readonly number[];
}

const founders = 3;
const formingMsMax = 10_000;
const changeMsMax = 15_000;
const lookMs = 2;
/** What a process needs to start. */
const startMs = 250;
const leavingMsMax = 8000;
const phases: readonly unknown[] = ['prepare', 'leave', 'owned', 'done'];

/** A scene once its replicas have agreed and every slot is served. */
export async function openScene(options: SceneOptions): Promise<Scene> {
  const scene = new Scene(options);
  await scene.form();
  return scene;
}

export class Scene {
  readonly #world: World;
  readonly #timeline: Timeline;
  readonly #watch: SceneWatch;
  readonly #events: { readonly host: Host; readonly event: DriverEvent }[] = [];

  constructor({ seed, settle, replicas, clients, mask, policy, handoffs, drainMs, watch }: SceneOptions) {
    this.#watch = watch;
    this.#timeline = new Timeline(seed, settle);
    this.#world = new World(this.#timeline, {
      ...{ replicas, clients: clients.length, addresses: clients, mask, policy, namePrefix: 'r' },
      voters: replicas < founders ? 1 : founders,
      expect: { handoffs, drainMs },
      createControl: realControl,
    });
    setClimate(this.#world, fair);
    this.#world.onEvent = (host, event) => this.#note(host, event);
    this.#world.lan.tap = {
      sent: ({ kind, client, port }) => {
        if (kind === 'syn') watch.segment('syn', formatIp(client.address), port, null);
      },
      replied: ({ kind, host, client, port }) => {
        if (kind === 'syn-ack' || kind === 'rst') watch.segment(kind, formatIp(client.address), port, host.name);
      },
    };
  }

  get now(): number {
    return this.#timeline.now;
  }

  get violation(): Violation | null {
    return this.#timeline.violation;
  }

  get replicas(): readonly string[] {
    return this.#world.names;
  }

  async form(): Promise<void> {
    const { hosts } = this.#world;
    for (const host of hosts) this.after(this.#timeline.random.between(0, 100), () => startAgent(this.#world, host));
    const formed = await this.#until(() => this.#world.ailment() === null, formingMsMax);
    if (!formed) this.#world.checkers.liveness(`not formed within ${formingMsMax} ms: ${this.#world.ailment()}`);
  }

  after(ms: number, run: () => void): void {
    this.#timeline.after(ms, run);
  }

  /** Lets time pass; false when a violation has ended it. */
  run(ms: number): Promise<boolean> {
    return this.#timeline.run(ms);
  }

  /** A new connection from the client of this index. */
  connect(client: number, events: SceneConnectionEvents): SceneConnection {
    const from = defined(this.#world.clients[client], 'a client of the scene');
    const connection: Connection = from.open({
      opened: () => events.opened(),
      answered: (host) => events.answered(host.name),
      ended: (how) => events.ended(how),
    });
    return {
      port: connection.port,
      ask: () => from.ask(connection),
      close: () => from.close(connection),
      drop: () => from.drop(connection),
    };
  }

  /** Of the agents that are there. */
  statuses(): SceneStatus[] {
    return this.#world.hosts.flatMap(({ name, up, agent }) => {
      if (!up || !agent) return [];
      const { verdict, epoch, settled, coordinator, owners, moves, holders } = agent.control.view();
      const moving = moves.flatMap(({ slots }) => [...slots]);
      const held = holders.flatMap(({ slots }) => [...slots]);
      return [{ node: name, verdict, epoch, settled, coordinator, owners, moving, held }];
    });
  }

  /** A saved policy reaches every agent, as the file that all of them watch. */
  policy(policy: Policy): void {
    for (const host of this.#world.hosts) propose(this.#world, host, { kind: 'policy', policy });
  }

  /** Asks the agent of a replica, or another where that one is dead or stopped. Null when it is done, a move as far as `until`; else why not, one line. */
  async change(change: Exclude<Change, { kind: 'policy' | 'voters' }>, until: string): Promise<string | null> {
    const able = this.#world.hosts.filter(({ agent, life }) => agent && life && !life.stopped);
    const asked = able.find(({ name }) => name === change.name) ?? able[0];
    if (!asked) return 'no agent runs';
    this.#events.length = 0;
    propose(this.#world, asked, change);
    const heard = (): DriverEvent[] => this.#events.filter(({ host }) => host === asked).map(({ event }) => event);
    const answer = (): DriverEvent | undefined =>
      heard().findLast((event) => event.kind === 'proposal' && event.title === titleOf(change));
    const farEnough = (): boolean =>
      until === 'done'
        ? asked.agent?.control.view().settled === true
        : heard().some((event) => event.kind === 'move' && phases.indexOf(event.phase) >= phases.indexOf(until));
    const refused = (): boolean => {
      const event = answer();
      return event?.kind === 'proposal' && (event.outcome === 'refused' || event.outcome === 'superseded');
    };
    const done = await this.#until(() => refused() || (answer() !== undefined && farEnough()), changeMsMax);
    if (refused()) return `${asked.name} refuses: ${JSON.stringify(answer())}`;
    return done || this.violation ? null : `not in force after ${changeMsMax / 1000} s`;
  }

  killAgent(replica: string): void {
    this.#host(replica).kill();
  }

  killHost(replica: string): void {
    this.#host(replica).pullCable();
    this.#host(replica).crash();
  }

  destroyState(replica: string): void {
    const host = this.#host(replica);
    host.kill();
    host.disk.clear();
    host.forgetful = true;
    this.#world.checkers.forgot(host);
  }

  stop(replica: string, ms: number): void {
    this.#host(replica).life?.stop(ms);
  }

  leave(replica: string): void {
    leave(this.#world, this.#host(replica));
  }

  /** One that lives hands everything off first. */
  async restart(replica: string): Promise<void> {
    const host = this.#host(replica);
    host.life?.wake();
    // Who is asked a second time ends at once.
    if (host.leavingSince === null) {
      leave(this.#world, host);
      await this.#until(() => host.life === null, leavingMsMax);
    }
    host.kill();
    startAgent(this.#world, host);
  }

  /** Its kernel goes on meanwhile. */
  async upgrade(replica: string): Promise<void> {
    const host = this.#host(replica);
    host.kill();
    await this.run(startMs);
    startAgent(this.#world, host);
    await this.#until(() => host.agent?.control.view().verdict === 'serving', changeMsMax);
  }

  flush(replica: string): void {
    this.#host(replica).kernel.flush();
  }

  cut(replica: string): void {
    this.#host(replica).pullCable();
  }

  heal(replica: string): void {
    const host = this.#host(replica);
    host.plugCable();
    this.#world.controlLan.unblock(host);
    this.#world.controlLan.spared.add(host);
  }

  /** On the control channel, one way. */
  block(from: string, to: string): void {
    this.#world.controlLan.block(this.#host(from), this.#host(to));
  }

  /** Of the datagrams of the control channel, in [0, 1]. */
  lose(part: number): void {
    this.#world.controlLan.spared.clear();
    this.#world.controlLan.loss = part;
  }

  #host(replica: string): Host {
    return defined(
      this.#world.hosts.find(({ name }) => name === replica),
      'a replica of the scene',
    );
  }

  #note(host: Host, event: DriverEvent): void {
    if (event.kind === 'proposal' || event.kind === 'move') this.#events.push({ host, event });
    if (event.kind !== 'table') return;
    const [begin, end] = [event.begin, event.end].map((at) => host.trueTimeOf(at));
    this.#watch.table(host.name, { begin: begin ?? 0, end: end ?? 0, slots: event.slots });
  }

  /** False when it is not so in time. */
  async #until(holds: () => boolean, msMax: number): Promise<boolean> {
    for (const end = this.now + msMax; !holds(); ) {
      if (this.now >= end || !(await this.run(lookMs))) return false;
    }
    return true;
  }
}
