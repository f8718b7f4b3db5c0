import { parseIp } from '../../src/base/address.ts';
import { assert, defined } from '../../src/base/assert.ts';
import { flowKey, type TcpFlow } from '../../src/base/tcp-flow.ts';
import { type Control, createControl } from '../../src/control/control.ts';
import { type Durable, decodeDurable } from '../../src/control/durable.ts';
import type { ControlEvent, ControlInput, ControlOutput } from '../../src/control/io.ts';
import type { Advertised } from '../../src/control/routing.ts';
import type { Rows } from '../../src/dataplane/forwarding-table.ts';
import { noFlows, nothingStays, type Staying, type UdpFlow } from '../../src/dataplane/staying.ts';
import type { Heard } from '../../src/edge/tag-hearing.ts';
import type { Policy } from '../../src/policy/index.ts';
import { type Partition, partitionOf, slotOf } from '../../src/space/partition.ts';
import type { Via } from '../../src/wire/envelope.ts';

export interface VirtualOptions {
  readonly seed?: number;
  readonly nodes?: readonly string[];
  readonly voters?: readonly string[];
  readonly mask?: string;
  /** Agents that vote and serve nothing. */
  readonly witnesses?: readonly string[];
  readonly policy?: Policy;
  /** Bounds of how long a datagram takes, how long a kernel takes, how late a timer fires. */
  readonly delayMs?: readonly [number, number];
  readonly kernelMs?: readonly [number, number];
  readonly latenessMs?: readonly [number, number];
  /** Chance of a datagram to vanish, and to come twice. */
  readonly loss?: number;
  readonly duplication?: number;
  /** UDP flows stay with their holder for so long. */
  readonly udpIdleMs?: number;
  /** Who sends each packet to one replica alone. */
  readonly routers?: readonly string[];
}

/** As the driver waits for packets on their way. */
const settlingMs = 5;

type Table = ControlOutput & { readonly kind: 'program' };

interface Host {
  readonly name: string;
  control: Control | null;
  session: number;
  counter: number;
  disk: Uint8Array | null;
  readonly mac: string;
  boot: number;
  up: boolean;
  /** The rows of the kernel; what they take needs its lease. */
  rows: Rows;
  /** With its rows. */
  staying: Staying;
  /** When each UDP flow was taken last. */
  readonly seen: Map<string, { readonly flow: UdpFlow; readonly at: number }>;
  /** When the lease of each mark ends. */
  readonly armed: Map<number, number>;
  current: number;
  /** Flows that this host has. */
  flows: readonly TcpFlow[];
  /** Slots of which this host holds flows, once it does not own them any more. */
  holding: ReadonlySet<number>;
  wanted: Table | null;
  programming: boolean;
  jammed: boolean;
  ticksAt: number;
  /** A stopped agent does nothing before; what comes meanwhile waits for it. */
  stoppedUntil: number;
  epoch: number;
  left: boolean;
  /** Whose certificates this host knows to be revoked; other lives of its agent too. */
  revoked: readonly string[];
}

/** Control state machines, kernels, disks and a network in virtual time; every choice comes from one seed, and every step is checked. */
export class VirtualNetwork {
  readonly partition: Partition;
  readonly events: { readonly at: number; readonly node: string; readonly event: ControlEvent }[] = [];
  readonly resets: { readonly at: number; readonly node: string; readonly slots: ReadonlySet<number> }[] = [];
  /** Resets that were let go. */
  readonly letGo: { readonly at: number; readonly node: string; readonly reset: Uint8Array }[] = [];
  now = 1000;
  /** What a replica tells the routers. */
  onAdvertise: (node: string, advertised: Advertised) => void = () => {};
  /** What a replica says to a router alone. */
  onSaid: (router: string, heard: Heard) => void = () => {};
  loss: number;
  multicastBlocked = false;
  /** A disk was lost in this run. */
  forgotten = false;
  readonly #options: VirtualOptions;
  readonly #random: () => number;
  readonly #hosts = new Map<string, Host>();
  readonly #blocked = new Set<string>();
  readonly #maps = new Map<number, string>();
  readonly #stored = new Map<string, string>();
  #queue: { readonly at: number; readonly order: number; readonly run: () => void }[] = [];
  #order = 0;
  #incarnations = 1000;

