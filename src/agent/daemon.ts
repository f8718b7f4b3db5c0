import type { Logger } from 'pino';
import { formatIp } from '../base/address.ts';
import { defined } from '../base/assert.ts';
import { messageOf } from '../base/operating-error.ts';
import { type Control, createControl } from '../control/control.ts';
import type { DataPlane } from '../dataplane/data-plane.ts';
import type { Rows, ServiceEntry } from '../dataplane/forwarding-table.ts';
import { createNftDataPlane } from '../dataplane/nft.ts';
import { bootNumber } from '../platform/boot.ts';
import { readKeyring } from '../platform/keyring.ts';
import { openNftables } from '../platform/libnftables.ts';
import { createLinuxHost } from '../platform/linux-host.ts';
import { monotonicClock, unixMsOf } from '../platform/monotonic-clock.ts';
import { hasAddress, interfaceMac, openPacketSocket } from '../platform/packet-socket.ts';
import { openFlowTable } from '../platform/socket-diagnostics.ts';
import { openStateDirectory } from '../platform/state-directory.ts';
import { openUdpControlNetwork } from '../platform/udp-control-network.ts';
import { watchFile } from '../platform/watched-file.ts';
import type { ControlNetwork } from '../ports/control-network.ts';
import type { LinkSocket } from '../ports/link-socket.ts';
import type { StateStore } from '../ports/state-store.ts';
import { arpEtherType } from '../wire/arp.ts';
import type { Partition } from '../space/partition.ts';
import type { Via } from '../wire/envelope.ts';
import { createArpResponder } from './arp-responder.ts';
import { type AgentConfig, addressOf, serviceOf } from './config.ts';
import { type ControlChannel, createControlChannel } from './control-channel.ts';
import { openControlSocket } from './control-socket.ts';
import { type Driver, ledgerRecord, startDriver } from './driver.ts';
import { createEventLog, type EventLog } from './event-log.ts';
import { logEvent } from './log-event.ts';
import { type PolicyFile, watchPolicyFile } from './policy-file.ts';
import { agentRoutes } from './routes.ts';
import { type AgentStatus, statusOf } from './status.ts';

/** A running agent. */
export interface Agent {
  /** Hands everything off, waits for the connections there are, then undoes all that was done to the host. */
  stop(): Promise<void>;
  /** Ends at once and leaves the kernel as it is: established connections go on, and the next start goes on from there. */
  detach(): Promise<void>;
}

/** What closes all that was opened, to be called newest first, also when opening the next thing fails. */
type Closers = (() => unknown)[];

/** What undoes all that was done to the host; what an earlier agent left going stays when this one cannot start. */
interface HostHold {
  readonly undo: Closers;
  adopted: boolean;
}

export async function startAgent(config: AgentConfig, version: string, log: Logger): Promise<Agent> {
  const closers: Closers = [];
  const host: HostHold = { undo: [], adopted: false };
  try {
    const driver = await assemble(config, version, log, closers, host);
    return {
      async stop(): Promise<void> {
        log.info('leaving: handing everything off');
        await driver.leave();
        await closeAll(closers, log);
        await closeAll(host.undo, log);
        log.info('agent stopped, the host is as it was');
      },
      async detach(): Promise<void> {
        await closeAll(closers, log);
        log.info('agent ended, its kernel goes on; start it again within the lease, and nothing has changed');
      },
    };
  } catch (error) {
    await closeAll(closers, log);
    if (!host.adopted) await closeAll(host.undo, log);
    throw error;
  }
}

async function assemble(
  config: AgentConfig,
  version: string,
  log: Logger,
  closers: Closers,
  host: HostHold,
): Promise<Driver> {
  const service = serviceOf(config, interfaceMac(config.interface));
  const { partition } = service;
  const clock = monotonicClock;
  const keyring = readKeyring(config.control.keyring);
  const store = openStateDirectory(config.stateDir);
  const eventLog = createEventLog(unixMsOf, () => clock.now());
  let driver: Driver | null = null;

  // First, because only one process can have the address and port: whoever fails here has touched nothing of the running agent's.
  const network = await openControl(config, log, (datagram, via) => driver?.receive(datagram, via));
  closers.push(() => network.close());
  const { dataPlane, rows } = await takeHost(config, service, store, host);
  const segment = joinSegment(config, service, (peer) => driver?.alive(peer));
  closers.push(() => segment.close());

  const policyFile = watchPolicyFile(
    config.policy,
    partition.slotCount,
    (policy) => driver?.propose(policy),
    (line) => log.error(`policy file refused, the policy in force stays: ${line}`),
  );
  closers.push(() => policyFile.close());
  const channel = createControlChannel(config, keyring, store);
  closers.push(watchKeyring(config.control.keyring, channel, log));
  const control = createControl({
    session: channel.session,
    node: config.node,
    peers: Object.keys(config.control.peers),
    voters: config.voters,
    partition,
    start: clock.now(),
    ledger: store.read(ledgerRecord),
    policy: policyFile.read(),
    boot: bootNumber(),
    mac: service.ownMac,
    rows,
  });
  const running = startDriver({
    ...{ control, channel, network, dataPlane, service, store, clock },
    flows: openFlowTable(service.address),
    probe: segment.probe,
    onEvent: (event) => {
      logEvent(log, event);
      eventLog.record(event);
      if (event.kind === 'repaired') segment.announce();
    },
  });
  driver = running;
  closers.push(() => running.stop());

  const socket = await openAdministration(config, version, { partition, dataPlane, policyFile, control, eventLog, driver });
  closers.push(() => socket.close());
  if (config.voters.length % 2 === 0) {
    log.warn(`${config.voters.length} voters survive no more losses than ${config.voters.length - 1} would`);
  }
  log.info({ version, service: config.service.address, adopted: rows.size }, 'agent started');
  return running;
}

