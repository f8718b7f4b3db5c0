import type { Logger } from 'pino';
import { messageOf, OperatingError } from '../base/operating-error.ts';
import { refuse } from '../base/result.ts';
import { flowKey, type TcpFlow } from '../base/tcp-flow.ts';
import { listShareMax } from '../control/draining.ts';
import type { ControlView } from '../control/io.ts';
import type { DataPlane } from '../dataplane/data-plane.ts';
import type { ServiceEntry } from '../dataplane/forwarding-table.ts';
import type { UdpFlow } from '../dataplane/staying.ts';
import { flowsOfSlots } from '../handoff/flows-of-slots.ts';
import { type Given, phases } from '../handoff/giving.ts';
import type { Clock } from '../ports/clock.ts';
import type { FlowTable } from '../ports/flow-table.ts';
import { slotOf } from '../space/partition.ts';
import { type AgentConfig, readCertificates } from './config.ts';
import type { GroupHost } from './group.ts';
import { type LinkStatus, noLinks } from './link-status.ts';
import { openSdkEndpoint, type SdkEndpoint } from './sdk-endpoint.ts';
import { openSessions, type SessionApplication, type Sessions } from './sessions.ts';
import { openTransfers, type Transfers } from './transfers.ts';

/** How often it is looked whether a slot has been given away, while applications are there. */
const lookMs = 100;
/** How often once the map has stood for a while, */
const lookRarelyMs = 500;
/** which is so long. */
const soonMs = 1000;
/** How often connections that stayed are tried again: an application may have been in the middle of something. */
const retryMs = 1000;
/** Connections that are moved together stand still together, a millisecond for each; of idle ones few clients notice, and busy ones go alone. Together they cost half of what each costs by itself. */
const batchFlows = 8;
const toldAgainMs = 60_000;
const toldMax = 100;
/** While the connections of one batch stand still, the packets of the next begin to be held. */
const batchesAtATime = 2;

/** What the daemon has that applications and their connections concern. */
export interface SdkParts {
  readonly service: ServiceEntry;
  readonly dataPlane: DataPlane;
  readonly flows: FlowTable;
  readonly clock: Clock;
  readonly view: () => ControlView;
  /** In group delivery: there are no connections to move. */
  readonly group: GroupHost | null;
}

/** What hears applications, and moves their connections. */
export interface Sdk {
  links(): LinkStatus;
  close(): Promise<void>;
}

interface Handover extends SdkParts {
  readonly endpoint: SdkEndpoint;
  /** Null where connections cannot be moved. */
  readonly transfers: Transfers | null;
  readonly log: Logger;
  /** Why connections stay, and until when it need not be said again. */
  readonly told: Map<string, number>;
}

/**
 * Hears applications with the SDK. Of slots that this host has given away, their connections are moved to the new owner, where policy, configuration and host allow it;
 * or the applications are told that it is a convenient point to end them. Null without `sdk`.
 */
export async function openSdk(config: AgentConfig, parts: SdkParts, log: Logger): Promise<Sdk | null> {
  if (!config.sdk) return null;
  if (parts.group) return openDatagramSdk(config, config.sdk.socket, parts.group, parts, log);
  const endpoint = await openSdkEndpoint(config.sdk.socket, {
    node: config.node,
    onComplaint: (reason) => log.warn(reason),
  });
  const transfers = await transfersOf(config, parts, endpoint, log).catch(async (error: unknown) => {
    await endpoint.close();
    throw error;
  });
  const rounds = startRounds({ ...parts, endpoint, transfers, log, told: new Map() });
  return {
    links: () => transfers?.links() ?? noLinks,
    async close() {
      await rounds.stop();
      await transfers?.close();
      await endpoint.close();
    },
  };
}

