import { ok, type Result, refuse } from '../base/result.ts';
import type { TcpFlow } from '../base/tcp-flow.ts';
import type { ControlView } from '../control/io.ts';
import type { DataPlane } from '../dataplane/data-plane.ts';
import { holdDeviceOf, type ServiceEntry } from '../dataplane/forwarding-table.ts';
import { type Given, Giving } from '../handoff/giving.ts';
import { Taking } from '../handoff/taking.ts';
import { decodeTransfer, encodeTransfer, type TransferMessage } from '../handoff/transfer-message.ts';
import type { Frozen, TransferPorts } from '../handoff/transfer-ports.ts';
import { close } from '../platform/libc.ts';
import { openPacketHold, type PacketHold } from '../platform/packet-hold.ts';
import { openPeerLinks, type PeerLinks } from '../platform/peer-link.ts';
import { closeSilently, exportSocket, goLive, importSocket, isUnchanged, reset, thaw } from '../platform/tcp-repair.ts';
import type { Clock } from '../ports/clock.ts';
import { slotOf } from '../space/partition.ts';
import { type LinkStatus, watchLinks } from './link-status.ts';
import type { SdkEndpoint } from './sdk-endpoint.ts';

/** A commit is no barrier for packets on their way through the kernel; those are through by then. */
const arrivedMs = 1;
/** Connections that arrive and are not sockets yet. Above this a peer must wait with the next. */
const underWayBytesMax = 32 * 1024 * 1024;

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
  readonly endpoint: SdkEndpoint;
  readonly clock: Clock;
  readonly view: () => ControlView;
  /** Something that ends nothing. */
  readonly onFailure: (error: unknown) => void;
}

/** Moves connections between this host and others, live. */
export interface Transfers {
  /** Moves connections to a peer, at most `batchFlowsMax`. */
  give(peer: string, flows: readonly TcpFlow[]): Promise<Given>;
  links(): LinkStatus;
  /** What is under way is finished first. */
  close(): Promise<void>;
}

/** Throws an OperatingError when this host cannot hold packets, or the port for links cannot be had. */
export async function openTransfers(options: TransferOptions): Promise<Transfers> {
  const { node, peers, port, clock, endpoint, service } = options;
  const hold = openPacketHold(holdDeviceOf(service), [service.groupMac ?? service.ownMac, service.ownMac]);
  let links: PeerLinks | null = null;
  const watched = watchLinks();
  const ports = portsOf(options, (peer, bytes) =>
    watched.watch(peer, links ? links.send(peer, bytes) : Promise.reject(new Error('no links yet'))),
  );
  const giving = new Giving(ports, holderApplications(endpoint), Math.floor(clock.now()) >>> 0);
  const taking = new Taking({ ...ports, ...takingPorts(options, hold) }, takerApplications(endpoint));
  const receive = receiver(giving, taking, options.onFailure);
  try {
    links = await openPeerLinks({
      ...{ tls: options.tls, cluster: options.cluster, node },
      listen: { address: peers[node] ?? '', port },
      addressOf: (peer) => (peers[peer] === undefined ? null : { address: peers[peer], port }),
      onFrame: receive,
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
  return {
    give: (peer, flows) => giving.give(peer, flows),
    links: () => ({ refused: Object.fromEntries(open.refused), unreachable: watched.unreachable() }),
    async close(): Promise<void> {
      await open.close();
      taking.giveUp();
      await taking.idle();
      hold.close();
    },
  };
}

/**
 * Hands what a peer says to the end that it concerns. What is no message ends nothing: the peer has proven its name, and a version of tomorrow may say more. Resolves when
 * the next may be read.
 */
function receiver(
  giving: Giving,
  taking: Taking,
  onFailure: (error: unknown) => void,
): (peer: string, bytes: Uint8Array) => Promise<void> {
  let underWay = 0;
  return async (peer, bytes) => {
    const message = decodeTransfer(bytes);
    if (!message.ok) return;
    const { value } = message;
    if (value.kind === 'held' || value.kind === 'ready' || value.kind === 'undecided')
      return giving.receive(peer, value);
    underWay += bytes.length;
    const done = taking
      .receive(peer, value)
      .catch(onFailure)
      .finally(() => {
        underWay -= bytes.length;
      });
    if (underWay > underWayBytesMax) await done;
  };
}

function portsOf({ clock }: TransferOptions, send: (peer: string, bytes: Uint8Array) => Promise<void>): TransferPorts {
  return {
    send: (peer: string, message: TransferMessage) => send(peer, encodeTransfer(message)),
    sockets: { exportSocket, isUnchanged, thaw, importSocket, goLive, closeSilently, reset, close },
    now: () => clock.now(),
    after: (ms, callback) => clock.wakeAt(clock.now() + ms, callback),
  };
}

function takingPorts({ dataPlane, clock, view, service, endpoint, onFailure }: TransferOptions, hold: PacketHold) {
  return {
    divert: (flows: readonly TcpFlow[], isDiverted: boolean) =>
      dataPlane.divert(flows.map((flow) => ({ flow, isDiverted }))),
    packetsArrived: () => new Promise<void>((resolve) => clock.wakeAt(clock.now() + arrivedMs, resolve)),
    failed: onFailure,
    objection(flow: TcpFlow): string | null {
      const slot = slotOf(service.partition, flow.client);
      if (!view().accepting.has(slot)) return `slot ${slot} is not of this replica`;
      const served = endpoint.ports().includes(flow.servicePort);
      return served ? null : `no application takes connections of port ${flow.servicePort}`;
    },
    releasePackets: (kept: readonly TcpFlow[]) => hold.drain(kept),
  };
}

function holderApplications(endpoint: SdkEndpoint) {
  return {
    calm: (flows: readonly TcpFlow[]) => endpoint.calm(flows),
    async freeze(flows: readonly TcpFlow[]): Promise<readonly Result<Frozen>[]> {
      const answers = await endpoint.freeze(flows);
      return answers.map((answer) => (answer.ok ? ok(answer.value) : refuse(answer.reason)));
    },
    moved: (flow: TcpFlow) => void endpoint.moved(flow),
    thaw: (flow: TcpFlow) => void endpoint.thaw(flow),
  };
}

function takerApplications(endpoint: SdkEndpoint) {
  return {
    async adopt(flow: TcpFlow, frozen: Frozen): Promise<Result<null>> {
      const adopted = await endpoint.adopt({ flow, ...frozen });
      return adopted.ok ? ok(null) : refuse(adopted.reason);
    },
    go: (flow: TcpFlow) => void endpoint.go(flow),
    drop: (flow: TcpFlow) => void endpoint.drop(flow),
  };
}
