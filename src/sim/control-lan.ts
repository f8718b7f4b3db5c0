import type { ControlNetwork } from '../ports/control-network.ts';
import type { Via } from '../wire/envelope.ts';
import type { Host } from './host.ts';
import type { Life } from './life.ts';
import type { Timeline } from './timeline.ts';

/** A datagram as it was delivered, to be sent again by somebody who listened. */
export interface Recorded {
  readonly datagram: Uint8Array;
  readonly via: Via;
  /** The life of the agent that got it. */
  readonly life: Life;
}

/** How many delivered datagrams an eavesdropper keeps for each host. */
const recordedMax = 64;
const olderMax = 512;
const stragglingMsMax = 4000;

/** Carries the control channel: loses, doubles, delays and so reorders datagrams, by multicast and by unicast. */
export class ControlLan {
  readonly #timeline: Timeline;
  readonly #hosts: readonly Host[];
  /** Sender's index times 256 plus receiver's. */
  readonly #blocked = new Set<number>();
  /** Hosts whose datagrams are not lost at random. */
  readonly spared = new Set<Host>();
  readonly #recorded: Recorded[][];
  /** What earlier lives of each host's agent were sent. */
  readonly #older: Recorded[][];
  loss = 0;
  duplication = 0;
  /** Chance of a datagram to be held up for up to four seconds. */
  straggling = 0;
  /** Bounds, milliseconds. */
  delayMs: readonly [number, number] = [0.1, 3];
  multicastBlocked = false;
  sent = 0;

  constructor(timeline: Timeline, hosts: readonly Host[]) {
    this.#timeline = timeline;
    this.#hosts = hosts;
    this.#recorded = hosts.map(() => []);
    this.#older = hosts.map(() => []);
  }

  openFor(host: Host, life: Life): ControlNetwork {
    return {
      multicast: (datagram) =>
        life.effect(() => {
          this.#note(host, datagram);
          if (this.multicastBlocked) return;
          for (const to of this.#hosts) if (to !== host) this.#carry(host, to, datagram, 'multicast');
        }),
      unicast: (peer, datagram) =>
        life.effect(() => {
          this.#note(host, datagram);
          const to = this.#hosts.find(({ name }) => name === peer);
          if (to) this.#carry(host, to, datagram, 'unicast');
        }),
      close: async () => {},
    };
  }

  /** One way; what is on the way still arrives. */
  block(from: Host, to: Host): void {
    this.#blocked.add(from.index * 256 + to.index);
  }

  /** Whatever way, whoever is at the other end. */
  unblock(host: Host): void {
    for (const { index } of this.#hosts) {
      this.#blocked.delete(host.index * 256 + index);
      this.#blocked.delete(index * 256 + host.index);
    }
  }

  unblockAll(): void {
    this.#blocked.clear();
    this.multicastBlocked = false;
  }

  /** What the agent of this host has had. */
  recorded(host: Host): readonly Recorded[] {
    const recorded = this.#recorded[host.index] ?? [];
    return recorded.at(-1)?.life === host.life ? recorded.slice(-recordedMax) : [];
  }

  /** What earlier lives of it have had. */
  older(host: Host): readonly Recorded[] {
    return this.#older[host.index] ?? [];
  }

  #record(to: Host, record: Recorded): void {
    const recorded = this.#recorded[to.index] ?? [];
    if (recorded[0] && recorded[0].life !== record.life) {
      const older = this.#older[to.index] ?? [];
      older.push(...recorded.splice(0).slice(-recordedMax));
      older.splice(0, older.length - olderMax);
    }
    recorded.push(record);
    // Not one by one: there are many.
    if (recorded.length > 2 * recordedMax) recorded.splice(0, recordedMax);
  }

  #note(from: Host, datagram: Uint8Array): void {
    this.sent++;
    const { trace, now } = this.#timeline;
    trace.fold((now * 1000) | 0);
    trace.fold(from.index);
    trace.foldBytes(datagram);
  }

  #carry(from: Host, to: Host, datagram: Uint8Array, via: Via): void {
    if (!to.up || from.cut || this.#blocked.has(from.index * 256 + to.index)) return;
    const { random } = this.#timeline;
    const copies = this.duplication > 0 && random.chance(this.duplication) ? 2 : 1;
    for (let copy = 0; copy < copies; copy++) {
      if (this.loss > 0 && !this.#spares(from, to) && random.chance(this.loss)) continue;
      const late = this.straggling > 0 && random.chance(this.straggling) ? random.between(0, stragglingMsMax) : 0;
      this.#timeline.after(random.between(...this.delayMs) + late, () => this.#deliver(to, datagram, via));
    }
  }

  #spares(from: Host, to: Host): boolean {
    return this.spared.has(from) || this.spared.has(to);
  }

  #deliver(to: Host, datagram: Uint8Array, via: Via): void {
    const { life, agent } = to;
    if (to.cut || !life || !agent) return;
    life.turn(() => {
      this.#record(to, { datagram, via, life });
      agent.driver.receive(datagram, via);
    });
  }
}
