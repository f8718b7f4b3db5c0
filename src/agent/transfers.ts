import { formatIp } from '../base/address.ts';
import { messageOf } from '../base/operating-error.ts';
import { ok, type Result, refuse } from '../base/result.ts';
import type { ControlView } from '../control/io.ts';
import type { DataPlane } from '../dataplane/data-plane.ts';
import { holdDeviceOf, type ServiceEntry } from '../dataplane/forwarding-table.ts';
import { flowsOfSlots } from '../handoff/flows-of-slots.ts';
import { Giving } from '../handoff/giving.ts';
import { Taking } from '../handoff/taking.ts';
import {
  batchFlowsMax,
  decodeTransfer,
  encodeTransfer,
  type TransferFlow,
  type TransferMessage,
} from '../handoff/transfer-message.ts';
import type { Frozen, TransferPorts } from '../handoff/transfer-ports.ts';
import { close } from '../platform/libc.ts';
import { openPacketHold, type PacketHold } from '../platform/packet-hold.ts';
import { openPeerLinks, type PeerLinks } from '../platform/peer-link.ts';
import { closeSilently, exportSocket, goLive, importSocket, thaw } from '../platform/tcp-repair.ts';
import type { Clock } from '../ports/clock.ts';
import type { FlowTable } from '../ports/flow-table.ts';
import { slotOf } from '../space/partition.ts';
import type { SdkEndpoint } from './sdk-endpoint.ts';

/** How often connections that stayed are tried again: an application may have been in the middle of something. */
const retryMs = 1000;
/** How often it is looked whether there is something to move. */
const lookMs = 100;
/** A commit is no barrier for packets on their way through the kernel; those are through by then. */
const arrivedMs = 1;

export interface TransferOptions {
  readonly node: string;
  readonly cluster: string;
  readonly service: ServiceEntry;
  /** Of the certificates, as PEM. */
  readonly tls: Parameters<typeof openPeerLinks>[0]['tls'];
  /** Address of the control channel of each replica; links between agents are TCP, at the same port. */
  readonly peers: Readonly<Record<string, string>>;
  readonly port: number;
  readonly dataPlane: DataPlane;
  readonly flows: FlowTable;
  readonly endpoint: SdkEndpoint;
  readonly clock: Clock;
  readonly view: () => ControlView;
  /** Connections that were moved away, and those that stay, by reason. */
  readonly onMoved: (moved: Moved) => void;
}

export interface Moved {
  readonly peer: string;
  readonly connections: number;
  /** From the first packet kept back to the last connection going on, milliseconds. */
  readonly ms: number;
  /** Why others stay, with how many. */
  readonly stay: ReadonlyMap<string, number>;
}

/** Moves connections of slots that this host has given away to their new owner, and takes those of others. */
export interface Transfers {
  close(): Promise<void>;
}

/** Throws an OperatingError when this host cannot hold packets, or the port for links cannot be had. */
export async function openTransfers(options: TransferOptions): Promise<Transfers> {
  const { node, peers, port, clock, endpoint, service } = options;
  const hold = openPacketHold(holdDeviceOf(service), [service.groupMac, service.ownMac]);
  let links: PeerLinks | null = null;
  const ports = portsOf(options, (peer, bytes) =>
    links ? links.send(peer, bytes) : Promise.reject(new Error('no links yet')),
  );
  const giving = new Giving(ports, holderApplications(endpoint), Math.floor(clock.now()) >>> 0);
  const taking = new Taking({ ...ports, ...takingPorts(options, hold) }, takerApplications(endpoint));
  try {
    links = await openPeerLinks({
      ...{ tls: options.tls, cluster: options.cluster, node },
      listen: { address: peers[node] ?? '', port },
      addressOf: (peer) => (peers[peer] === undefined ? null : { address: peers[peer], port }),
      onFrame: (peer, bytes) => receive(peer, bytes, giving, taking),
      onClosed(peer, { direction, reason }) {
        if (reason === null) return;
        if (direction === 'incoming') taking.lost(peer);
        giving.lost(peer);
      },
    });
  } catch (error) {
    hold.close();
    throw error;
  }
  const open = links;
  const rounds = startRounds(options, giving);
  return {
    async close(): Promise<void> {
      await rounds.stop();
      await open.close();
      for (const peer of Object.keys(peers)) taking.lost(peer);
      await taking.idle();
      hold.close();
    },
  };
}

/** What a peer says that is no message ends nothing: it has proven its name, and a version of tomorrow may say more. */
function receive(peer: string, bytes: Uint8Array, giving: Giving, taking: Taking): void {
  const message = decodeTransfer(bytes);
  if (!message.ok) return;
  const { value } = message;
  if (value.kind === 'held' || value.kind === 'ready') giving.receive(peer, value);
  else taking.receive(peer, value);
}