  constructor(options: VirtualOptions = {}) {
    this.#options = options;
    this.#random = mulberry32(options.seed ?? 1);
    this.loss = options.loss ?? 0;
    const mask = parseIp(options.mask ?? '0.0.0.15');
    const partition = mask.ok ? partitionOf(mask.value) : mask;
    this.partition = defined(partition.ok ? partition.value : null, 'a partition');
    for (const [i, name] of this.names.entries()) {
      this.#hosts.set(name, {
        ...{
          name,
          control: null,
          session: 0,
          counter: 0,
          disk: null,
          mac: `02:00:00:00:00:0${i + 1}`,
          boot: 1,
          up: true,
        },
        ...{ staying: nothingStays, seen: new Map() },
        ...{ rows: new Map(), armed: new Map<number, number>(), current: 0, flows: [], holding: new Set<number>() },
        ...{
          wanted: null,
          programming: false,
          jammed: false,
          ticksAt: Number.POSITIVE_INFINITY,
          epoch: 0,
          left: false,
        },
        ...{ stoppedUntil: 0, revoked: [] },
      });
    }
  }

  get names(): readonly string[] {
    return this.#options.nodes ?? ['r1', 'r2', 'r3'];
  }

  start(...names: readonly string[]): this {
    for (const name of names.length > 0 ? names : this.names) {
      const host = this.host(name);
      host.session++;
      host.up = true;
      host.counter = 0;
      host.left = false;
      // What an earlier life kept it does not adopt.
      host.staying = { ...host.staying, kept: noFlows };
      host.control = createControl({
        node: name,
        peers: this.names,
        partition: this.partition,
        start: this.now,
        durable: this.#remembered(host),
        newIncarnation: ++this.#incarnations,
        witness: this.#options.witnesses?.includes(name) ?? false,
        policy: this.#options.policy ?? null,
        session: host.session,
        boot: host.boot,
        mac: host.mac,
        rows: host.rows,
        staying: host.staying,
        udpIdleMs: this.#options.udpIdleMs ?? null,
        routers: this.#options.routers ?? [],
        copies: this.#options.routers !== undefined,
      });
      this.input(name, { kind: 'tick', at: this.now });
      this.input(name, { kind: 'revoked', at: this.now, names: host.revoked });
    }
    return this;
  }

  /** At its very first start an agent has been told who votes; one that has lost its disk knows nothing. */
  #remembered(host: Host): Durable | null {
    if (host.disk) {
      const durable = decodeDurable(host.disk);
      return durable.ok ? durable.value : null;
    }
    if (host.session > 1) return null;
    const incarnation = (name: string): number => 1 + this.names.indexOf(name);
    const founders = [...(this.#options.voters ?? this.names)]
      .sort()
      .map((name) => ({ name, incarnation: incarnation(name) }));
    return { incarnation: incarnation(host.name), founders, term: 0, follow: null, ledger: null };
  }

  /** The host dies: nothing is accepted, nothing comes out any more. */
  crash(name: string): void {
    this.kill(name);
    this.#wipe(this.host(name));
    this.host(name).boot++;
    this.host(name).up = false;
  }

  /** The agent dies, its kernel lives on: the rows stay, and hold for as long as the lease lasts. */
  kill(name: string): void {
    const host = this.host(name);
    host.control = null;
    host.wanted = null;
    host.programming = false;
    host.ticksAt = Number.POSITIVE_INFINITY;
    host.stoppedUntil = 0;
  }

  /** The kernel carries out nothing any more that it is asked for, until it is freed; leases go on. */
  jam(name: string, jammed = true): void {
    const host = this.host(name);
    host.jammed = jammed;
    if (!jammed && host.programming) this.#transact(host);
  }

  /** The agent gets no turn for a while, as by SIGSTOP or a busy host; its kernel goes on, and half-done transactions wait. */
  stop(name: string, ms: number): void {
    this.host(name).stoppedUntil = this.now + ms;
  }

  /** The slots whose new connections a host's kernel takes at this instant: from the group, or from a peer that relays them at this instant. */
  accepting(name: string): ReadonlySet<number> {
    const { rows, mac } = this.host(name);
    const relayed = (slot: number, peer: string | null): boolean => {
      const from = this.names.map((each) => this.host(each)).find((each) => each.mac === peer);
      const row = from && this.#isLeased(from) ? from.rows.get(slot) : undefined;
      return row?.kind === 'relay' && row.peer === mac;
    };
    if (!this.#isLeased(this.host(name))) return new Set();
    return new Set(
      [...rows].flatMap(([slot, { kind, peer }]) =>
        kind === 'own' || kind === 'new' || (kind === 'old' && relayed(slot, peer)) ? [slot] : [],
      ),
    );
  }

  /** A client's datagram reaches every host at this instant: those whose kernels take it, one at most. */
  datagram(flow: UdpFlow): string | null {
    const key = flowKey(flow);
    const slot = slotOf(this.partition, flow.client);
    const takers = this.names.filter((name) => {
      const host = this.host(name);
      const kind = host.rows.get(slot)?.kind;
      if (!this.#isLeased(host)) return false;
      const isElsewhere = host.staying.foreign.has(key) || host.staying.shut.has(slot);
      const isOwner = kind === 'own' || kind === 'new';
      return (isOwner && !isElsewhere) || (kind !== undefined && host.staying.kept.has(key));
    });
    assert(takers.length <= 1, `a datagram is taken by one host at ${this.now}, not by ${takers.join(' and ')}`);
    const [taker = null] = takers;
    if (taker !== null) this.host(taker).seen.set(key, { flow, at: this.now });
    return taker;
  }

  #seenBy({ seen }: Host): UdpFlow[] {
    const since = this.now - (this.#options.udpIdleMs ?? 0);
    return [...seen.values()].flatMap(({ flow, at }) => (at > since ? [flow] : []));
  }

  isLeased(name: string): boolean {
    return this.#isLeased(this.host(name));
  }

  #isLeased({ armed, current }: Host): boolean {
    return (armed.get(current) ?? 0) > this.now;
  }

  #wipe(host: Host): void {
    host.rows = new Map();
    host.staying = nothingStays;
    host.seen.clear();
    host.armed.clear();
    host.current = 0;
  }

  /** The list of revoked certificates that `host` has names these, and no others. */
  revoke(host: string, names: readonly string[]): void {
    this.host(host).revoked = names;
    this.input(host, { kind: 'revoked', at: this.now, names });
  }

  loseDisk(name: string): void {
    this.host(name).disk = null;
  }

  /** One way; datagrams on the way still arrive. */
  block(from: string, to: string): void {
    this.#blocked.add(`${from}>${to}`);
  }

  /** Between one and others, both ways. */
  cut(one: string, ...others: readonly string[]): void {
    for (const other of others) {
      this.block(one, other);
      this.block(other, one);
    }
  }

  isolate(name: string): void {
    this.cut(name, ...this.names);
  }

  healAll(): void {
    this.#blocked.clear();
  }

  host(name: string): Host {
    return defined(this.#hosts.get(name), name);
  }

  control(name: string): Control {
    return defined(this.host(name).control, `a running ${name}`);
  }

  running(): string[] {
    return this.names.filter((name) => this.host(name).control);
  }

  random(): number {
    return this.#random();
  }

  pick<T>(items: readonly T[]): T {
    return defined(items[Math.floor(this.#random() * items.length)], 'an item to pick');
  }

  /** Slots that a kernel accepts, over all kernels. */
  served(): number {
    return this.names.reduce((sum, name) => sum + this.accepting(name).size, 0);
  }

  /** Every agent serves, under one settled map, and every slot is accepted. */
  healthy(names: readonly string[] = this.running()): boolean {
    const views = names.map((name) => this.control(name).view());
    return (
      views.every((view) => view.verdict === 'serving' && view.settled && view.epoch === views[0]?.epoch) &&
      this.served() === this.partition.slotCount
    );
  }

  run(ms: number): this {
    const end = this.now + ms;
    while (this.#next(end)) {}
    this.now = end;
    return this;
  }

  /** Virtual milliseconds until `condition` holds, to 5 ms; fails when it does not within `msMax`. */
  runUntil(condition: () => boolean, msMax: number): number {
    const begin = this.now;
    while (!condition()) {
      assert(this.now < begin + msMax, `the condition holds within ${msMax} ms: ${this.describe()}`);
      this.run(5);
    }
    return this.now - begin;
  }

  describe(): string {
    return this.running()
      .map((name) => `${name}: ${this.control(name).view().cause} at epoch ${this.control(name).view().epoch}`)
      .join('; ');
  }

  input(name: string, input: ControlInput): void {
    const host = this.host(name);
    if (!host.control || host.left) return;
    if (this.now < host.stoppedUntil) {
      this.#schedule(host, host.stoppedUntil, () => this.input(name, { ...input, at: this.now }));
      return;
    }
    // An agent that was stopped reads the list that there is by then.
    const read = input.kind === 'revoked' ? { ...input, names: host.revoked } : input;
    for (const output of host.control.handle(read)) this.#perform(host, output);
    const lateness = this.#between(this.#options.latenessMs ?? [0, 0]);
    const at = Math.max(this.now, host.control.nextTimeout() + lateness);
    if (at === host.ticksAt) return;
    host.ticksAt = at;
    this.#schedule(host, at, () => {
      if (host.ticksAt !== at) return;
      host.ticksAt = Number.POSITIVE_INFINITY;
      this.input(name, { kind: 'tick', at: this.now });
    });
  }

  deliver(to: string, from: string, body: Uint8Array, via: Via = 'unicast', counter = this.host(from).counter++): void {
    const { session } = this.host(from);
    this.input(to, { kind: 'message', at: this.now, via, sender: from, session, counter, body });
  }

  #perform(host: Host, output: ControlOutput): void {
    switch (output.kind) {
      case 'send':
        this.#send(host, output);
        break;
      case 'persist':
        host.disk = output.state;
        this.#checkStored(host);
        break;
      case 'program':
        this.#program(host, output);
        break;
      case 'advertise':
        this.onAdvertise(host.name, output.advertised);
        break;
      case 'arm':
        if (output.fence === 'hold') break;
        assert((host.armed.get(output.mark) ?? 0) <= this.now, `mark ${output.mark} is not armed already`);
        host.armed.set(output.mark, this.now + output.ms);
        break;
      case 'grant':
        if (output.fence === 'hold') break;
        host.current = output.mark ?? 0;
        this.#checkKernels();
        break;
      case 'list': {
        const slots = new Set([...output.slots].filter((slot) => host.holding.has(slot)));
        this.#schedule(host, this.now, () => this.input(host.name, { kind: 'holding', at: this.now, slots }));
        break;
      }
      case 'flows': {
        const flows = host.flows.filter(({ client }) => output.slots.has(slotOf(this.partition, client)));
        this.#schedule(host, this.now, () => this.input(host.name, { kind: 'flows', at: this.now, flows }));
        break;
      }
      case 'seen':
        this.#schedule(host, this.now + this.#between(this.#options.kernelMs ?? [1, 5]), () => {
          this.input(host.name, { kind: 'seen', at: this.now, flows: this.#seenBy(host) });
        });
        break;
      case 'find': {
        const { asker } = output;
        const asked = new Set(output.flows.map(flowKey));
        const flows = host.flows.filter((flow) => asked.has(flowKey(flow)));
        this.#schedule(host, this.now, () => this.input(host.name, { kind: 'had', at: this.now, asker, flows }));
        break;
      }
      case 'letGo':
        this.letGo.push({ at: this.now, node: host.name, reset: output.reset });
        break;
      case 'probe':
        for (const peer of output.peers) this.#probe(host, peer);
        break;
      case 'reset':
        this.#reset(host, output.slots);
        break;
      case 'event':
        this.events.push({ at: this.now, node: host.name, event: output.event });
        if (output.event.kind === 'ledger') this.#checkMap(host, output.event);
        break;
      case 'left':
        host.left = true;
        // The process goes on until its kernel has done the last that was asked for.
        if (!host.programming) this.#schedule(host, this.now, () => this.crash(host.name));
    }
  }

  #reset(host: Host, asked: ReadonlySet<number>): void {
    const slots = new Set([...asked].filter((slot) => host.holding.has(slot)));
    if (slots.size > 0) this.resets.push({ at: this.now, node: host.name, slots });
    host.holding = new Set([...host.holding].filter((slot) => !slots.has(slot)));
  }

  /** The host of a peer answers whatever its agent does, unless it is down or cut off. */
  #probe(host: Host, peer: string): void {
    if (this.#blocked.has(`${host.name}>${peer}`) || this.#blocked.has(`${peer}>${host.name}`)) return;
    if (!this.host(peer).up) return;
    this.#schedule(host, this.now + 1, () => this.input(host.name, { kind: 'alive', at: this.now, peer }));
  }

  #send(host: Host, { to, body }: ControlOutput & { kind: 'send' }): void {
    const counter = host.counter++;
    const { session } = host;
    const targets = to === 'group' ? (this.multicastBlocked ? [] : this.names) : [to.peer];
    const via = to === 'group' ? 'multicast' : 'unicast';
    for (const name of targets) {
      const copies = this.#random() < (this.#options.duplication ?? 0) ? 2 : 1;
      for (let copy = 0; copy < copies; copy++) {
        if (this.#blocked.has(`${host.name}>${name}`) || this.#random() < this.loss) continue;
        const at = this.now + this.#between(this.#options.delayMs ?? [1, 3]);
        if (this.#options.routers?.includes(name)) {
          this.at(at, () => this.onSaid(name, { sender: host.name, session, counter, body }));
          continue;
        }
        const target = this.host(name);
        this.#schedule(target, at, () =>
          this.input(name, { kind: 'message', at: this.now, via, sender: host.name, session, counter, body }),
        );
      }
    }
  }

  /** One transaction at a time, each atomic at its end; what is asked for meanwhile is done last, the newest only. */
  #program(host: Host, table: Table): void {
    const busy = host.programming;
    host.wanted = table;
    if (!busy) this.#transact(host);
  }

  #transact(host: Host): void {
    if (host.jammed) {
      host.programming = true;
      return;
    }
    const table = host.wanted;
    host.wanted = null;
    host.programming = table !== null;
    if (!table) return;
    this.#schedule(host, this.now + this.#between(this.#options.kernelMs ?? [1, 5]), () => {
      host.rows = table.rows;
      host.staying = table.staying;
      this.#checkKernels();
      this.#schedule(host, this.now + settlingMs, () => {
        this.#transact(host);
        this.input(host.name, { kind: 'programmed', at: this.now, revision: table.revision });
        if (host.left && !host.programming) this.crash(host.name);
      });
    });
  }

  #checkKernels(): void {
    const by = new Map<number, string>();
    for (const name of this.names) {
      for (const slot of this.accepting(name)) {
        assert(!by.has(slot), `slot ${slot} has one kernel at ${this.now}, not ${by.get(slot)} and ${name}`);
        by.set(slot, name);
      }
    }
  }

  /** All that act on an epoch act on the same map, and no node goes back. */
  #checkMap(host: Host, event: ControlEvent & { kind: 'ledger' }): void {
    const content = `${event.by} ${event.owners.join()}`;
    const known = this.#maps.get(event.epoch) ?? content;
    assert(known === content, `epoch ${event.epoch} is one map: ${known} and ${content}`);
    this.#maps.set(event.epoch, content);
    assert(event.epoch >= host.epoch, `${host.name} goes from epoch ${host.epoch} to ${event.epoch}`);
    host.epoch = event.epoch;
  }

  #checkStored(host: Host): void {
    const durable = host.disk && decodeDurable(host.disk);
    const ledger = durable?.ok ? durable.value.ledger : null;
    if (!ledger) return;
    const key = `${ledger.term}.${ledger.epoch}`;
    const content = JSON.stringify(ledger);
    assert((this.#stored.get(key) ?? content) === content, `the ledger ${key} is one value`);
    this.#stored.set(key, content);
  }

  #between([least, most]: readonly [number, number]): number {
    return least + this.#random() * (most - least);
  }

  /** Nothing scheduled for a host outlives a crash of it. */
  #schedule(host: Host, at: number, run: () => void): void {
    const { session } = host;
    const turn = (): void => {
      if (!host.control || host.session !== session) return;
      if (this.now < host.stoppedUntil) this.#schedule(host, host.stoppedUntil, run);
      else run();
    };
    this.at(at, turn);
  }

  /** Has something done at a time, whoever lives then. */
  at(at: number, run: () => void): void {
    const entry = { at, order: this.#order++, run };
    let low = 0;
    let high = this.#queue.length;
    while (low < high) {
      const middle = (low + high) >> 1;
      if ((this.#queue[middle]?.at ?? 0) > at) low = middle + 1;
      else high = middle;
    }
    this.#queue.splice(low, 0, entry);
  }

  /** The queue is sorted by falling time, so that the next is at its end. */
  #next(end: number): boolean {
    const next = this.#queue.at(-1);
    if (!next || next.at > end) return false;
    this.#queue.pop();
    this.now = Math.max(this.now, next.at);
    next.run();
    return true;
  }
}

/** A small seeded generator of numbers in [0, 1). */
function mulberry32(seed: number): () => number {
  let state = seed >>> 0;
  return () => {
    state = (state + 0x6d2b79f5) >>> 0;
    let mixed = Math.imul(state ^ (state >>> 15), 1 | state);
    mixed = (mixed + Math.imul(mixed ^ (mixed >>> 7), 61 | mixed)) ^ mixed;
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 2 ** 32;
  };
}