/** In group delivery there are no connections, but sockets that take datagrams, and sessions. */
async function openDatagramSdk(
  config: AgentConfig,
  path: string,
  group: GroupHost,
  { service, clock, view }: SdkParts,
  log: Logger,
): Promise<Sdk> {
  const { cluster, node, control } = config;
  const { ports } = group;
  let sessions: Sessions | null = null;
  const endpoint = await openSdkEndpoint(path, {
    node,
    onComplaint: (reason) => log.warn(reason),
    datagrams: { plane: group.plane, ports, onPassed: (...passed) => sessions?.passed(...passed) },
  });
  const tls = readCertificates(config);
  if (!tls) log.info('sessions are not moved to other replicas: agent.yaml names no certificates');
  else {
    const links = { tls, cluster, node, peers: control.peers, port: control.port };
    const kept = (): Iterable<UdpFlow> => group.plane.kept();
    const applicationOf = (port: number): SessionApplication | null => ports.get(port)?.sessions ?? null;
    const shared = { ...links, partition: service.partition, clock, view, kept, applicationOf, log };
    sessions = await openSessions(shared).catch(async (error: unknown) => {
      await endpoint.close();
      throw error;
    });
  }
  return {
    links: () => sessions?.links() ?? noLinks,
    async close() {
      await sessions?.close();
      await endpoint.close();
    },
  };
}

/** Null, and a line in the log, where connections cannot be moved: they are forwarded then. */
async function transfersOf(
  config: AgentConfig,
  parts: SdkParts,
  endpoint: SdkEndpoint,
  log: Logger,
): Promise<Transfers | null> {
  const tls = readCertificates(config);
  if (!tls) {
    log.info('connections are not moved to other replicas, only forwarded: agent.yaml names no certificates');
    return null;
  }
  const { cluster, node, control } = config;
  try {
    const onFailure = (error: unknown): void =>
      log.error({ err: error }, `taking connections over failed: ${messageOf(error)}`);
    const links = { cluster, node, tls, peers: control.peers, port: control.port };
    return await openTransfers({ ...parts, ...links, endpoint, onFailure });
  } catch (error) {
    const remedy = error instanceof OperatingError && error.remedy ? `; ${error.remedy}` : '';
    log.error(`connections are not moved to other replicas, only forwarded: ${messageOf(error)}${remedy}`);
    return null;
  }
}

