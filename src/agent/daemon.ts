import type { Logger } from 'pino';
import { defined } from '../base/assert.ts';
import { messageOf } from '../base/operating-error.ts';
import { createControl } from '../control/control.ts';
import { type Durable, decodeDurable } from '../control/durable.ts';
import type { ServiceEntry } from '../dataplane/forwarding-table.ts';
import { bootNumber, randomIncarnation } from '../platform/boot.ts';
import { readKeyring } from '../platform/keyring.ts';
import { openNftables } from '../platform/libnftables.ts';
import { monotonicClock, unixMsOf } from '../platform/monotonic-clock.ts';
import { interfaceMac } from '../platform/packet-socket.ts';
import { openFlowTable } from '../platform/socket-diagnostics.ts';
import { openStateDirectory } from '../platform/state-directory.ts';
import { openUdpControlNetwork } from '../platform/udp-control-network.ts';
import { watchFile } from '../platform/watched-file.ts';
import type { Policy } from '../policy/index.ts';
import type { ControlNetwork } from '../ports/control-network.ts';
import type { FlowTable } from '../ports/flow-table.ts';
import type { StateStore } from '../ports/state-store.ts';
import type { Partition } from '../space/partition.ts';
import type { Via } from '../wire/envelope.ts';
import { openAdministration } from './administration.ts';
import { type AgentConfig, groupOf, healthChecksOf, readCertificates, serviceOf } from './config.ts';
import type { ControlChannel } from './control-channel.ts';
import { type Driver, type DriverEvent, startDriver, stateRecord } from './driver.ts';
import { createEventLog, type EventLog } from './event-log.ts';
import { type GroupHost, groupHost, watchSockets } from './group.ts';
import { watchHealth } from './health.ts';
import { type HeldResets, noResets, openHeldResets } from './held-resets.ts';
import { type TakenHost, takeHost, undoFormer, watchHost } from './host.ts';
import { type Joins, noJoins, openJoins } from './joins.ts';
import { logEvent } from './log-event.ts';
import { openWatchedChannel } from './member-channel.ts';
import { type PolicyFile, watchPolicyFile } from './policy-file.ts';
import { openSdk } from './sdk.ts';
import { joinSegment, type Segment } from './segment.ts';
import { witnessHost } from './witness.ts';

/** A running agent. */
export interface Agent {
  /** Hands everything off, waits for the connections there are, then undoes all that was done to the host. */
  stop(): Promise<void>;
  /** Ends at once and leaves the kernel as it is: established connections go on, and the next start goes on from there. */
  detach(): Promise<void>;
}

/** What closes all that was opened, to be called newest first, also when opening the next thing fails. */
type Closers = (() => unknown)[];

/** A witness votes and serves nothing. */
export interface Role {
  readonly witness: boolean;
}

export async function startAgent(config: AgentConfig, version: string, log: Logger, role: Role): Promise<Agent> {
  const closers: Closers = [];
  const taken: { host: TakenHost | null } = { host: null };
  try {
    const { driver, joins } = await assemble(config, version, log, role, closers, taken);
    return {
      async stop(): Promise<void> {
        log.info('leaving: handing everything off');
        await driver.leave();
        await joins.leave();
        await closeAll(closers, log);
        await taken.host?.release();
        log.info('agent stopped, the host is as it was');
      },
      async detach(): Promise<void> {
        await closeAll(closers, log);
        log.info('agent ended, its kernel goes on; start it again within the lease, and nothing has changed');
      },
    };
  } catch (error) {
    await closeAll(closers, log);
    // What an earlier agent left going stays when this one cannot start.
    if (taken.host?.adopted.rows.size === 0) await taken.host.release();
    throw error;
  }
}

