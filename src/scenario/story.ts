import { movingSteps } from './command-moves.ts';
import type { Ownership } from './ownership.ts';
import type { RunRecords, SessionRecord, StepRecord } from './records.ts';

/** The time from a step to the next, or to the end. */
interface Chapter {
  readonly step: StepRecord;
  readonly from: number;
  readonly until: number;
  /** Of each slot, at both ends. */
  readonly before: Owners;
  readonly after: Owners;
}

type Owners = ReadonlyMap<number, string | null>;

/** What came of each step of the timeline until the next, in words for people; in the order of the steps. */
export function storyOf(
  records: RunRecords,
  ownership: Ownership,
  slotOfClient: (client: string) => number,
  failoverMs: Readonly<Partial<Record<string, number>>>,
): string[] {
  const { steps, tables, end } = records;
  const slots = new Set(tables.flatMap((table) => [...table.slots]));
  const ownersAt = (at: number): Owners => new Map([...slots].map((slot) => [slot, ownership.ownerAt(slot, at)]));
  const owners = [...steps.map(({ at }) => at), end].map(ownersAt);
  const sessions = sessionsOf(records);
  return steps.map((step, i) => {
    const [before, after] = [owners[i] ?? new Map(), owners[i + 1] ?? new Map()];
    const chapter: Chapter = { step, from: step.at, until: steps[i + 1]?.at ?? end, before, after };
    const parts = [
      ...(movingSteps.includes(step.what) ? [moved(chapter)] : []),
      ...fates(chapter, sessions, slotOfClient),
      ...(step.what === 'cut' || step.what === 'kill host' ? [failover(failoverMs[step.what])] : []),
      requests(chapter, records),
    ];
    return parts.filter((part) => part !== '').join('; ');
  });
}

function moved({ before, after }: Chapter): string {
  const changed = [...after].filter(([slot, owner]) => before.get(slot) !== owner).length;
  return changed === 0 ? '' : `${changed} of ${after.size} slots of clients change their replica`;
}

/** What became of the connections that were open. */
function fates(
  { step, from, until, before, after }: Chapter,
  sessions: readonly (readonly SessionRecord[])[],
  slotOfClient: (client: string) => number,
): string[] {
  const counts = { stay: 0, along: 0, reset: 0, lost: 0 };
  for (const events of sessions) {
    const last = events.filter(({ at }) => at <= from).at(-1);
    const during = events.filter(({ at }) => at > from && at <= until).map(({ what }) => what);
    if (!last || !isOpen(last)) continue;
    const slot = slotOfClient(last.client);
    const owner = after.get(slot);
    const given = movingSteps.includes(step.what) && before.get(slot) !== owner;
    if (during.includes('moved')) counts.along++;
    else if (during.includes('reset')) counts.reset++;
    else if (during.length > 0) counts.lost++;
    else if (given && owner !== last.replica) counts.stay++;
  }
  return [
    counted(counts.along, 'moves along', 'move along, mid-conversation'),
    counted(counts.stay, 'stays where it is', 'stay where they are'),
    counted(counts.reset, 'is reset', 'are reset'),
    counted(counts.lost, 'is lost', 'are lost'),
  ];
}

function counted(count: number, one: string, several: string): string {
  if (count === 0) return '';
  return count === 1 ? `1 open connection ${one}` : `${count} open connections ${several}`;
}

function failover(ms: number | undefined): string {
  return ms === undefined ? '' : `others answer its clients within ${(ms / 1000).toFixed(1)} s`;
}

function requests({ from, until }: Chapter, records: RunRecords): string {
  const asked = records.requests.filter(({ at }) => at >= from && at < until);
  const failed = asked.filter(({ failure }) => failure !== null).length;
  if (asked.length === 0) return '';
  return `${asked.length} requests, ${failed === 0 ? 'none fails' : `${failed} without an answer`}`;
}

/** Of each session what happened to it, oldest first. */
export function sessionsOf({ sessions: all }: Pick<RunRecords, 'sessions'>): SessionRecord[][] {
  const bySession = new Map<string, SessionRecord[]>();
  for (const each of all) {
    const events = bySession.get(each.session);
    if (events) events.push(each);
    else bySession.set(each.session, [each]);
  }
  return [...bySession.values()].map((events) => events.sort((a, b) => a.at - b.at));
}

/** Whether a session is open after this. */
export function isOpen({ what }: SessionRecord): boolean {
  return what === 'open' || what === 'moved';
}
