import { commandMoves, movingSteps } from './command-moves.ts';
import { lapsesOf } from './lapses.ts';
import type { Measures } from './measures.ts';
import { type Ownership, ownershipFrom } from './ownership.ts';
import type { RequestRecord, RunRecords, SessionRecord, StepRecord } from './records.ts';
import { routingMeasures } from './routing.ts';
import { serviceMeasures } from './service-gaps.ts';
import { storyOf } from './story.ts';
import { trafficMeasures } from './traffic.ts';

/** How long after the loss of a host a failed request may still be blamed on it, beyond the moment its slot was taken over. */
const graceMs = 50;

export interface Verdict {
  readonly measures: Measures;
  /** Of each way in which hosts were lost, the longest that clients waited for another replica. */
  readonly failovers: Readonly<Partial<Record<HostLoss['what'], number>>>;
  /** What came of each step, in words. */
  readonly story: readonly string[];
  /** Requests that failed and are blamed on no lost host: what to look at. */
  readonly failures: readonly RequestRecord[];
}

/** What the records say: pure, so that it can be shown bad examples. */
export function judge(records: RunRecords, slotOfClient: (client: string) => number): Verdict {
  const ownership = ownershipFrom(records.tables, lapsesOf(records));
  const losses = records.steps.filter((step) => step.what === 'cut' || step.what === 'kill host') as HostLoss[];
  const failed = records.requests.filter(({ failure }) => failure !== null);
  const lost = failed.filter((request) => lostWithHost(request, losses, ownership, slotOfClient(request.client)));
  const failures = failed.filter((request) => !lost.includes(request));
  const failovers = failoverGaps(records, losses, ownership, slotOfClient);
  const measures: Measures = {
    'requests.total': records.requests.length,
    'requests.failed': failures.length,
    'requests.cut': lost.length,
    'requests.retried': records.requests.filter(({ retried }) => retried).length,
    ...answerMeasures(records, ownership, slotOfClient),
    'resets.sent': records.segments.filter(({ kind, port }) => kind === 'rst' && records.replicas.includes(port))
      .length,
    ...connectionMeasures(records, losses),
    ...moveMeasures(records),
    'failover.gapMs': Math.max(0, ...Object.values(failovers)),
    ...serviceMeasures(records),
    ...trafficMeasures(
      records,
      new Set(records.sessions.filter((each) => isCut(each, losses)).map(({ session }) => session)),
    ),
    'datagrams.astray': strayFlows(records, ownership, slotOfClient),
    'commands.moves': commandMoves(records, ownership, slotOfClient),
    ...routingMeasures(records.routing),
    'capture.drops': records.drops,
  };
  return { measures, failovers, failures, story: storyOf(records, ownership, slotOfClient, failovers) };
}

type HostLoss = Extract<StepRecord, { replica: string }> & { readonly what: 'cut' | 'kill host' };

/** Its slot was the lost host's, and the request began before anybody else had taken the slot over. */
function lostWithHost(
  request: RequestRecord,
  losses: readonly HostLoss[],
  ownership: Ownership,
  slot: number,
): boolean {
  return losses.some(({ at, replica }) => {
    if (ownership.ownerAt(slot, at) !== replica || request.at + request.durationMs < at) return false;
    const taken = ownership.takenOver(slot, replica, at);
    return taken === null || request.at <= taken + graceMs;
  });
}

/** Flows of datagrams that began at a replica that took no new ones of their slot while they did. */
function strayFlows({ datagrams }: RunRecords, ownership: Ownership, slotOfClient: (client: string) => number): number {
  return datagrams
    .flatMap(({ client, begun }) => begun.map((each) => ({ ...each, slot: slotOfClient(client) })))
    .filter(({ replica, slot, sentAt, answeredAt }) => !ownership.accepted(replica, slot, sentAt, answeredAt)).length;
}

interface Connection {
  readonly slot: number;
  readonly syns: number[];
  /** Who answered its SYN or its request. */
  readonly answered: Set<string>;
  /** Reset by somebody who neither answered it nor owned its slot then. */
  strayReset: boolean;
}

/** Connections by client, port and initial sequence number. */
function answerMeasures(
  { segments, requests }: RunRecords,
  ownership: Ownership,
  slotOfClient: (client: string) => number,
): Pick<Measures, 'answers.wrongReplica' | 'answers.byTwo'> {
  const connections = new Map<string, Connection>();
  // Those too that were only ever reset, of which no sequence number tells.
  const all = new Set<Connection>();
  // Ports are used again: of each endpoint its connections, oldest first.
  const byEndpoint = new Map<string, Connection[]>();
  for (const { client, clientPort, sequence, kind, at, port } of [...segments].sort((a, b) => a.at - b.at)) {
    const endpoint = `${client} ${clientPort}`;
    const key = `${endpoint} ${sequence}`;
    const fresh = {
      slot: slotOfClient(client),
      syns: [],
      relayed: false,
      answered: new Set<string>(),
      strayReset: false,
    };
    const sofar = byEndpoint.get(endpoint) ?? [];
    const connection = (sequence === null ? sofar.at(-1) : connections.get(key)) ?? fresh;
    if (sequence !== null) connections.set(key, connection);
    if (connection === fresh) byEndpoint.set(endpoint, [...sofar, fresh]);
    all.add(connection);
    if (kind === 'syn') connection.syns.push(at);
    else if (kind === 'syn-ack') connection.answered.add(port);
    else if (!connection.answered.has(port) && !ownership.accepted(port, connection.slot, at))
      connection.strayReset = true;
  }
  for (const { client, clientPort, replica, at, durationMs } of requests) {
    if (replica === null) continue;
    const asked = byEndpoint
      .get(`${client} ${clientPort}`)
      ?.filter(({ syns: [first = 0] }) => first <= at + durationMs);
    asked?.at(-1)?.answered.add(replica);
  }
  const wrong = ({ slot, syns, answered, strayReset }: Connection): boolean =>
    strayReset || [...answered].some((replica) => !syns.some((at) => ownership.accepted(replica, slot, at)));
  return {
    'answers.wrongReplica': [...all].filter(wrong).length,
    'answers.byTwo': [...all].filter(({ answered }) => answered.size > 1).length,
  };
}

