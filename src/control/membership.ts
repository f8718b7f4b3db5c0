import type { Heartbeat } from '../wire/control-message.ts';
import type { Via } from '../wire/envelope.ts';
import type { Timers } from './timers.ts';

/**
 * Who is heard, since when, how, and what each said last. The own name is never among the peers here. Whoever is revoked counts as not heard at
 * all, save for how long its silence lasts and in the list of heartbeats: a lease that it was granted before may still run.
 */
export interface Membership {
  readonly others: readonly string[];
  /** The authority has taken the certificates of these back, and of no others. */
  revoke(names: readonly string[]): void;
  isRevoked(name: string): boolean;
  /** Notes a heartbeat; false when a newer one of the same session was noted before. */
  hear(name: string, session: number, heartbeat: Heartbeat, via: Via, now: number): boolean;
  newest(name: string): Heartbeat | null;
  /** Number of the life of its agent that said it; 0 for none. */
  session(name: string): number;
  /** Milliseconds since that life was heard first; 0 for none. */
  age(name: string, now: number): number;
  /** Its newest heartbeat says that it hears this agent. */
  answers(name: string): boolean;
  /** Who has not answered own heartbeat `round` or a later one, of those that answered any within `deadMs`. */
  lacking(round: number, now: number): string[];
  /** Milliseconds since the last heartbeat that said so, or since the own start when there was none. */
  unanswered(name: string, now: number): number;
  /** Milliseconds since the last heartbeat, or since the own start when there was none. */
  silence(name: string, now: number): number;
  /** A heartbeat came within `heardMs`. */
  heard(name: string, now: number): boolean;
  /** Heard without a gap for `stableMs`; twice as long each time it was lost again soon, up to `stableMsMax`. */
  stable(name: string, now: number): boolean;
  /** How the peer is heard of late; null when it is not. */
  via(name: string, now: number): Via | null;
  /** The peers whose newest heartbeat does not say that multicast reaches them. */
  unreachedByMulticast(now: number): string[];
  /** The list a heartbeat carries: who was heard within `silenceMs`, also when it was revoked meanwhile. So who is not in it has for as long sent nothing that was answered from here, if this life has lasted that long. */
  heardList(now: number): Heartbeat['heard'];
}

interface Contact {
  readonly session: number;
  /** When this session was heard first. */
  readonly bornAt: number;
  readonly heartbeat: Heartbeat;
  /** What it says of this agent; undefined when it does not hear it. */
  readonly answer: Heartbeat['heard'][number] | undefined;
  readonly at: number;
  readonly answeredAt: number;
  /** When the present run of heartbeats without a gap began. */
  readonly since: number;
  /** How often it was lost again soon. */
  readonly relapses: number;
  /** When it was heard by multicast last. */
  multicastAt: number;
}

export function createMembership(node: string, peers: readonly string[], timers: Timers, start: number): Membership {
  const others = peers.filter((peer) => peer !== node).sort();
  const contacts = new Map<string, Contact>();
  let revoked: ReadonlySet<string> = new Set();
  /** What it said last counts. */
  const believed = (name: string) => (revoked.size > 0 && revoked.has(name) ? undefined : contacts.get(name));

  const silence = (name: string, now: number) => now - (contacts.get(name)?.at ?? start);
  const heard = (name: string, now: number) => now - (believed(name)?.at ?? Number.NEGATIVE_INFINITY) <= timers.heardMs;
  const unanswered = (name: string, now: number) => now - (contacts.get(name)?.answeredAt ?? start);
  const multicastHeard = (name: string, now: number) =>
    now - (contacts.get(name)?.multicastAt ?? Number.NEGATIVE_INFINITY) <= timers.heardMs;

  return {
    others,
    revoke: (names) => {
      revoked = new Set(names);
    },
    isRevoked: (name) => revoked.has(name),
    silence,
    heard,
    answers: (name) => believed(name)?.answer !== undefined,
    lacking: (round, now) =>
      others.filter((name) => unanswered(name, now) < timers.deadMs && (believed(name)?.answer?.round ?? 0) < round),
    unanswered,
    hear(name, session, heartbeat, via, now) {
      const last = contacts.get(name);
      if (last && last.session === session && heartbeat.round <= last.heartbeat.round) {
        // The same round by the other way: nothing new, but it tells that multicast works.
        if (via === 'multicast') last.multicastAt = now;
        return false;
      }
      contacts.set(name, contactAfter(last, timers, { node, session, heartbeat, via, start, now }));
      return true;
    },
    newest: (name) => believed(name)?.heartbeat ?? null,
    session: (name) => contacts.get(name)?.session ?? 0,
    age: (name, now) => now - (contacts.get(name)?.bornAt ?? now),
    stable(name, now) {
      const contact = believed(name);
      return (
        contact !== undefined &&
        silence(name, now) <= timers.silenceMs &&
        now - contact.since >= stableMsOf(contact, timers)
      );
    },
    via: (name, now) => (heard(name, now) ? (multicastHeard(name, now) ? 'multicast' : 'unicast') : null),
    unreachedByMulticast: (now) =>
      others.filter((name) => !revoked.has(name) && (!heard(name, now) || !contacts.get(name)?.answer?.multicast)),
    heardList(now) {
      const list: Heartbeat['heard'][number][] = [];
      for (const name of others) {
        const contact = contacts.get(name);
        if (contact === undefined || now - contact.at >= timers.silenceMs) continue;
        list.push({ name, round: contact.heartbeat.round, multicast: multicastHeard(name, now) });
      }
      return list;
    },
  };
}

function contactAfter(
  last: Contact | undefined,
  timers: Timers,
  heard: Pick<Contact, 'session' | 'heartbeat'> & {
    readonly node: string;
    readonly via: Via;
    readonly start: number;
    readonly now: number;
  },
): Contact {
  const { node, session, heartbeat, via, start, now } = heard;
  const answer = heartbeat.heard.find((each) => each.name === node);
  const goesOn = last !== undefined && now - last.at <= timers.silenceMs;
  return {
    session,
    bornAt: last?.session === session ? last.bornAt : now,
    heartbeat,
    answer,
    at: now,
    answeredAt: answer ? now : (last?.answeredAt ?? start),
    since: goesOn ? last.since : now,
    relapses: goesOn ? last.relapses : relapsesAfter(last, timers),
    multicastAt: via === 'multicast' ? now : (last?.multicastAt ?? Number.NEGATIVE_INFINITY),
  };
}

/** After a gap a run begins anew; lost again within a while, a peer has one relapse more, else none. */
function relapsesAfter(last: Contact | undefined, { forgivenMs }: Timers): number {
  return last !== undefined && last.at - last.since < forgivenMs ? last.relapses + 1 : 0;
}

function stableMsOf({ relapses }: Contact, { stableMs, stableMsMax }: Timers): number {
  return Math.min(stableMs * 2 ** relapses, stableMsMax);
}