async function assemble(
  config: AgentConfig,
  version: string,
  log: Logger,
  role: Role,
  closers: Closers,
  taken: { host: TakenHost | null },
): Promise<{ readonly driver: Driver; readonly joins: Joins }> {
  const hasFrames = !role.witness && config.delivery !== 'group';
  const configured = serviceOf(config, hasFrames ? interfaceMac(config.interface) : noMac);
  const { partition } = configured;
  const clock = monotonicClock;
  const store = openStateDirectory(config.stateDir);
  const eventLog = createEventLog(unixMsOf, () => clock.now());
  let driver: Driver | null = null;

  // First, because only one process can have the address and port: whoever fails here has touched nothing of the running agent's.
  const network = await openControl(config, log, (datagram, via) => driver?.receive(datagram, via));
  closers.push(() => network.close());
  if (!hasFrames) undoFormer(store);
  const { host, segment, flows, resets, service, group } = role.witness
    ? { ...witnessHost(), resets: noResets, service: configured, group: null }
    : await replicaHost(config, configured, store, log, closers, taken, () => driver);
  const { dataPlane, adopted } = host;

  const policyFile = watchPolicy(config, partition, log, (policy) => driver?.propose({ kind: 'policy', policy }));
  closers.push(() => policyFile.close());
  const channelParts = { keyring: readKeyring(config.control.keyring), store, network, clock };
  const channel = openWatchedChannel(config, { ...channelParts, ...saidOf(() => driver) }, log);
  closers.push(() => channel.close());
  closers.push(watchKeyring(config.control.keyring, channel, log));
  const joins = role.witness ? noJoins : joinsOf(config, service, log);
  closers.push(() => joins.close());
  const control = createControl({
    ...controlBasics(config, service, role),
    ...{ session: channel.session, start: clock.now(), ...adopted },
    ...{ durable: rememberedState(store, log), policy: policyFile.read() },
  });
  const running = startDriver({
    ...{ control, channel, network, dataPlane, service, store, clock },
    ...{ flows, probe: segment.probe, letGo: resets.letGo, advertise: joins.take },
    onEvent: eventSink(log, eventLog, segment),
    onFault: endProcess,
  });
  driver = running;
  running.revoke(channel.signatures().revoked);
  closers.push(() => running.stop());
  if (!group && !role.witness) closers.push(watchHost(host.setup, log, { ...running, announce: segment.announce }));
  if (!role.witness) closers.push(watchServer(config, service, group, log, running));
  const forSdk = { service, dataPlane, flows, clock, group, view: () => control.view() };
  const sdk = role.witness ? null : await openSdk(config, forSdk, log);
  closers.push(() => sdk?.close());
  const asked = { partition, dataPlane, resets, policyFile, control, eventLog, driver, sdk, channel };
  const socket = await openAdministration(config, version, { ...asked, fence: group?.fence });
  closers.push(() => socket.close());
  log.info({ version, service: config.service.address, adopted: adopted.rows.size }, 'agent started');
  return { driver: running, joins };
}

/** Also where whoever called the driver lives with its errors. */
function endProcess(error: unknown): void {
  setImmediate(() => {
    throw error;
  });
}

/** What the channel hears from the driver, and tells it. */
function saidOf(driver: () => Driver | null) {
  return {
    view: () => driver()?.view() ?? null,
    onRevoked: (names: readonly string[]) => void driver()?.revoke(names),
  };
}

function eventSink(log: Logger, eventLog: EventLog, segment: Segment): (event: DriverEvent) => void {
  return (event) => {
    logEvent(log, event);
    eventLog.record(event);
    if (event.kind === 'repaired') segment.announce();
  };
}

/** What the state machine is told that the configuration and the machine say. */
function controlBasics({ node, control, routers }: AgentConfig, service: ServiceEntry, { witness }: Role) {
  return {
    ...{ node, peers: Object.keys(control.peers), routers: Object.keys(routers), witness },
    ...{ partition: service.partition, mac: service.ownMac, boot: bootNumber(), newIncarnation: randomIncarnation() },
    ...{ udpIdleMs: service.udpIdleMs ?? null, copies: reachesOneHost(service, routers) },
  };
}

/** Frames of its slots reach this host alone: also those of a group, where there are routers. */
function reachesOneHost({ delivery }: ServiceEntry, routers: AgentConfig['routers']): boolean {
  return delivery === 'router' || Object.keys(routers).length > 0;
}

