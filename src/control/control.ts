import { OperatingError } from '../base/operating-error.ts';
import { encodeMessage, heartbeatFits } from '../wire/control-message.ts';
import { compareVersions, type Ledger, type Voter, versionOf } from '../wire/ledger.ts';
import { type Change, titleOf } from './change.ts';
import { Claimed, Claims } from './claims.ts';
import { coordinate, makesRoom, mayStand, type OwnState } from './coordinate.ts';
import { Drained, Draining } from './draining.ts';
import { encodeDurable } from './durable.ts';
import { Fences } from './fences.ts';
import { Following } from './following.ts';
import { objectionToFounding } from './founding.ts';
import { grantedByCoordinator, grantedByOneself } from './granting.ts';
import { hear, isExpected } from './hearing.ts';
import { heartbeatOf, type Said, sameFields, saysSame, unicastTo } from './heartbeat.ts';
import { Inbox } from './inbox.ts';
import type { ControlInput, ControlOutput, ControlView, PeerState, Verdict } from './io.ts';
import { Lagging } from './lagging.ts';
import { patienceMs } from './leaving.ts';
import { changeEvents } from './ledger-events.ts';
import { LedgerExchange } from './ledger-exchange.ts';
import { createMembership } from './membership.ts';
import { Pace } from './pace.ts';
import type { ControlConfig, Parts } from './parts.ts';
import { Probing } from './probing.ts';
import { Proposals } from './proposals.ts';
import { Questions } from './questions.ts';
import { createRegister } from './register.ts';
import { rememberingPolicies, usableLedger } from './remembered.ts';
import { createRounds, type Rounds } from './rounds.ts';
import { advertise, Routing } from './routing.ts';
import { Share } from './share.ts';
import { createStayingFlows } from './staying.ts';
import { Succession } from './succession.ts';
import { Tagging, tag } from './tagging.ts';
import { defaultTimers } from './timers.ts';
import { afterRows, answerTo, askAbout, askOthers } from './unknown-flows.ts';
import { type Observed, observe, peerState, verdictNow, viewOf } from './view.ts';
import { createVoters } from './voters.ts';

export type { ControlConfig } from './parts.ts';

/** The agent's decisions as a state machine: no socket, no clock, no randomness. */
export interface Control {
  /** Takes one input; what it wants done is to be done in order, before the next input. */
  handle(input: ControlInput): ControlOutput[];
  /** When to give the next `tick`, monotonic milliseconds. */
  nextTimeout(): number;
  view(): ControlView;
}

/** Throws an OperatingError when a heartbeat could not name all the peers, or the persisted ledger is not readable. */
export function createControl(config: ControlConfig): Control {
  if (!heartbeatFits(config.peers)) {
    throw new OperatingError('peers', `control.peers: ${config.peers.length} names do not fit one heartbeat`, {
      remedy: 'use shorter names, or fewer replicas in one cluster',
    });
  }
  return new Machine(config);
}

class Machine implements Control {
  readonly #parts: Parts;
  readonly #rounds: Rounds;
  readonly #pace: Pace;
  readonly #fences: Fences;
  readonly #inbox: Inbox;
  readonly #exchange: LedgerExchange;
  readonly #peerStates = new Map<string, PeerState>();
  #now: number;
  #outputs: ControlOutput[] = [];
  #heartbeatSaid: Said | null = null;
  #persisted: Readonly<Record<string, unknown>> | null = null;
  #serving = false;
  #healthy = true;
  #founders: readonly Voter[];
  #verdict: Verdict | null = null;
  #leavingSince: number | null = null;
  #left = false;

