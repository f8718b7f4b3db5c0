import type { Rows } from '../dataplane/forwarding-table.ts';
import { type Staying, sameStaying } from '../dataplane/staying.ts';
import { compareVersions, type Ledger, type Move, noVersion, type Version, versionOf } from '../wire/ledger.ts';
import { leavingFrom, rowsOf, type StillSent, sameRows, type ThisHost } from './rows.ts';

/** A lease that a coordinator has granted: it was asked for with heartbeat `round`, while no ledger newer than `basis` could be in force. */
export interface Grant {
  readonly until: number;
  readonly round: number;
  readonly basis: Version;
}

/** No heartbeat of any life. */
const noRound = -1;
const earlierRound = -2;
const none: Grant = { until: Number.NEGATIVE_INFINITY, round: noRound, basis: noVersion };

/**
 * What this host's kernel does: the rows of the newest committed ledger that is known here, and the lease under which they take anything new. Rows outlive the
 * lease, so that connections go on; only the newest ledger's rows, confirmed by the kernel, ever get one.
 */
export class Share {
  readonly #host: ThisHost;
  #known: Ledger | null = null;
  #granted: Grant = none;
  /** The round whose mark the kernel goes by. An earlier life's may still run. */
  #current: number;
  #currentUntil: number;
  #rows: Rows;
  /** What the newest ledger known asks for; null until it is worked out. */
  #wanted: Rows | null;
  #staying: Staying;
  #stillSent: readonly Move[] = [];
  #taking: ReadonlySet<number>;
  #revision = 0;
  #confirmed = 0;
  #closed = false;
  #hadLease = false;

  /** `rows` and `staying` are what the kernel has already, under a lease that may last until `leasedUntil`: those of an earlier life, or none. */
  constructor(host: ThisHost, rows: Rows, staying: Staying, leasedUntil: number) {
    this.#host = host;
    this.#rows = rows;
    this.#wanted = rows;
    this.#staying = staying;
    this.#taking = takenSlots(rows);
    this.#current = rows.size > 0 ? earlierRound : noRound;
    this.#currentUntil = leasedUntil;
  }

  /** The newest committed ledger known here; null before the first of this life. */
  get known(): Ledger | null {
    return this.#known;
  }

  /** What the kernel was told last. */
  get rows(): Rows {
    return this.#rows;
  }

  /** Slots whose new connections it was told to take. */
  get taking(): ReadonlySet<number> {
    return this.#taking;
  }

  /** When the lease that the kernel goes by ends; Infinity when it goes by none. */
  get endsAt(): number {
    return this.#current === noRound ? Number.POSITIVE_INFINITY : this.#currentUntil;
  }

  isLeased(now: number): boolean {
    return this.#current !== noRound && now < this.#currentUntil;
  }

  /** When the lease that the kernel went by last ends, or ended. */
  get leasedUntil(): number {
    return this.#currentUntil;
  }

  /** A lease was granted in this life. */
  get hadLease(): boolean {
    return this.#hadLease;
  }

  /** The kernel does what it was told last. */
  get confirmed(): boolean {
    return this.#confirmed === this.#revision;
  }

  /** The epoch whose rows the kernel has; 0 for none. */
  get programmedEpoch(): number {
    return this.#known && !this.#closed && this.confirmed ? this.#known.epoch : 0;
  }

  extendLease(grant: Grant | null): void {
    if (grant && grant.until > this.#granted.until) this.#granted = grant;
  }

  /**
   * The mark whose lease the kernel is to go by, or null when it does already. Never while the kernel has other rows than those of a ledger as new as the one
   * under which the lease was granted: they may say what is not so any more.
   */
  takeGrant(now: number): number | null {
    const { round, until, basis } = this.#granted;
    const upToDate = this.#known !== null && this.confirmed && compareVersions(versionOf(this.#known), basis) >= 0;
    if (round === this.#current || now >= until || !upToDate || this.#closed) return null;
    this.#current = round;
    this.#currentUntil = until;
    this.#hadLease = true;
    return round;
  }

  /** True once when the lease that the kernel goes by is over: its mark must not be armed again while it counts. */
  expire(now: number): boolean {
    if (this.#current === noRound || now < this.#currentUntil) return false;
    this.#current = noRound;
    return true;
  }

  /** The kernel goes by no lease any more. */
  loseLease(): void {
    this.#current = noRound;
  }

  act(ledger: Ledger): void {
    this.#known = ledger;
    this.#wanted = null;
  }

  /** Routers may send packets here still of what it leaves by these moves. */
  stillGets(moves: readonly Move[]): void {
    const isSame = moves.length === this.#stillSent.length && moves.every(({ id }, i) => id === this.#stillSent[i]?.id);
    if (!isSame) this.#wanted = null;
    this.#stillSent = moves;
  }

  /** The epoch up to which the kernel was told to take nothing new any more of what is left. */
  get leftEpoch(): number {
    if (!this.#known) return 0;
    const taken = leavingFrom(this.#host.node, this.#known).filter(({ slots }) =>
      slots.some((slot) => this.#taking.has(slot)),
    );
    return Math.min(this.#known.epoch, ...taken.map(({ since }) => since - 1));
  }

  /** Has no rows from now on, whatever the ledger says. */
  close(): void {
    this.#closed = true;
    this.#wanted = null;
  }

  confirm(revision: number): void {
    this.#confirmed = Math.max(this.#confirmed, revision);
  }

  /** The rows that the kernel is to have: those it was told last, unless they differ. */
  get wanted(): Rows {
    if (this.#wanted) return this.#wanted;
    const wanted: Rows = this.#known && !this.#closed ? rowsOf(this.#known, this.#host, this.#isStillSent) : new Map();
    this.#wanted = sameRows(wanted, this.#rows) ? this.#rows : wanted;
    return this.#wanted;
  }

  /** It goes on with what the kernel takes, and never begins again: an earlier life may have said that it has left, and the new owner takes it by now. */
  readonly #isStillSent: StillSent = ({ id }, slot) =>
    this.#taking.has(slot) && this.#stillSent.some((move) => move.id === id);

  /**
   * What the kernel is to be told now; null when it was told already. `ended` are the rows of slots that have none any more.
   */
  takeChange(staying: Staying): Change | null {
    const { wanted } = this;
    if (wanted === this.#rows && sameStaying(staying, this.#staying)) return null;
    const ended = new Map([...this.#rows].filter(([slot]) => !wanted.has(slot)));
    this.#rows = wanted;
    this.#staying = staying;
    this.#taking = takenSlots(wanted);
    return { revision: ++this.#revision, rows: wanted, staying, ended };
  }
}

/** What the kernel is told. */
interface Change {
  readonly revision: number;
  readonly rows: Rows;
  readonly staying: Staying;
  readonly ended: Rows;
}

function takenSlots(rows: Rows): Set<number> {
  return new Set([...rows].flatMap(([slot, { kind }]) => (kind === 'own' || kind === 'new' ? [slot] : [])));
}