/** Joins are for routers, and signed where there is a certificate. */
function joinsOf(config: AgentConfig, service: ServiceEntry, log: Logger): Joins {
  if (Object.keys(config.routers).length === 0) return noJoins;
  const files = readCertificates(config);
  if (!files) log.warn('joins are not signed, as agent.yaml names no certificates: they count in a public group alone');
  return openJoins(config, service, files, monotonicClock, log);
}

function watchPolicy(
  config: AgentConfig,
  partition: Partition,
  log: Logger,
  onPolicy: (policy: Policy) => void,
): PolicyFile {
  return watchPolicyFile(config.policy, partition.slotCount, onPolicy, (line) =>
    log.error(`policy file refused, the policy in force stays: ${line}`),
  );
}

/** What an earlier life stored. When that is damaged it is kept aside, and this agent votes again only once the others have seated it anew. */
function rememberedState(store: StateStore, log: Logger): Durable | null {
  const stored = store.read(stateRecord);
  if (stored === null) return null;
  const durable = decodeDurable(stored);
  if (durable.ok) return durable.value;
  store.write(`${stateRecord}.damaged`, stored);
  log.error(
    `the stored state is damaged: ${durable.reason}; it is kept as ${stateRecord}.damaged, and this replica begins anew`,
  );
  return null;
}

/** The link address of who carries no frames of the service. */
const noMac = '00:00:00:00:00:00';

/** What a replica has of its host and segment, and what its rules are made for. */
interface ReplicaHost {
  readonly host: TakenHost;
  readonly segment: Segment;
  readonly flows: FlowTable;
  readonly resets: HeldResets;
  readonly service: ServiceEntry;
  /** In group delivery alone. */
  readonly group: GroupHost | null;
}

async function replicaHost(
  config: AgentConfig,
  configured: ServiceEntry,
  store: StateStore,
  log: Logger,
  closers: Closers,
  taken: { host: TakenHost | null },
  driver: () => Driver | null,
): Promise<ReplicaHost> {
  if (config.delivery === 'group') {
    const group = groupHost(configured);
    taken.host = group.host;
    return { ...group, resets: noResets, service: configured, group };
  }
  // Before the rules that need somebody to listen.
  const resets = openHeldResets(configured.name, openNftables(), log, (...flow) => driver()?.unknown(...flow));
  closers.push(() => resets.close());
  const service = resets.group === null ? configured : { ...configured, resetGroup: resets.group };
  const host = await takeHost(service, groupOf(config), store);
  taken.host = host;
  const segment = joinSegment(config, service, log, (peer) => driver()?.alive(peer));
  closers.push(() => segment.close());
  return { host, segment, flows: openFlowTable(service.address), resets, service, group: null };
}

/** Checks the local server, and tells when it begins or ceases to answer, or to take datagrams. Returns what ends it. */
function watchServer(
  config: AgentConfig,
  service: ServiceEntry,
  group: GroupHost | null,
  log: Logger,
  driver: Driver,
): () => void {
  let isServed = group === null;
  const health = watchHealth({
    checks: healthChecksOf(config),
    clock: monotonicClock,
    onChange(healthy, reason) {
      if (healthy) log.info('the local server is healthy');
      else log.warn(`the local server is not healthy: ${reason}`);
      driver.health(healthy && isServed);
    },
  });
  driver.health(health.view().healthy && isServed);
  if (!group) return () => health.stop();
  const unwatch = watchSockets(service, group, (served, missing) => {
    if (served) log.info('applications take datagrams on every port of the service');
    else log.warn(`no application takes datagrams on port ${missing.join(', ')}`);
    isServed = served;
    driver.health(health.view().healthy && isServed);
  });
  return () => {
    unwatch();
    health.stop();
  };
}

function openControl(
  { node, control, routers }: AgentConfig,
  log: Logger,
  onDatagram: (datagram: Uint8Array, via: Via) => void,
): Promise<ControlNetwork> {
  return openUdpControlNetwork({
    address: defined(control.peers[node], 'the checked address of this node'),
    group: control.group,
    port: control.port,
    peers: new Map(Object.entries({ ...control.peers, ...routers })),
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
