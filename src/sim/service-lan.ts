import type { MacAddress } from '../base/mac.ts';
import type { ServiceEntry } from '../dataplane/forwarding-table.ts';
import type { Frame, Reply } from './frame.ts';
import type { Host } from './host.ts';
import type { Timeline } from './timeline.ts';

/** What the checkers want to know of frames. */
export interface FrameWatch {
  relayedTwice(frame: Frame, by: Host): void;
  answered(frame: Frame, by: Host, relayed: boolean): void;
}

/** Bounds of how long a frame takes from port to port, milliseconds. */
const delayMs = [0.05, 2] as const;

/** The segment that carries the service: its switch floods what clients send to the group's link address to every host. */
export class ServiceLan {
  readonly hosts: Host[] = [];
  /** That of all hosts, but for their own link addresses. */
  readonly service: ServiceEntry;
  /** Chance of a frame to vanish on the way to one receiver. */
  loss = 0;
  /** Servers are so busy that they answer SYNs with cookies: there is nothing to list until the client's ACK. */
  synCookies = false;
  /** Sees every segment that a client or a host sends, whether it arrives or not. */
  tap: { sent(frame: Frame): void; replied(reply: Reply): void } | null = null;
  readonly #timeline: Timeline;
  readonly #watch: FrameWatch;

  constructor(timeline: Timeline, service: ServiceEntry, watch: FrameWatch) {
    this.#timeline = timeline;
    this.service = service;
    this.#watch = watch;
  }

  /** From a client to the group. */
  send(frame: Frame): void {
    this.tap?.sent(frame);
    for (const host of this.hosts) if (host.up) this.#carry(frame, host, null);
  }

  /** From a host to a client. */
  reply(reply: Reply): void {
    if (reply.host.cut || !reply.host.up) return;
    this.tap?.replied(reply);
    if (this.#loses()) return;
    this.#timeline.after(this.#delay(), () => reply.client.receive(reply));
  }

  noteAnswer(frame: Frame, by: Host, relayed: boolean): void {
    this.#watch.answered(frame, by, relayed);
  }

  #carry(frame: Frame, to: Host, relayer: Host | null): void {
    if (this.#loses()) return;
    this.#timeline.after(this.#delay(), () => this.#arrive(frame, to, relayer));
  }

  #arrive(frame: Frame, host: Host, relayer: Host | null): void {
    if (!host.up || host.cut) return;
    const verdict = host.kernel.judge(frame.client.packet(frame.kind === 'syn', relayer?.index ?? -1));
    if (verdict === 'local') {
      this.#timeline.trace.fold((host.index << 24) ^ (frame.port << 8) ^ frame.client.index);
      host.stack.receive(frame, relayer !== null);
    } else if (verdict === 'relay') {
      if (relayer) this.#watch.relayedTwice(frame, host);
      const peer = this.#byMac(host.kernel.row(frame.client.slot)?.peer ?? null);
      if (peer) this.#carry(frame, peer, host);
    }
  }

  #byMac(mac: MacAddress | null): Host | undefined {
    return mac === null ? undefined : this.hosts.find((host) => host.mac === mac);
  }

  #delay(): number {
    return this.#timeline.random.between(...delayMs);
  }

  #loses(): boolean {
    return this.loss > 0 && this.#timeline.random.chance(this.loss);
  }
}
