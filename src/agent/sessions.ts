import type { Logger } from 'pino';
import { messageOf } from '../base/operating-error.ts';
import { flowKey } from '../base/tcp-flow.ts';
import type { ControlView } from '../control/io.ts';
import type { UdpFlow } from '../dataplane/staying.ts';
import { openPeerLinks, type PeerLinks } from '../platform/peer-link.ts';
import type { Clock } from '../ports/clock.ts';
import type { DatagramClient, DatagramSession } from '../sdk/message.ts';
import { type Partition, slotOf } from '../space/partition.ts';
import { batchSessionsMax, decodeSession, encodeSession, type SessionMessage } from '../wire/session-message.ts';
import { type LinkStatus, watchLinks } from './link-status.ts';

/** How often it is looked whether sessions of slots that were given away can follow them. */
const lookMs = 100;
/** An answer that comes later is that of a session that stays. */
const answerMs = 1000;
/** How often a session that stayed is tried again. */
const retryMs = 1000;

/** The application on one port, whose sessions can move. */
export interface SessionApplication {
  /** Those that stand still from now on, until `gone` or `stay`. */
  export(clients: readonly DatagramClient[]): Promise<readonly DatagramSession[]>;
  gone(clients: readonly DatagramClient[]): void;
  stay(clients: readonly DatagramClient[]): void;
  /** Whether it has the sessions now; they begin with the next datagram. */
  import(sessions: readonly DatagramSession[]): Promise<boolean>;
  withdraw(clients: readonly DatagramClient[]): void;
  pass(client: DatagramClient, datagram: Uint8Array): void;
}

export interface SessionParts {
  readonly tls: Parameters<typeof openPeerLinks>[0]['tls'];
  readonly cluster: string;
  readonly node: string;
  readonly peers: Readonly<Record<string, string>>;
  readonly port: number;
  readonly partition: Partition;
  readonly clock: Clock;
  readonly view: () => ControlView;
  /** Flows that stay here, in the kernel's terms. */
  readonly kept: () => Iterable<UdpFlow>;
  /** Null where nobody serves the port, or its sessions have no state. */
  readonly applicationOf: (servicePort: number) => SessionApplication | null;
  readonly log: Logger;
}

/** Moves sessions of UDP to whom their slots were given. */
export interface Sessions {
  /** A datagram of a session that has gone, which the kernel here took still. */
  passed(servicePort: number, client: DatagramClient, datagram: Uint8Array): void;
  links(): LinkStatus;
  close(): Promise<void>;
}

type Offer = Extract<SessionMessage, { kind: 'offer' }>;
type Batch = Omit<Offer, 'kind' | 'number'>;

/** Throws an OperatingError when the port for links cannot be had. */
export async function openSessions(parts: SessionParts): Promise<Sessions> {
  const mover = new SessionMover(parts);
  await mover.open();
  return mover;
}

/**
 * A flow that stays with handoff `transfer` goes on with its session: that stands still here, is offered to the slot's owner, and is the owner's once it answers. The kernels are told by and by:
 * a flow that its application does not see any more is kept no longer, and until then its datagrams are passed on.
 */
class SessionMover implements Sessions {
  readonly #parts: SessionParts;
  readonly #watched = watchLinks();
  readonly #answers = new Map<number, (isTaken: boolean) => void>();
  /** What was offered to this host last, by the peer that did. */
  readonly #offered = new Map<string, Offer>();
  /** Whom a session is now, by flow. */
  readonly #gone = new Map<string, string>();
  readonly #retryAt = new Map<string, number>();
  #links: PeerLinks | null = null;
  #number = 0;
  #round: Promise<void> = Promise.resolve();
  #cancel = (): void => {};
  #stopped = false;

  constructor(parts: SessionParts) {
    this.#parts = parts;
  }

