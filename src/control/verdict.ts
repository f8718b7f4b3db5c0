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
  /** A ledger is stored. */
  readonly hasLedger: boolean;
  readonly slots: number;
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

/** Whether this agent serves, and why, in one line. */
export function verdictOf(standing: Standing): { readonly verdict: Verdict; readonly cause: string } {
  const { slots, slotCount } = standing;
  if (standing.leaving) {
    const left =
      slots > 0 ? `${slots} of ${slotCount} slots to hand off` : `connections of ${standing.draining} slots may go on`;
    return { verdict: 'leaving', cause: `leaving: ${left}` };
  }
  if (standing.witness && standing.serving) return { verdict: 'serving', cause: 'a witness: votes and serves nothing' };
  if (standing.serving && (standing.member || slots > 0)) {
    return { verdict: 'serving', cause: `serving ${slots} of ${slotCount} slots` };
  }
  const verdict = standing.hadLease && !standing.leased ? 'fenced' : 'waiting';
  return { verdict, cause: `${verdict}: ${reasonOf(standing)}` };
}

function reasonOf(standing: Standing): string {
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
