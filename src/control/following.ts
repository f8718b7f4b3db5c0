import type { Heartbeat } from '../wire/control-message.ts';
import { compareVersions, type Ledger, noVersion, versionOf } from '../wire/ledger.ts';
import type { Membership } from './membership.ts';
import type { Rounds } from './rounds.ts';
import type { Timers } from './timers.ts';
import { majorityOf, type Voters } from './voters.ts';

export interface FollowingConfig {
  readonly node: string;
  readonly voters: Voters;
  readonly timers: Timers;
  readonly membership: Membership;
  readonly rounds: Rounds;
  readonly start: number;
  /** The ledger that this agent stores. */
  readonly held: () => Ledger | null;
  /** From an earlier life. */
  readonly term: number;
  readonly name: string | null;
}

/**
 * Whom this agent follows as coordinator, and whether it may coordinate itself.
 *
 * At most one coordinator has authority at any instant: authority ends `authorityMs` after the sending of the newest
 * heartbeat that a majority of the voters answered while following it, and a voter that answered follows nobody else
 * before `silenceMs` of silence from the receipt on, which is later (Raft's elections with leader leases: Ongaro 2014,
 * sections 3.4, 4.2.3 and 6.4.1). An agent that is no voter follows whoever coordinates.
 */
export class Following {
  readonly #config: FollowingConfig;
  /** By voter: when the newest own heartbeat was sent that it answered in this term. */
  readonly #answered = new Map<string, number>();
  #term: number;
  #name: string | null;
  #heardAt: number;
  #freeSince: number;
  #stoodAt = Number.NEGATIVE_INFINITY;
  #authoritySince = Number.POSITIVE_INFINITY;

  constructor(config: FollowingConfig) {
    this.#config = config;
    this.#term = config.term;
    // An earlier life's support for itself ended with it; for another it still binds.
    this.#name = config.name === config.node ? null : config.name;
    this.#heardAt = config.start;
    this.#freeSince = config.start;
  }

  /** Newest term taken part in; it and `name` are stored before they are told to others. */
  get term(): number {
    return this.#term;
  }

  /** Whom this agent supports in `term`. */
  get name(): string | null {
    return this.#name;
  }

  /** Milliseconds since the one supported was heard last. */
  silentMs(now: number): number {
    return now - this.#heardAt;
  }

  /** Since when this agent has coordinated in this term; Infinity when it does not. */
  get authoritySince(): number {
    return this.#authoritySince;
  }