  async open(): Promise<void> {
    const { tls, cluster, node, peers, port } = this.#parts;
    this.#links = await openPeerLinks({
      ...{ tls, cluster, node },
      listen: { address: peers[node] ?? '', port },
      addressOf: (peer) => (peers[peer] === undefined ? null : { address: peers[peer], port }),
      onFrame: (peer, bytes) => this.#hear(peer, bytes),
      onClosed: () => {},
    });
    this.#wait();
  }

  passed(servicePort: number, { client, clientPort }: DatagramClient, datagram: Uint8Array): void {
    const peer = this.#gone.get(flowKey({ client, clientPort, servicePort }));
    if (peer !== undefined) void this.#send(peer, { kind: 'pass', client, clientPort, servicePort, datagram });
  }

  links(): LinkStatus {
    return { refused: Object.fromEntries(this.#links?.refused ?? []), unreachable: this.#watched.unreachable() };
  }

  async close(): Promise<void> {
    this.#stopped = true;
    this.#cancel();
    for (const answered of [...this.#answers.values()]) answered(false);
    await this.#round;
    await this.#links?.close();
  }

  #wait(): void {
    if (this.#stopped) return;
    const { clock, log } = this.#parts;
    this.#cancel = clock.wakeAt(clock.now() + lookMs, () => {
      this.#round = this.#look()
        .catch((error: unknown) => log.error({ err: error }, `moving sessions failed: ${messageOf(error)}`))
        .then(() => this.#wait());
    });
  }

  async #look(): Promise<void> {
    const { view, kept, clock } = this.#parts;
    const flows = new Map(Array.from(kept(), (flow) => [flowKey(flow), flow]));
    for (const key of this.#gone.keys()) if (!flows.has(key)) this.#gone.delete(key);
    for (const [key, at] of this.#retryAt) if (at <= clock.now()) this.#retryAt.delete(key);
    const { draining, policy } = view();
    if (policy?.handoff !== 'transfer') return;
    const due = [...flows].filter(([key]) => !this.#gone.has(key) && !this.#retryAt.has(key));
    for (const [peer, servicePort, clients] of batchesOf(
      due.map(([, flow]) => flow),
      this.#parts.partition,
      draining,
    ))
      if (!this.#stopped) await this.#give(peer, servicePort, clients);
  }

  async #give(peer: string, servicePort: number, clients: readonly DatagramClient[]): Promise<void> {
    const { applicationOf, clock, log } = this.#parts;
    const application = applicationOf(servicePort);
    const keys = clients.map((each) => flowKey({ ...each, servicePort }));
    for (const key of keys) this.#retryAt.set(key, clock.now() + retryMs);
    const sessions = (await application?.export(clients)) ?? [];
    if (!application || sessions.length === 0) return;
    if (!(await this.#offer(peer, { servicePort, sessions }))) return application.stay(sessions);
    for (const each of sessions) this.#gone.set(flowKey({ ...each, servicePort }), peer);
    application.gone(sessions);
    log.info({ peer, sessions: sessions.length }, `${sessions.length} sessions moved to ${peer}`);
  }

  /** False when they stay here. */
  async #offer(peer: string, batch: Batch): Promise<boolean> {
    const { clock } = this.#parts;
    const number = ++this.#number;
    const isTaken = await new Promise<boolean>((resolve) => {
      const cancel = clock.wakeAt(clock.now() + answerMs, () => resolve(false));
      this.#answers.set(number, (answer) => {
        cancel();
        resolve(answer);
      });
      void this.#send(peer, { kind: 'offer', number, ...batch }).then((isSent) => isSent || resolve(false));
    });
    this.#answers.delete(number);
    if (!isTaken) void this.#send(peer, { kind: 'withdraw', number });
    return isTaken;
  }

  async #hear(peer: string, bytes: Uint8Array): Promise<void> {
    const decoded = decodeSession(bytes);
    // The peer has proven its name, and a version of tomorrow may say more.
    if (!decoded.ok) return;
    const message = decoded.value;
    if (message.kind === 'answer') this.#answers.get(message.number)?.(message.isTaken);
    else if (message.kind === 'pass') this.#parts.applicationOf(message.servicePort)?.pass(message, message.datagram);
    else if (message.kind === 'offer') {
      this.#offered.set(peer, message);
      const isTaken = await this.#take(message);
      void this.#send(peer, { kind: 'answer', number: message.number, isTaken });
    } else {
      const offered = this.#offered.get(peer);
      if (offered?.number === message.number)
        this.#parts.applicationOf(offered.servicePort)?.withdraw(offered.sessions);
    }
  }

  async #take({ servicePort, sessions }: Offer): Promise<boolean> {
    const { partition, view, applicationOf } = this.#parts;
    const { accepting } = view();
    if (!sessions.every(({ client }) => accepting.has(slotOf(partition, client)))) return false;
    return (await applicationOf(servicePort)?.import(sessions)) ?? false;
  }

  async #send(peer: string, message: SessionMessage): Promise<boolean> {
    const sending = this.#links?.send(peer, encodeSession(message)) ?? Promise.reject(new Error('no links yet'));
    return this.#watched.watch(peer, sending).then(
      () => true,
      () => false,
    );
  }
}

type GivenBatch = readonly [peer: string, servicePort: number, clients: readonly DatagramClient[]];

function batchesOf(
  flows: readonly UdpFlow[],
  partition: Partition,
  draining: ReadonlyMap<number, string>,
): readonly GivenBatch[] {
  const groups = new Map<string, UdpFlow[]>();
  for (const flow of flows) {
    const peer = draining.get(slotOf(partition, flow.client));
    if (peer === undefined) continue;
    const key = `${flow.servicePort} ${peer}`;
    groups.set(key, [...(groups.get(key) ?? []), flow]);
  }
  return [...groups].flatMap(([key, group]) => {
    const [port = '', peer = ''] = key.split(' ');
    const count = Math.ceil(group.length / batchSessionsMax);
    return Array.from({ length: count }, (_, i): GivenBatch => {
      const clients = group.slice(i * batchSessionsMax, (i + 1) * batchSessionsMax);
      return [peer, Number(port), clients];
    });
  });
}