function connectionMeasures(
  { sessions, sessionsAsked }: RunRecords,
  losses: readonly HostLoss[],
): Pick<
  Measures,
  | 'connections.total'
  | 'connections.moved'
  | 'connections.reset'
  | 'connections.reconnected'
  | 'connections.cut'
  | 'connections.broken'
> {
  const counts = { moved: 0, reset: 0, reconnected: 0, cut: 0, broken: 0 };
  const bySession = new Map<string, SessionRecord[]>();
  for (const each of sessions) bySession.set(each.session, [...(bySession.get(each.session) ?? []), each]);
  for (const events of bySession.values()) {
    let lostBy: 'reset' | 'other' | null = null;
    for (const event of events) {
      const { what } = event;
      if (what === 'moved') {
        counts.moved++;
      } else if (what === 'open') {
        if (lostBy === 'reset') counts.reconnected++;
        lostBy = null;
      } else if (what === 'failed') {
        lostBy ??= 'other';
      } else if (isCut(event, losses)) {
        counts.cut++;
        lostBy = 'other';
      } else {
        counts[what === 'reset' ? 'reset' : 'broken']++;
        lostBy = what === 'reset' ? 'reset' : 'other';
      }
    }
    if (lostBy !== null) counts.broken++;
  }
  const neverOpened =
    sessionsAsked - [...bySession.values()].filter((events) => events.some(({ what }) => what === 'open')).length;
  return {
    'connections.total': sessionsAsked,
    'connections.moved': counts.moved,
    'connections.reset': counts.reset,
    'connections.reconnected': counts.reconnected,
    'connections.cut': counts.cut,
    'connections.broken': counts.broken + neverOpened,
  };
}

/** A connection that ended with the host that had it. */
function isCut({ what, at, replica }: SessionRecord, losses: readonly HostLoss[]): boolean {
  const isEnd = what === 'reset' || what === 'stall' || what === 'closed';
  return isEnd && losses.some((each) => each.replica === replica && at >= each.at);
}

/** For each step that moves slots, what the kernels did until the next step. */
function moveMeasures(records: RunRecords): Pick<Measures, 'move.slots' | 'move.durationMs'> {
  const { steps, tables, end } = records;
  const lapses = lapsesOf(records);
  let slots = 0;
  let durationMs = 0;
  for (const [i, step] of steps.entries()) {
    if (!movingSteps.includes(step.what)) continue;
    const until = steps[i + 1]?.at ?? end;
    const during = tables.filter((table) => table.begin >= step.at && table.end <= until);
    if (during.length === 0) continue;
    const last = Math.max(...during.map((table) => table.end));
    const before = ownershipFrom(
      tables.filter((table) => table.end <= step.at),
      lapses,
    );
    const after = ownershipFrom(
      tables.filter((table) => table.end <= last),
      lapses,
    );
    const known = new Set(tables.flatMap((table) => [...table.slots]));
    slots += [...known].filter((slot) => before.ownerAt(slot, step.at) !== after.ownerAt(slot, last)).length;
    durationMs = Math.max(durationMs, last - step.at);
  }
  return { 'move.slots': slots, 'move.durationMs': Math.round(durationMs) };
}

function failoverGaps(
  { requests, end }: RunRecords,
  losses: readonly HostLoss[],
  ownership: Ownership,
  slotOfClient: (client: string) => number,
): Verdict['failovers'] {
  const clients = [...new Set(requests.map(({ client }) => client))];
  const longest: Partial<Record<HostLoss['what'], number>> = {};
  for (const { what, at, replica } of losses) {
    const orphans = clients.filter((client) => ownership.ownerAt(slotOfClient(client), at) === replica);
    const gaps = orphans.map((orphan) => {
      const answers = requests
        .filter((request) => request.client === orphan && request.failure === null && request.replica !== replica)
        .map((request) => request.at + request.durationMs)
        .filter((answered) => answered > at);
      return Math.min(end, ...answers) - at;
    });
    if (gaps.length > 0) longest[what] = Math.round(Math.max(longest[what] ?? 0, ...gaps));
  }
  return longest;
}