function startRounds(handover: Handover): { stop(): Promise<void> } {
  const { clock, log } = handover;
  const looks: Looks = { doneUntil: new Map(), epoch: 0, changedAt: 0, lookedAt: 0, lookingMs: 0 };
  let stopped = false;
  let cancel = (): void => {};
  let running = Promise.resolve();
  const next = (): void => {
    if (stopped) return;
    cancel = clock.wakeAt(clock.now() + lookMs, () => {
      running = round(handover, looks, () => stopped)
        .catch((error: unknown) => log.error({ err: error }, `handing connections over failed: ${messageOf(error)}`))
        .then(next);
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

/** What the rounds remember; monotonic milliseconds. */
interface Looks {
  /** By connection, when it is to be thought of again. */
  readonly doneUntil: Map<string, number>;
  /** Of the map that was in force last, and since when. */
  epoch: number;
  changedAt: number;
  /** When connections were looked for last, and how long that took. */
  lookedAt: number;
  lookingMs: number;
}

/** At each round for a while after the map has changed, and rarely later: connections of a slot that is given away only become fewer. */
function isTimeToLook(looks: Looks, epoch: number, now: number): boolean {
  if (epoch !== looks.epoch) {
    looks.epoch = epoch;
    looks.changedAt = now;
  }
  const pauseMs = now < looks.changedAt + soonMs ? 0 : lookRarelyMs;
  return now >= looks.lookedAt + Math.max(pauseMs, looks.lookingMs / listShareMax);
}

async function round(handover: Handover, looks: Looks, isStopped: () => boolean): Promise<void> {
  const { clock, endpoint, transfers, view } = handover;
  const { doneUntil } = looks;
  const now = clock.now();
  for (const [key, until] of doneUntil) if (until <= now) doneUntil.delete(key);
  if (endpoint.ports().length === 0) return;
  const { draining, policy, epoch } = view();
  if (draining.size === 0 || !policy || !isTimeToLook(looks, epoch, now)) return;
  const byPeer = leaving(handover, draining);
  looks.lookedAt = now;
  looks.lookingMs = clock.now() - now;
  for (const [peer, flows] of byPeer) {
    const due = flows.filter((flow) => !doneUntil.has(flowKey(flow)));
    if (policy.handoff === 'forward' || policy.handoff === 'tag') {
      endpoint.finish(due);
      for (const flow of due) doneUntil.set(flowKey(flow), now + policy.drainDeadline * 1000);
    } else if (policy.handoff === 'transfer' && transfers) {
      await moveAll(handover, transfers, { peer, flows: due, doneUntil }, isStopped);
    }
  }
}

interface Due {
  readonly peer: string;
  readonly flows: readonly TcpFlow[];
  readonly doneUntil: Map<string, number>;
}

async function moveAll(handover: Handover, transfers: Transfers, due: Due, isStopped: () => boolean): Promise<void> {
  const { clock, log } = handover;
  const { peer, flows } = due;
  const begin = clock.now();
  const given: Given[] = [];
  const alone: TcpFlow[] = [];
  let at = 0;
  const moveInTurn = async (): Promise<void> => {
    while (at < flows.length && !isStopped()) {
      const batch = flows.slice(at, at + batchFlows);
      at += batch.length;
      const done = await move(handover, transfers, { ...due, flows: batch });
      given.push(done);
      alone.push(...done.alone);
    }
  };
  await Promise.all(Array.from({ length: batchesAtATime }, moveInTurn));
  for (const flow of alone) if (!isStopped()) given.push(await move(handover, transfers, { ...due, flows: [flow] }));
  tellStaying(handover, given);
  const moved = given.filter(({ outcomes }) => outcomes.some(({ ok: hasMoved }) => hasMoved));
  const connections = moved.flatMap(({ outcomes }) => outcomes.filter((outcome) => outcome.ok)).length;
  if (connections === 0) return;
  const figures = { ms: clock.now() - begin, phasesMs: meansOf(moved) };
  log.info({ peer, connections, ...figures }, `${connections} connections moved to ${peer}`);
}

/** Once in a while for each reason: they are tried again every second. */
function tellStaying({ clock, log, told }: Handover, given: readonly Given[]): void {
  const reasons = given.flatMap(({ outcomes }) => outcomes.flatMap((outcome) => (outcome.ok ? [] : [outcome.reason])));
  for (const reason of new Set(reasons)) {
    // Lengths of queues differ every time.
    const kind = reason.replace(/\d+/g, '');
    if ((told.get(kind) ?? 0) > clock.now()) continue;
    if (told.size >= toldMax) told.clear();
    told.set(kind, clock.now() + toldAgainMs);
    const count = reasons.filter((each) => each === reason).length;
    log.info({ connections: count }, `${count} connections stay and are forwarded for now: ${reason}`);
  }
}

/** Milliseconds a batch spends in each phase. */
function meansOf(given: readonly Given[]): Given['phasesMs'] {
  const mean = (of: readonly number[]): number => of.reduce((sum, each) => sum + each, 0) / Math.max(1, of.length);
  return Object.fromEntries(
    phases.map((phase) => [phase, mean(given.flatMap(({ phasesMs }) => phasesMs[phase] ?? []))]),
  );
}

async function move({ clock, log }: Handover, transfers: Transfers, { peer, flows, doneUntil }: Due): Promise<Given> {
  const failed = (error: unknown): Given => {
    return { flows, outcomes: flows.map(() => refuse(messageOf(error))), alone: [], phasesMs: {} };
  };
  const given = await transfers.give(peer, flows).catch(failed);
  log.debug({ peer, phasesMs: given.phasesMs }, `${given.flows.length} connections tried`);
  given.flows.forEach((flow, i) => {
    const outcome = given.outcomes[i];
    if (outcome?.ok) return;
    doneUntil.set(flowKey(flow), clock.now() + retryMs);
    log.debug({ peer, flow: flowKey(flow) }, `a connection stays: ${outcome?.reason}`);
  });
  return given;
}

/** Connections of slots that this host has given away, by the replica that owns them now. */
function leaving({ flows, service, endpoint }: Handover, draining: ControlView['draining']): Map<string, TcpFlow[]> {
  const byPeer = new Map<string, TcpFlow[]>();
  const listed = flowsOfSlots(flows.list(), service.partition, new Set(draining.keys()), endpoint.ports());
  for (const { client, clientPort, servicePort } of listed) {
    const peer = draining.get(slotOf(service.partition, client));
    if (peer === undefined) continue;
    const already = byPeer.get(peer) ?? [];
    already.push({ client, clientPort, servicePort });
    byPeer.set(peer, already);
  }
  return byPeer;
}