/** Parts that the local socket asks. */
interface Asked {
  readonly partition: Partition;
  readonly dataPlane: DataPlane;
  readonly policyFile: PolicyFile;
  readonly control: Control;
  readonly eventLog: EventLog;
  readonly driver: Driver;
}

function openAdministration(
  config: AgentConfig,
  version: string,
  { partition, dataPlane, policyFile, control, eventLog, driver }: Asked,
): ReturnType<typeof openControlSocket> {
  const status = async (): Promise<AgentStatus> => {
    const view = control.view();
    const packets = await dataPlane.counters().catch(() => null);
    const file = policyFile.compare(view.policy);
    return statusOf({ config, version, partition, view, packets, policyFile: file, refused: driver.refused() });
  };
  const routes = agentRoutes({
    ...{ partition, status },
    log: eventLog,
    view: () => control.view(),
    propose: driver.propose,
  });
  return openControlSocket(config.socket, routes);
}

function openControl(
  { node, control }: AgentConfig,
  log: Logger,
  onDatagram: (datagram: Uint8Array, via: Via) => void,
): Promise<ControlNetwork> {
  return openUdpControlNetwork({
    address: defined(control.peers[node], 'the checked address of this node'),
    group: control.group,
    port: control.port,
    peers: new Map(Object.entries(control.peers)),
    onDatagram,
    onSendFailure: sendFailureLog(log),
  });
}

/** Takes a new keyring when its file is saved; a bad one is logged, and the keys in use stay. Returns what ends it. */
function watchKeyring(path: string, channel: ControlChannel, log: Logger): () => void {
  const watched = watchFile(path, () => {
    try {
      const keyring = readKeyring(path);
      channel.rekey(keyring);
      log.info({ keys: keyring.length }, 'keyring saved, its keys are in use');
    } catch (error) {
      log.error(`keyring refused, the keys in use stay: ${messageOf(error)}`);
    }
  });
  return () => watched.close();
}

/**
 * Goes on from what an earlier agent left in the kernel, when that was for the same service. Otherwise undoes it, then sets the host up: a table that takes nothing
 * before the address that needs it.
 */
async function takeHost(
  config: AgentConfig,
  service: ServiceEntry,
  store: StateStore,
  hold: HostHold,
): Promise<{ readonly dataPlane: DataPlane; readonly rows: Rows }> {
  const dataPlane = createNftDataPlane(openNftables(), service);
  const host = createLinuxHost(store);
  const needs = { device: service.device, serviceAddress: service.address, group: addressOf(config.service.group) };
  const adopted = await dataPlane.adopt();
  hold.adopted = adopted !== null;
  if (!adopted) host.undo();
  hold.undo.push(() => dataPlane.remove());
  if (!adopted) await dataPlane.apply({ service, rows: new Map() });
  hold.undo.push(() => host.undo());
  host.prepare(needs);
  return { dataPlane, rows: adopted ?? new Map() };
}

/** This host on the segment that carries the service. */
interface Segment {
  /** Corrects whoever learned a host's own link address for the service. */
  announce(): void;
  probe(peers: readonly string[]): void;
  close(): Promise<void>;
}

function joinSegment({ node, control }: AgentConfig, service: ServiceEntry, onAlive: (peer: string) => void): Segment {
  const names = new Map(Object.entries(control.peers).map(([name, address]) => [address, name]));
  const own = defined(control.peers[node], 'the checked address of this node');
  // Elsewhere nobody would answer for a peer's address, and silence would say nothing.
  const onSegment = hasAddress(service.device, own);
  let link: LinkSocket | null = null;
  const arp = createArpResponder(
    service,
    () => link,
    (from) => {
      const peer = names.get(formatIp(from));
      if (peer !== undefined) onAlive(peer);
    },
  );
  const opened = openPacketSocket(service.device, arpEtherType, arp.onFrame);
  link = opened;
  arp.announce(opened);
  return {
    announce: () => arp.announce(opened),
    probe(peers: readonly string[]): void {
      for (const peer of peers) {
        const address = control.peers[peer];
        if (address === undefined || !onSegment) onAlive(peer);
        else arp.ask(opened, addressOf(own), addressOf(address));
      }
    },
    close: () => opened.close(),
  };
}

async function closeAll(closers: Closers, log: Logger): Promise<void> {
  for (let close = closers.pop(); close; close = closers.pop()) {
    try {
      await close();
    } catch (error) {
      log.error({ err: error }, `closing: ${messageOf(error)}`);
    }
  }
}

/** A cut link fails every heartbeat: the first of each kind is worth a line, and again after a quiet while. */
const quietMs = 10_000;

function sendFailureLog(log: Logger): (reason: string) => void {
  const loggedAt = new Map<string, number>();
  return (reason) => {
    const now = monotonicClock.now();
    if (now - (loggedAt.get(reason) ?? Number.NEGATIVE_INFINITY) < quietMs) return;
    loggedAt.set(reason, now);
    log.warn(`control channel: ${reason}`);
  };
}
