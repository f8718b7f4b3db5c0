import type { IpAddress } from '../base/address.ts';
import type { Packet } from '../dataplane/packet.ts';
import { slotOf } from '../space/partition.ts';
import type { Scheduled } from './event-queue.ts';
import type { Frame, Peer, Reply } from './frame.ts';
import { type Host, macOf } from './host.ts';
import type { ServiceLan } from './service-lan.ts';
import type { Timeline } from './timeline.ts';

/** A connection as its client holds it. */
export interface Connection {
  readonly client: Client;
  readonly port: number;
  readonly openedAt: number;
  state: 'opening' | 'established' | 'closing';
  /** Who answered the SYN, in which of its lives; null before. */
  holder: Host | null;
  holderBoot: number;
  serverIsn: number;
  /** Requests sent so far, and how many there will be. */
  request: number;
  readonly requests: number;
  /** Since when an answer is missing; null when none is. */
  waitingSince: number | null;
  resend: Scheduled | null;
  /** Who says when to ask and when to close; null where chance does. */
  readonly events: ConnectionEvents | null;
}

/** What becomes of a connection that somebody directs. */
export interface ConnectionEvents {
  opened(): void;
  answered(by: Host): void;
  ended(how: ConnectionEnd): void;
}

/** `unanswered`: no SYN was answered. */
export type ConnectionEnd = 'reset' | 'closed' | 'unanswered';

export interface ConnectionWatch {
  /** A server answered an established connection. */
  responded(connection: Connection, by: Host, boot: number): void;
  /** A server reset an established connection. */
  reset(connection: Connection, by: Host): void;
}

/** When a SYN is sent again, milliseconds after the one before (RFC 6298, doubling from one second); then the client gives up. */
const synAgainMs = [1000, 2000, 4000, 8000] as const;
const resendMs = 200;
const resendMsMax = 1600;
const finsMax = 4;
const requestsMax = 40;

/** One client address: it connects, asks and waits for the answer, again and again. */
export class Client implements Peer {
  readonly index: number;
  readonly address: IpAddress;
  readonly slot: number;
  readonly connections = new Map<number, Connection>();
  /** When a connection was established last. */
  connectedAt = Number.NEGATIVE_INFINITY;
  readonly #timeline: Timeline;
  readonly #lan: ServiceLan;
  readonly #watch: ConnectionWatch;
  readonly #packets = new Map<number, Packet>();
  #port = 1024;

  constructor(index: number, address: IpAddress, timeline: Timeline, lan: ServiceLan, watch: ConnectionWatch) {
    this.index = index;
    this.address = address;
    this.slot = slotOf(lan.service.partition, address);
    this.#timeline = timeline;
    this.#lan = lan;
    this.#watch = watch;
  }

  /** Opens one more connection; another takes its place whenever it ends. */
  connect(): Connection {
    return this.#open(1 + this.#timeline.random.below(requestsMax), null);
  }

  /** Opens a connection that asks and ends only when it is told to. */
  open(events: ConnectionEvents): Connection {
    return this.#open(Number.POSITIVE_INFINITY, events);
  }

  /** Sends the next request on an established connection. */
  ask(connection: Connection): void {
    connection.waitingSince = this.#timeline.now;
    connection.request++;
    this.#sendRequest(connection, resendMs);
  }

  close(connection: Connection): void {
    connection.state = 'closing';
    this.#sendFin(connection, finsMax);
  }

  /** Forgets a connection, and tells its server by a reset. */
  drop(connection: Connection): void {
    this.#cancel(connection);
    this.connections.delete(connection.port);
    if (connection.state !== 'opening') this.#send('rst', connection.port, connection.serverIsn, connection.request);
  }

