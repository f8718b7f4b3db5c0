import type { Ledger } from '../wire/ledger.ts';
import type { ControlView, PeerState, Verdict } from './io.ts';
import type { Parts } from './parts.ts';
import { drainingSlots } from './rows.ts';
import { causeOf, type Standing, verdictOf } from './verdict.ts';

/** What the state machine adds to its parts when somebody looks. */
export interface Observed {
  readonly now: number;
  readonly serving: boolean;
  readonly leaving: boolean;
}

export function viewOf(parts: Parts, observed: Observed, refused: Readonly<Record<string, number>>): ControlView {
  const { config, membership, share, register } = parts;
  const map = share.known;
  return {
    node: config.node,
    ...observe(parts, observed),
    epoch: map?.epoch ?? 0,
    coordinator: coordinatorOf(parts, observed.now),
    voters: voterStates(parts, observed.now),
    settled: map !== null && map === register.held && map.moves.length === 0,
    members: map?.members ?? [],
    owners: map?.owners ?? [],
    accepting: share.taking,
    awaitedRouters: map ? parts.routing.awaited(map) : [],
    moves: map?.moves ?? [],
    holders: map ? holdersIn(map, parts, observed.now) : [],
    draining: map ? drainingTo(map, parts) : new Map(),
    holding: parts.draining.holding,
    leased: share.isLeased(observed.now),
    unhealthy: map?.unhealthy ?? [],
    drained: map?.drained ?? [],
    policy: map ? parts.policies.of(map.policy) : null,
    peers: membership.others.map((name) => ({
      name,
      state: peerState(parts, name, observed.now),
      via: membership.via(name, observed.now),
    })),
    refused,
  };
}

/** While the new owner relays to it, a slot has not begun to drain. */
function drainingTo({ owners }: Ledger, { share }: Parts): ControlView['draining'] {
  return new Map(
    drainingSlots(share.rows).flatMap((slot) => {
      const owner = owners[slot];
      return owner && share.rows.get(slot)?.peer === null ? [[slot, owner] as const] : [];
    }),
  );
}

function holdersIn({ holders, policy }: Ledger, { drained, policies }: Parts, now: number): ControlView['holders'] {
  const deadlineMs = policies.of(policy).drainDeadline * 1000;
  return holders.map((holder) => ({
    name: holder.name,
    slots: holder.slots,
    msLeft: Math.max(0, drained.msLeft(holder, deadlineMs, now)),
  }));
}

/** Whether this agent serves. */
export function verdictNow(parts: Parts, observed: Observed): Verdict {
  return verdictOf(standingOf(parts, observed));
}

export function observe(parts: Parts, observed: Observed): { readonly verdict: Verdict; readonly cause: string } {
  const { config, membership, share, register, voters } = parts;
  const { now } = observed;
  const standing = standingOf(parts, observed);
  const verdict = verdictOf(standing);
  const heard = voters.others().filter((voter) => membership.heard(voter, now)).length + (voters.isVoter ? 1 : 0);
  const cause = causeOf(verdict, {
    ...standing,
    hasLedger: register.held !== null,
    draining: observed.leaving ? drainingSlots(share.rows).length : 0,
    slotCount: config.partition.slotCount,
    votersHeard: heard,
    votersNeeded: voters.majority,
    voters: voters.names.length,
    coordinator: coordinatorOf(parts, now),
    lastCoordinator: share.known && share.known.by !== config.node ? share.known.by : null,
    silentMs: membership.silence(share.known?.by ?? config.node, now),
  });
  return { verdict, cause };
}

function standingOf({ config, share }: Parts, { now, serving, leaving }: Observed): Standing {
  return {
    witness: config.witness,
    serving,
    leaving,
    leased: share.isLeased(now),
    member: share.known?.members.includes(config.node) ?? false,
    hadLease: share.hadLease,
    slots: share.taking.size,
  };
}

function voterStates({ config, voters, membership }: Parts, now: number): ControlView['voters'] {
  return voters.names.map((name) => {
    if (!voters.counts(name))
      return { name, state: name === config.node || membership.heard(name, now) ? 'forgetful' : 'silent' };
    return { name, state: name === config.node || membership.heard(name, now) ? 'heard' : 'silent' };
  });
}

export function peerState({ membership, timers }: Parts, name: string, now: number): PeerState {
  if (membership.isRevoked(name)) return 'revoked';
  const said = membership.newest(name);
  if (said === null || membership.silence(name, now) > timers.silenceMs) return 'silent';
  return said.leaving ? 'leaving' : 'heard';
}

/** The coordinator with authority as far as this agent knows. */
function coordinatorOf({ config, following }: Parts, now: number): string | null {
  if (following.name === config.node) return following.hasAuthority(now) ? config.node : null;
  return following.coordinatorHeartbeat() ? following.name : null;
}