  hear(sender: string, heartbeat: Heartbeat, now: number): void {
    const stands = heartbeat.follow === sender;
    this.#noteAnswer(sender, heartbeat);
    this.#noteAuthority(now);
    if (this.#name === sender && heartbeat.term >= this.#term) {
      this.#follow(stands ? sender : null, stands ? heartbeat.term : this.#term, now);
    } else if (stands && heartbeat.coordinating) {
      const free = this.#name === null && heartbeat.term === this.#term;
      if (free || heartbeat.term > this.#term) this.#follow(sender, heartbeat.term, now);
    } else if (stands && this.#maySupport(now) && heartbeat.term > this.#term) {
      this.#follow(sender, heartbeat.term, now);
    }
  }

  /** Who says this gives its vote to this agent in its present term. */
  isSupport({ follow, term }: Heartbeat): boolean {
    return follow === this.#config.node && term === this.#term;
  }

  /** The newest heartbeats of those that support this agent. */
  supporters(): Heartbeat[] {
    const { membership } = this.#config;
    const heartbeats: Heartbeat[] = [];
    for (const name of membership.others) {
      const said = membership.newest(name);
      if (said && this.isSupport(said)) heartbeats.push(said);
    }
    return heartbeats;
  }

  /**
   * A voter that has answered lately holds a newer ledger, which is to be adopted first: it may also name other voters. One that has gone silent is not waited for: what was committed some of those hold
   * that are a majority without it.
   */
  #isBehind(now: number): boolean {
    const { node, membership, timers } = this.#config;
    if (this.#name !== node) return false;
    const held = versionOf(this.#config.held());
    if (held.term === this.#term) return false;
    const isNewer = ([name, at]: readonly [string, number]) =>
      now < at + timers.authorityMs && compareVersions(membership.newest(name)?.held ?? noVersion, held) > 0;
    return [...this.#answered].some(isNewer);
  }

  /** What `sender` says may matter at once: who follows a coordinator that is heard waits for the word of that one. */
  concerns(sender: string): boolean {
    return this.#name === null || this.#name === this.#config.node || this.#name === sender;
  }

  /** Ends support for the silent, and stands when it is time; without `mayStand` only the former. */
  step(now: number, mayStand: boolean): void {
    const { node, timers } = this.#config;
    if (this.#name === node) {
      const lostAt = Math.max(this.#stoodAt, this.quorumAt(now) + timers.authorityMs);
      const isStuck = this.#isBehind(now) && now >= this.#stoodAt + timers.deadMs;
      if (isStuck || now >= lostAt + timers.silenceMs) this.resign(now);
      else if (this.hasAuthority(now) && this.#isLeftBehind(now)) this.#stand(now);
    } else if (this.#name !== null && this.silentMs(now) >= timers.silenceMs) {
      this.resign(now);
    }
    if (mayStand && this.#isTimeToStand(now)) this.#stand(now);
    this.#noteAuthority(now);
  }

  /** Supports nobody any more, oneself included. */
  resign(now: number): void {
    this.#follow(null, this.#term, now);
  }

  /** This agent coordinates: a majority supported it a moment ago, and no voter that has answered lately holds a newer ledger. */
  hasAuthority(now: number): boolean {
    return now < this.quorumAt(now) + this.#config.timers.authorityMs && !this.#isBehind(now);
  }

  /** When the newest own heartbeat was sent that a majority of the voters answered; -Infinity when none was. */
  quorumAt(now: number): number {
    if (this.#name !== this.#config.node) return Number.NEGATIVE_INFINITY;
    const { voters, node } = this.#config;
    const answeredAt = (voter: string) =>
      voter === node ? now : (this.#answered.get(voter) ?? Number.NEGATIVE_INFINITY);
    let earliest = Number.POSITIVE_INFINITY;
    for (const each of voters.electorates)
      earliest = Math.min(earliest, nthLargest(voters.presentIn(each).map(answeredAt), majorityOf(each)));
    return earliest;
  }

  /** The newest heartbeat of the followed coordinator, when it says that it has authority; null when that is oneself. */
  coordinatorHeartbeat(): Heartbeat | null {
    if (this.#name === null || this.#name === this.#config.node) return null;
    const said = this.#config.membership.newest(this.#name);
    return said?.coordinating && said.follow === this.#name && said.term === this.#term ? said : null;
  }

  #follow(name: string | null, term: number, now: number): void {
    if (name === null && this.#name !== null) this.#freeSince = now;
    if (name !== this.#name || term !== this.#term) {
      this.#answered.clear();
      this.#authoritySince = Number.POSITIVE_INFINITY;
    }
    this.#name = name;
    this.#term = term;
    this.#heardAt = now;
  }

  #stand(now: number): void {
    const { membership, node } = this.#config;
    const terms = membership.others.map((each) => membership.newest(each)?.term ?? 0);
    this.#follow(node, Math.max(this.#term, ...terms) + 1, now);
    this.#stoodAt = now;
  }

  #noteAnswer(sender: string, heartbeat: Heartbeat): void {
    const { node, voters, rounds } = this.#config;
    // A vote that is withdrawn counts no more, as the ledger of who gave it is not waited for either.
    if (!this.isSupport(heartbeat)) this.#answered.delete(sender);
    if (this.#name !== node || !this.isSupport(heartbeat) || !voters.counts(sender)) return;
    const round = heartbeat.heard.find((each) => each.name === node)?.round;
    const sentAt = round === undefined ? undefined : rounds.sentAt(round);
    if (sentAt === undefined || sentAt < this.#stoodAt) return;
    this.#answered.set(sender, Math.max(sentAt, this.#answered.get(sender) ?? sentAt));
  }

  #noteAuthority(now: number): void {
    if (this.#isBehind(now)) this.#authoritySince = Number.POSITIVE_INFINITY;
    else if (this.hasAuthority(now)) this.#authoritySince = Math.min(this.#authoritySince, now);
  }

  /**
   * Support is given to the first that asks, whether this agent knows itself or the other for a voter or not: who counts is the other's to know, whose ledger may be
   * newer. Not before the support of an earlier life has run out.
   */
  #maySupport(now: number): boolean {
    const { start, timers } = this.#config;
    return this.#name === null && now >= start + timers.silenceMs;
  }

  #isTimeToStand(now: number): boolean {
    const { voters, node, timers, membership, start } = this.#config;
    if (!voters.isVoter || !this.#maySupport(now)) return false;
    if (!voters.areMost((voter) => voter === node || this.#isFree(voter, now))) return false;
    // Those too that still follow: they may hear an instant later what made this one free. Who holds a newer ledger need not wait for it.
    const isBefore = (voter: string) => {
      const said = membership.newest(voter);
      if (!said || said.leaving || !membership.heard(voter, now)) return false;
      const newer = compareVersions(said.held, versionOf(this.#config.held()));
      return newer > 0 || (newer === 0 && voter < node);
    };
    const since = Math.max(this.#freeSince, start + timers.silenceMs);
    return now >= since + voters.others().filter(isBefore).length * timers.standAfterMs;
  }

  /** The voter would give its vote; asked before a term is spent on it (Ongaro 2014, section 9.6). */
  #isFree(voter: string, now: number): boolean {
    const { membership } = this.#config;
    return membership.newest(voter)?.follow === null && membership.heard(voter, now) && membership.answers(voter);
  }

  /** Who is heard in a later term cannot follow this coordinator any more, unless it stands again above that. */
  #isLeftBehind(now: number): boolean {
    const { membership } = this.#config;
    return membership.others.some(
      (name) => membership.heard(name, now) && (membership.newest(name)?.term ?? 0) > this.#term,
    );
  }
}

/** Of few numbers, and asked for with every message; -Infinity when there are fewer than `n`. */
function nthLargest(numbers: readonly number[], n: number): number {
  let found = Number.NEGATIVE_INFINITY;
  for (const candidate of numbers) {
    let above = 0;
    for (const each of numbers) if (each >= candidate) above++;
    if (above >= n && candidate > found) found = candidate;
  }
  return found;
}
