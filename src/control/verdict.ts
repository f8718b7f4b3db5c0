import type { Verdict } from './io.ts';

/** What the verdict rests on. */
export interface Standing {
  /** Votes and serves nothing. */
  readonly witness: boolean;
  readonly leaving: boolean;
  /** May take new connections now. */
  readonly leased: boolean;
  /** The kernel has accepted the share of this lease at some time. */
  readonly serving: boolean;
  readonly member: boolean;
  /** Had one in this life. */
  readonly hadLease: boolean;
  readonly slots: number;
}

/** What else tells why. */
export interface Circumstances {
  /** A ledger is stored. */
  readonly hasLedger: boolean;
  /** Slots given away whose connections may go on here. */
  readonly draining: number;
  readonly slotCount: number;
  readonly votersHeard: number;
  readonly votersNeeded: number;
  readonly voters: number;
  readonly coordinator: string | null;
  /** The coordinator followed last, and for how long it has been silent. */
  readonly lastCoordinator: string | null;
  readonly silentMs: number;
}

/** Whether this agent serves. */
export function verdictOf({ witness, leaving, leased, serving, member, hadLease, slots }: Standing): Verdict {
  if (leaving) return 'leaving';
  if (serving && (witness || member || slots > 0)) return 'serving';
  return hadLease && !leased ? 'fenced' : 'waiting';
}

/** Why, in one line. */
export function causeOf(verdict: Verdict, standing: Standing & Circumstances): string {
  const { slots, slotCount } = standing;
  if (verdict === 'leaving') {
    const left =
      slots > 0 ? `${slots} of ${slotCount} slots to hand off` : `connections of ${standing.draining} slots may go on`;
    return `leaving: ${left}`;
  }
  if (verdict !== 'serving') return `${verdict}: ${reasonOf(standing)}`;
  return standing.witness ? 'a witness: votes and serves nothing' : `serving ${slots} of ${slotCount} slots`;
}

function reasonOf(standing: Standing & Circumstances): string {
  const { votersHeard, votersNeeded, voters, coordinator, lastCoordinator, silentMs } = standing;
  if (!coordinator && standing.hadLease && lastCoordinator) {
    return `coordinator ${lastCoordinator} not heard for ${Math.round(silentMs)} ms`;
  }
  if (voters === 0 && !coordinator) {
    return 'no cluster heard yet; a new one begins with "manycast cluster init" on one replica';
  }
  if (votersHeard < votersNeeded) return `${votersHeard} of ${voters} voters heard, ${votersNeeded} needed`;
  if (!coordinator) return 'no coordinator yet';
  if (!standing.hasLedger) return 'no map yet';
  if (!standing.leased) return `coordinator ${coordinator} has not confirmed the map yet`;
  return standing.member ? 'the kernel is being programmed' : 'no share yet';
}
