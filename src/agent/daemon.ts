import type { Logger } from 'pino';
import { defined } from '../base/assert.ts';
import { messageOf } from '../base/operating-error.ts';
import { type Control, createControl } from '../control/control.ts';
import type { DataPlane } from '../dataplane/data-plane.ts';
import type { ServiceEntry } from '../dataplane/forwarding-table.ts';
import { createNftDataPlane } from '../dataplane/nft.ts';
import { readKeyring } from '../platform/keyring.ts';
import { openNftables } from '../platform/libnftables.ts';
import { createLinuxHost } from '../platform/linux-host.ts';
import { monotonicClock, unixMsOf } from '../platform/monotonic-clock.ts';
import { openPacketSocket } from '../platform/packet-socket.ts';
import { openFlowTable } from '../platform/socket-diagnostics.ts';
import { openStateDirectory } from '../platform/state-directory.ts';
import { openUdpControlNetwork } from '../platform/udp-control-network.ts';
import { watchFile } from '../platform/watched-file.ts';
import type { ControlNetwork } from '../ports/control-network.ts';
import type { LinkSocket } from '../ports/link-socket.ts';
import type { StateStore } from '../ports/state-store.ts';
import { arpEtherType } from '../wire/arp.ts';
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
  /** Hands everything off, then undoes all that was done to the host. */
  stop(): Promise<void>;
}

/** What closes all that was opened, to be called newest first, also when opening the next thing fails. */
type Closers = (() => unknown)[];

export async function startAgent(config: AgentConfig, version: string, log: Logger): Promise<Agent> {
  const closers: Closers = [];
  try {
    const driver = await assemble(config, version, log, closers);
    return {
      async stop(): Promise<void> {
        log.info('leaving: handing everything off');
        await driver.leave();
        await closeAll(closers, log);
        log.info('agent stopped, the host is as it was');
      },
    };
  } catch (error) {
    await closeAll(closers, log);
    throw error;
  }
}

async function assemble(config: AgentConfig, version: string, log: Logger, closers: Closers): Promise<Driver> {
  const service = serviceOf(config);
  const { partition } = service;
  const clock = monotonicClock;
  const keyring = readKeyring(config.control.keyring);
  const store = openStateDirectory(config.stateDir);
  const eventLog = createEventLog(unixMsOf, () => clock.now());
  let driver: Driver | null = null;

  // First, because only one process can have the address and port: whoever fails here has touched nothing of the running agent's.
  const network = await openControl(config, log, (datagram, via) => driver?.receive(datagram, via));
  closers.push(() => network.close());
  const dataPlane = await takeHost(config, service, store, closers);
  closers.push(answerArp(service));

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
  });
  const running = startDriver({
    ...{ control, channel, network, dataPlane, service, store, clock },
    flows: openFlowTable(service.address),
    onEvent: (event) => {
      logEvent(log, event);
      eventLog.record(event);
    },
  });
  driver = running;
  closers.push(() => running.stop());

  const socket = await openAdministration(config, version, { dataPlane, policyFile, control, eventLog, driver });
  closers.push(() => socket.close());
  if (config.voters.length % 2 === 0) {
    log.warn(`${config.voters.length} voters survive no more losses than ${config.voters.length - 1} would`);
  }
  log.info({ version, service: config.service.address }, 'agent started');
  return running;
}

/** Parts that the local socket asks. */
interface Asked {
  readonly dataPlane: DataPlane;
  readonly policyFile: PolicyFile;
  readonly control: Control;
  readonly eventLog: EventLog;
  readonly driver: Driver;
}

function openAdministration(
  config: AgentConfig,
  version: string,
  { dataPlane, policyFile, control, eventLog, driver }: Asked,
): ReturnType<typeof openControlSocket> {
  const { partition } = serviceOf(config);
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

/** Undoes what a killed agent left, then sets the host up: a table that accepts nothing before the address that needs it. */
async function takeHost(
  config: AgentConfig,
  service: ServiceEntry,
  store: StateStore,
  closers: Closers,
): Promise<DataPlane> {
  const dataPlane = createNftDataPlane(openNftables(), service);
  const host = createLinuxHost(store);
  host.undo();
  closers.push(() => dataPlane.remove());
  await dataPlane.apply({ service, rows: new Map() });
  closers.push(() => host.undo());
  host.prepare({ device: service.device, serviceAddress: service.address, group: addressOf(config.service.group) });
  return dataPlane;
}

/** Returns what ends it. */
function answerArp(service: ServiceEntry): () => Promise<void> {
  let link: LinkSocket | null = null;
  const arp = createArpResponder(service, () => link);
  const opened = openPacketSocket(service.device, arpEtherType, arp.onFrame);
  link = opened;
  arp.announce(opened);
  return () => opened.close();
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