function portsOf(
  { dataPlane, clock }: TransferOptions,
  send: (peer: string, bytes: Uint8Array) => Promise<void>,
): TransferPorts {
  return {
    send: (peer: string, message: TransferMessage) => send(peer, encodeTransfer(message)),
    divert: (flows, to) => dataPlane.divert(flows.map((flow) => ({ flow, to }))),
    packetsArrived: () => new Promise((resolve) => clock.wakeAt(clock.now() + arrivedMs, resolve)),
    sockets: { exportSocket, thaw, importSocket, goLive, closeSilently, close },
    now: () => clock.now(),
    after: (ms, callback) => clock.wakeAt(clock.now() + ms, callback),
  };
}

function takingPorts({ view, service, endpoint }: TransferOptions, hold: PacketHold) {
  return {
    objection(flow: TransferFlow): string | null {
      const slot = slotOf(service.partition, flow.client);
      if (!view().accepting.has(slot)) return `slot ${slot} is not of this replica`;
      const served = endpoint.ports().includes(flow.servicePort);
      return served ? null : `no application takes connections of port ${flow.servicePort}`;
    },
    releasePackets: () => hold.drain(),
  };
}

function holderApplications(endpoint: SdkEndpoint) {
  return {
    async freeze(flows: readonly TransferFlow[]): Promise<readonly Result<Frozen>[]> {
      const answers = await endpoint.freeze(flows);
      return answers.map((answer) => (answer.ok ? ok(answer.value) : refuse(answer.reason)));
    },
    moved: (flow: TransferFlow) => void endpoint.moved(flow),
    thaw: (flow: TransferFlow) => void endpoint.thaw(flow),
  };
}

function takerApplications(endpoint: SdkEndpoint) {
  return {
    async adopt(flow: TransferFlow, frozen: Frozen): Promise<Result<null>> {
      const adopted = await endpoint.adopt({ flow, ...frozen });
      return adopted.ok ? ok(null) : refuse(adopted.reason);
    },
    go: (flow: TransferFlow) => void endpoint.go(flow),
    drop: (flow: TransferFlow) => void endpoint.drop(flow),
  };
}

/** Looks for connections to move, now and then, and moves them, one batch after the other. */
function startRounds(options: TransferOptions, giving: Giving): { stop(): Promise<void> } {
  const { clock } = options;
  /** Connections that stayed, with when they are tried again. */
  const retryAt = new Map<string, number>();
  let stopped = false;
  let cancel = (): void => {};
  let running = Promise.resolve();
  const next = (): void => {
    if (stopped) return;
    cancel = clock.wakeAt(clock.now() + lookMs, () => {
      running = round(options, giving, retryAt, () => stopped).then(next);
    });
  };
  next();
  return {
    stop(): Promise<void> {
      stopped = true;
      cancel();
      return running;
    },
  };
}

async function round(
  options: TransferOptions,
  giving: Giving,
  retryAt: Map<string, number>,
  isStopped: () => boolean,
): Promise<void> {
  const { clock, onMoved, view } = options;
  for (const [key, at] of retryAt) if (at <= clock.now()) retryAt.delete(key);
  if (view().policy?.handoff !== 'transfer') return;
  for (const [peer, flows] of toMove(options)) {
    const due = flows.filter((flow) => !retryAt.has(nameOf(flow)));
    for (let at = 0; at < due.length && !isStopped(); at += batchFlowsMax) {
      const batch = due.slice(at, at + batchFlowsMax);
      const begin = clock.now();
      const outcomes = await giving
        .give(peer, batch)
        .catch((error: unknown) => batch.map(() => refuse(messageOf(error))));
      const stay = new Map<string, number>();
      outcomes.forEach((outcome, i) => {
        const flow = batch[i];
        if (outcome.ok || !flow) return;
        stay.set(outcome.reason, (stay.get(outcome.reason) ?? 0) + 1);
        retryAt.set(nameOf(flow), clock.now() + retryMs);
      });
      const connections = outcomes.filter((outcome) => outcome.ok).length;
      onMoved({ peer, connections, ms: clock.now() - begin, stay });
    }
  }
}

/** Connections of slots that this host has given away, by the replica that owns them now. */
function toMove({ view, flows, service, endpoint }: TransferOptions): Map<string, TransferFlow[]> {
  const { draining } = view();
  const byPeer = new Map<string, TransferFlow[]>();
  if (draining.size === 0) return byPeer;
  for (const flow of flowsOfSlots(flows.list(), service.partition, new Set(draining.keys()), endpoint.ports())) {
    const peer = draining.get(slotOf(service.partition, flow.client));
    if (peer === undefined) continue;
    const { client, clientPort, servicePort } = flow;
    byPeer.set(peer, [...(byPeer.get(peer) ?? []), { client, clientPort, servicePort }]);
  }
  return byPeer;
}

function nameOf({ client, clientPort, servicePort }: TransferFlow): string {
  return `${formatIp(client)} ${clientPort} ${servicePort}`;
}