  #open(requests: number, events: ConnectionEvents | null): Connection {
    const connection: Connection = {
      client: this,
      port: this.#port++,
      openedAt: this.#timeline.now,
      state: 'opening',
      holder: null,
      holderBoot: 0,
      serverIsn: 0,
      request: 0,
      requests,
      waitingSince: this.#timeline.now,
      resend: null,
      events,
    };
    this.connections.set(connection.port, connection);
    this.#sendSyn(connection, 0);
    return connection;
  }

  receive(reply: Reply): void {
    const connection = this.connections.get(reply.port);
    if (!connection) {
      // RFC 9293, section 3.10.7.1: a server that believes in a connection we do not have is told so.
      if (reply.kind !== 'rst') this.#send('rst', reply.port, reply.serverIsn, 0);
      return;
    }
    if (reply.kind === 'syn-ack') this.#receiveSynAck(connection, reply);
    else if (connection.serverIsn !== reply.serverIsn || connection.state === 'opening') return;
    else if (reply.kind === 'rst') this.#receiveReset(connection, reply.host);
    else if (connection.state === 'closing') this.#end(connection, 'closed');
    else if (reply.kind === 'response' && reply.request === connection.request)
      this.#receiveResponse(connection, reply);
  }

  packet(opens: boolean, relayer: number): Packet {
    const key = 2 * (relayer + 1) + (opens ? 1 : 0);
    let packet = this.#packets.get(key);
    if (!packet) {
      const destination = this.#lan.service.address;
      packet = {
        ...{ source: this.address, destination, protocol: 'tcp', destinationPort: 80, opens },
        ...(relayer < 0 ? {} : { relayedBy: macOf(relayer) }),
      };
      this.#packets.set(key, packet);
    }
    return packet;
  }

  #sendSyn(connection: Connection, attempt: number): void {
    this.#send('syn', connection.port, 0, 0);
    connection.resend = this.#timeline.after(synAgainMs[attempt] ?? 0, () => {
      if (attempt + 1 < synAgainMs.length) this.#sendSyn(connection, attempt + 1);
      else this.#end(connection, 'unanswered');
    });
  }

  #receiveSynAck(connection: Connection, { host, boot, serverIsn }: Reply): void {
    const opens = connection.state === 'opening';
    if (opens) {
      connection.state = 'established';
      connection.holder = host;
      connection.holderBoot = boot;
      connection.serverIsn = serverIsn;
      connection.waitingSince = null;
      this.connectedAt = this.#timeline.now;
      this.#cancel(connection);
      if (!connection.events) this.#askLater(connection);
    }
    if (host !== connection.holder)
      this.#timeline.say(`client ${this.index}:${connection.port} is answered by ${host.name} too`);
    // Also to another server's: a challenge by which that one learns that it has no connection (RFC 5961, section 4).
    this.#send('ack', connection.port, connection.serverIsn, connection.request);
    if (opens) connection.events?.opened();
  }

  #askLater(connection: Connection): void {
    this.#timeline.after(this.#timeline.random.between(20, 800), () => {
      if (this.connections.get(connection.port) !== connection) return;
      connection.waitingSince = this.#timeline.now;
      if (connection.request === connection.requests) this.close(connection);
      else this.ask(connection);
    });
  }

  #sendRequest(connection: Connection, againMs: number): void {
    this.#send('request', connection.port, connection.serverIsn, connection.request);
    connection.resend = this.#timeline.after(againMs, () =>
      this.#sendRequest(connection, Math.min(2 * againMs, resendMsMax)),
    );
  }

  #sendFin(connection: Connection, left: number): void {
    this.#send('fin', connection.port, connection.serverIsn, connection.request);
    connection.resend = this.#timeline.after(resendMs, () => {
      if (left > 1) this.#sendFin(connection, left - 1);
      else this.#end(connection, 'closed');
    });
  }

  #receiveResponse(connection: Connection, { host, boot }: Reply): void {
    this.#watch.responded(connection, host, boot);
    if (connection.waitingSince === null) return;
    connection.waitingSince = null;
    this.#cancel(connection);
    if (connection.events) connection.events.answered(host);
    else this.#askLater(connection);
  }

  #receiveReset(connection: Connection, by: Host): void {
    if (connection.state === 'established') this.#watch.reset(connection, by);
    this.#end(connection, 'reset');
  }

  #end(connection: Connection, how: ConnectionEnd): void {
    this.#cancel(connection);
    this.connections.delete(connection.port);
    if (connection.events) connection.events.ended(how);
    else this.#timeline.after(this.#timeline.random.between(20, 500), () => this.connect());
  }

  #cancel(connection: Connection): void {
    if (connection.resend) connection.resend.run = null;
    connection.resend = null;
  }

  #send(kind: Frame['kind'], port: number, serverIsn: number, request: number): void {
    this.#lan.send({ kind, client: this, port, serverIsn, request, answered: null });
  }
}