  constructor(config: ControlConfig) {
    const timers = config.timers ?? defaultTimers;
    const { node, peers, start, partition } = config;
    const earlier = config.durable ?? { term: 0, follow: null, ledger: null, founders: [] };
    const incarnation = config.durable?.incarnation ?? config.newIncarnation;
    this.#rounds = createRounds(config.session, 2 * timers.deadMs);
    const membership = createMembership(node, peers, timers, start);
    const self = { node, timers, start, term: earlier.term, name: earlier.follow };
    this.#founders = earlier.founders;
    const held = (): Ledger | null => this.#parts?.register.held ?? usableLedger(config);
    const host = { node, boot: config.boot, copies: config.copies ?? false };
    const voters = createVoters({ node, incarnation, founders: () => this.#founders, membership, held });
    const following = new Following({ ...self, voters, held, membership, rounds: this.#rounds });
    this.#parts = {
      config: { ...config, incarnation },
      timers,
      voters,
      membership,
      following,
      register: createRegister({ node, incarnation, voters, membership, following, held: usableLedger(config) }),
      routing: new Routing(config),
      share: new Share(host, config.rows, config.staying, start + timers.leaseMs),
      proposals: new Proposals(partition.slotCount, timers),
      succession: new Succession({ node, voters, membership, following, timers }),
      lagging: new Lagging(timers),
      draining: new Draining(timers),
      drained: new Drained(),
      probing: new Probing(membership, timers),
      questions: new Questions(timers),
      claims: new Claims(host, timers),
      claimed: new Claimed(),
      policies: rememberingPolicies(partition.slotCount),
      staying: createStayingFlows(config, membership, timers),
      tagging: new Tagging(config.session, config.routers, timers),
    };
    this.#pace = new Pace(this.#parts);
    this.#fences = new Fences(config.session, timers);
    this.#inbox = new Inbox(config, membership.isRevoked);
    this.#exchange = new LedgerExchange(node, membership, following, timers);
    this.#now = start;
  }

  handle(input: ControlInput): ControlOutput[] {
    this.#now = Math.max(this.#now, input.at);
    this.#outputs = [];
    if (this.#left) return [];
    // Before anything else: the mark of a lease that is over must not count any more when its number comes up again.
    if (this.#parts.share.expire(this.#now)) {
      this.#outputs.push({ kind: 'grant', fence: 'lease', mark: null });
      this.#parts.staying.lapse();
    }
    switch (input.kind) {
      case 'tick':
        break;
      case 'message':
        // What was refused changes nothing, and must cost little: a recorded datagram can be sent again and again.
        if (this.#receive(input)) break;
        return this.#outputs;
      case 'programmed':
        this.#parts.share.confirm(input.revision);
        break;
      case 'rebuilt':
        this.#parts.share.loseLease();
        this.#fences.loseHold();
        this.#parts.staying.lapse();
        break;
      case 'holding':
        this.#parts.draining.note(new Set([...input.slots, ...this.#parts.staying.heldSlots()]), this.#now);
        break;
      case 'flows':
        this.#parts.tagging.note(input.flows);
        break;
      case 'seen':
        this.#outputs.push(...this.#parts.staying.note(input.flows));
        break;
      case 'unknown':
        this.#outputs.push(...askAbout(this.#parts, input.flow, input.reset, this.#now));
        break;
      case 'had':
        this.#outputs.push(...answerTo(this.#parts, input.asker, input.flows));
        break;
      case 'alive':
        this.#parts.probing.note(input.peer, this.#now);
        break;
      case 'health':
        this.#healthy = input.healthy;
        break;
      case 'revoked':
        this.#parts.membership.revoke(input.names);
        break;
      case 'propose':
        this.#propose(input.change);
        break;
      case 'found':
        this.#found();
        break;
      case 'leave':
        this.#leavingSince ??= this.#now;
    }
    this.#step();
    return this.#outputs;
  }

  nextTimeout(): number {
    const { share, draining, questions, timers } = this.#parts;
    if (this.#left) return this.#now + timers.leaveMs;
    const drainAt = share.confirmed ? draining.nextAt() : Number.POSITIVE_INFINITY;
    return Math.min(this.#pace.dueAt(this.#now), share.endsAt, drainAt, questions.nextAt());
  }

  view(): ControlView {
    return viewOf(this.#parts, this.#observed(), this.#inbox.refused);
  }

  /** False when nothing follows from it now. */
  #receive(datagram: ControlInput & { readonly kind: 'message' }): boolean {
    const { membership, following, share } = this.#parts;
    const said = this.#inbox.open(datagram, (...part) => isExpected(this.#parts, ...part, this.#now));
    const { sender } = datagram;
    if (said?.kind === 'heartbeat') {
      const before = membership.heard(sender, this.#now) ? membership.newest(sender) : null;
      if (!membership.hear(sender, datagram.session, said.heartbeat, datagram.via, this.#now)) return false;
      following.hear(sender, said.heartbeat, this.#now);
      if (following.name === sender) share.extendLease(grantedByCoordinator(this.#parts, this.#rounds));
      // Most say what the last one said: they renew leases, and all else is looked at when the own heartbeat is due.
      const isNews = before === null || !saysSame(said.heartbeat, before);
      this.#pace.heard(sender);
      return (isNews && following.concerns(sender)) || this.#pace.isDue(this.#now);
    } else if (said) {
      const refusal = hear(this.#parts, datagram, said, this.#now);
      if (refusal !== null) this.#inbox.refuse(refusal);
      else if (said.kind === 'question') this.#outputs.push({ kind: 'find', asker: sender, flows: said.flows });
    }
    return said !== null;
  }

  #found(): void {
    const { config } = this.#parts;
    const reason = objectionToFounding(this.#parts);
    if (reason === null) this.#founders = [{ name: config.node, incarnation: config.incarnation }];
    const outcome = reason === null ? ({ outcome: 'adopted' } as const) : ({ outcome: 'refused', reason } as const);
    this.#outputs.push({ kind: 'event', event: { kind: 'proposal', title: 'init', ...outcome } });
  }

  #propose(change: Change): void {
    const { config, proposals, share } = this.#parts;
    const stranger = change.kind === 'voters' && change.name !== null && !config.peers.includes(change.name);
    const reason = `"${change.kind === 'voters' ? change.name : ''}" is not in control.peers, allowed are ${config.peers.join(', ')}`;
    const events = stranger
      ? [{ kind: 'proposal', title: titleOf(change), outcome: 'refused', reason } as const]
      : proposals.propose(change, share.known, this.#now);
    for (const event of events) this.#outputs.push({ kind: 'event', event });
  }

  /** Everything that follows from what is known at this instant; what is stored comes before what is said. */
  #step(): void {
    const { config, following, register, share } = this.#parts;
    const now = this.#now;
    following.step(now, mayStand(this.#parts, this.#own(), now));
    coordinate(this.#parts, this.#own(), now);
    if (following.name === config.node && makesRoom(this.#parts)) following.resign(now);
    this.#persist();
    share.extendLease(grantedByOneself(this.#parts, this.#rounds, now));
    this.#act();
    this.#program();
    this.#outputs.push(...advertise(this.#parts, now));
    this.#leave();
    this.#outputs.push(...this.#parts.staying.step(share.confirmed, now), ...tag(this.#parts, now));
    this.#tell();
    this.#outputs.push(...this.#exchange.step(register.held, now));
    this.#drain();
    this.#probe();
    this.#sendToCoordinator();
    this.#outputs.push(...askOthers(this.#parts, this.#now));
    this.#sendHeartbeat();
    if (this.#left) this.#outputs.push({ kind: 'left' });
  }

  #persist(): void {
    const { config, following, register } = this.#parts;
    const { incarnation } = config;
    const { term, name: follow } = following;
    const ledger = register.held;
    const said = { term, follow, ledger, founders: this.#founders };
    if (this.#persisted && sameFields(said, this.#persisted)) return;
    this.#persisted = said;
    const state = encodeDurable({ incarnation, founders: this.#founders, term, follow, ledger });
    this.#outputs.push({ kind: 'persist', state });
  }

  /** Takes the ledger held for the one in force when the coordinator says that it is committed. */
  #act(): void {
    const { config, following, register, share, proposals } = this.#parts;
    const self = following.name === config.node;
    const committed = self ? register.committed() : following.coordinatorHeartbeat()?.committed;
    const { held } = register;
    if (!held || !committed || compareVersions(committed, versionOf(held)) !== 0 || share.known === held) return;
    const before = share.known;
    share.act(held);
    this.#parts.drained.note(held.holders, this.#now);
    for (const event of changeEvents(before, held)) this.#outputs.push({ kind: 'event', event });
    for (const event of proposals.settle(held)) this.#outputs.push({ kind: 'event', event });
  }

  #program(): void {
    const { share, policies, staying, routing } = this.#parts;
    share.stillGets(share.known ? routing.stillSent(share.known) : []);
    const { known, wanted } = share;
    const keeps = known !== null && policies.of(known.policy).handoff !== 'reset';
    const change = share.takeChange(staying.follow(known, wanted, keeps, this.#now));
    if (change) {
      const { ended, ...table } = change;
      this.#outputs.push({ kind: 'program', ...table });
      this.#outputs.push(...afterRows(this.#parts, ended, this.#left, this.#now));
    }
    const round = share.takeGrant(this.#now);
    if (round !== null) this.#outputs.push(...this.#fences.grant(round));
    this.#serving = share.isLeased(this.#now) && (this.#serving || share.confirmed);
  }

  /** Looks after the flows of slots that were given away. */
  #drain(): void {
    const { draining, share } = this.#parts;
    if (!share.known || !share.confirmed) return;
    const { handoff, drainDeadline } = this.#parts.policies.of(share.known.policy);
    const step = draining.step(share.known, share.rows, handoff === 'reset', drainDeadline * 1000, this.#now);
    if (step.end.length > 0) this.#outputs.push({ kind: 'reset', slots: new Set(step.end) });
    this.#parts.staying.end(step.end);
    if (step.list.length > 0) this.#outputs.push({ kind: 'list', slots: new Set(step.list) });
  }

  #probe(): void {
    const { following, probing, share } = this.#parts;
    if (!share.known || !following.hasAuthority(this.#now)) return;
    const peers = probing.step(share.known.holders, this.#now);
    if (peers.length > 0) this.#outputs.push({ kind: 'probe', peers });
  }

  /** Leaves when everything is handed off and drained, nobody is there to take it, or it takes too long. */
  #leave(): void {
    const { config, membership, share, following } = this.#parts;
    const since = this.#leavingSince;
    if (since === null || this.#left) return;
    const alone = membership.others.every((peer) => peerState(this.#parts, peer, this.#now) !== 'heard');
    if (!alone && this.#now < since + patienceMs(this.#parts)) return;
    this.#left = true;
    following.resign(this.#now);
    share.close();
    this.#persist();
    this.#program();
    this.#outputs.push({
      kind: 'event',
      event: { kind: 'verdict', verdict: 'leaving', cause: `${config.node} leaves` },
    });
  }

  #tell(): void {
    const { membership } = this.#parts;
    for (const name of membership.others) {
      const state = peerState(this.#parts, name, this.#now);
      if (state === (this.#peerStates.get(name) ?? 'silent')) continue;
      this.#peerStates.set(name, state);
      this.#outputs.push({ kind: 'event', event: { kind: 'peer', name, state } });
    }
    const verdict = verdictNow(this.#parts, this.#observed());
    if (verdict === this.#verdict) return;
    this.#verdict = verdict;
    this.#outputs.push({ kind: 'event', event: { kind: 'verdict', ...observe(this.#parts, this.#observed()) } });
  }

  #sendToCoordinator(): void {
    const { config, proposals, draining, share, following } = this.#parts;
    for (const event of proposals.expire(this.#now)) this.#outputs.push({ kind: 'event', event });
    const to = following.coordinatorHeartbeat() ? following.name : null;
    if (to === null) return;
    const reports = share.known ? draining.toSend(share.known, config.node, this.#now) : [];
    for (const body of [...proposals.toSend(this.#now), ...reports]) {
      this.#outputs.push({ kind: 'send', to: { peer: to }, body });
    }
  }

  /** When it is due, and at once when it says something else than the last. */
  #sendHeartbeat(): void {
    const { membership } = this.#parts;
    const content = heartbeatOf(this.#parts, this.#own(), this.#now);
    const isNews = !this.#heartbeatSaid || !saysSame(content, this.#heartbeatSaid);
    if (!isNews && !this.#pace.isDue(this.#now)) return;
    this.#heartbeatSaid = content;
    const round = this.#rounds.next(this.#now);
    // What was lost on one way may come by the other.
    const unicast = new Set([...unicastTo(this.#parts, round, this.#now), ...this.#pace.sent(round, this.#now)]);
    // Being named by the coordinator renews a lease: not for a member that does not hear it, or whose slots are being given away.
    const heard = membership
      .heardList(this.#now)
      .filter(({ name }) => !content.coordinating || (membership.answers(name) && this.#mayName(name)));
    if (content.coordinating) for (const { name } of heard) this.#parts.lagging.named(name, this.#now);
    const body = encodeMessage({ kind: 'heartbeat', round, ...content, heard });
    // Before it is asked for: written later, a lease could open anew what had closed already.
    this.#outputs.push(...this.#fences.arm(round, this.#holdMs(), this.#now));
    this.#outputs.push({ kind: 'send', to: 'group', body });
    for (const peer of unicast) this.#outputs.push({ kind: 'send', to: { peer }, body });
  }

  #mayName(name: string): boolean {
    const { register, lagging } = this.#parts;
    return !register.evicting.has(name) && !lagging.isStalled(name, this.#now);
  }

  #own(): OwnState {
    return { leaving: this.#leavingSince !== null, healthy: this.#healthy };
  }

  #holdMs(): number {
    const { share, policies } = this.#parts;
    return share.known ? policies.of(share.known.policy).drainDeadline * 1000 : 0;
  }

  #observed(): Observed {
    return { now: this.#now, serving: this.#serving, leaving: this.#leavingSince !== null };
  }
}
