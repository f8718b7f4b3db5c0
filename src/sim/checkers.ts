import { OperatingError } from '../base/operating-error.ts';
import { accepts, coverSlots, type Filter, maskedAddressOf, type Partition } from '../space/index.ts';
import type { Connection } from './client.ts';
import type { Frame } from './frame.ts';
import type { Host } from './host.ts';
import type { Timeline } from './timeline.ts';

/** What the checkers know of a run. */
export interface Expectations {
  /** Handoffs of the policies of this run. Established connections may be broken by moves only when `reset` is among them. */
  readonly handoffs: ReadonlySet<string>;
  /** Connections of a slot given away may be ended this long after. */
  readonly drainMs: number;
}

/** Names of what must hold, as violations are reported; the numbers are those of the design. */
export const invariants = {
  defect: '0 nothing fails but what the surroundings make fail',
  oneTaker: '1 at most one kernel takes new flows of a slot',
  filters: '2 filters are disjoint and complete',
  oneMap: '3 one map for each epoch, and epochs never regress',
  release: '4 a slot changes owner only after its owner let go',
  oneAnswer: '5 a packet is answered by one host, one hop away',
  established: '6 an established flow is answered by its holder, and kept',
  hostile: '7 unauthenticated, replayed or stale input changes nothing',
  quiet: '8 without faults nothing moves',
  liveness: '9 every slot is owned and every move ends, in bounded time',
} as const;

type Owners = readonly (string | null)[];

/** What an agent acts on. */
interface ActedMap {
  readonly epoch: number;
  readonly by: string;
  readonly owners: Owners;
}

/** Hosts that may hold connections of slots that others own. */
type Holders = readonly { readonly name: string; readonly slots: readonly number[] }[];

/** A relayed packet may meet the other side of a flip within the pause for packets in flight, milliseconds. */
const pauseMs = 10;

/** The new owner still relays new connections to the old one this long after a move is committed. */
const flipMs = 200;
/** Who was cut off learns within this what has become of its slots, unless it is stopped meanwhile. */
const backMs = 4000;
/** A holder looks for connections no earlier than this, less the drift of its clock. */
const halfOpenMs = 2900;
/** Who leaves and cannot hand anything off for this long goes all the same. */
const handOffMs = 2900;

/** Owners texts whose filters were looked at: the same come again and again. */
const checkedFilters = new Set<string>();
const checkedFiltersMax = 10_000;

/** Looks at every step of a run; what breaks an invariant ends it. */
export class Checkers {
  readonly #timeline: Timeline;
  readonly #hosts: readonly Host[];
  readonly #partition: Partition;
  readonly #expect: Expectations;
  readonly #maps = new Map<number, { readonly by: string; readonly owners: string }>();
  /** By host name: the newest epoch that it acted on, and when that was. */
  readonly #epochs = new Map<string, { readonly epoch: number; readonly at: number }>();
  /** Since when the newest map names a host owner or holder of a slot, by both names. */
  readonly #namedSince = new Map<string, number>();
  #newest: { readonly epoch: number; readonly owners: Owners } = { epoch: 0, owners: [] };
  /** By slot: when its owner changed last. */
  readonly #changedAt: number[] = [];

  constructor(timeline: Timeline, hosts: readonly Host[], partition: Partition, expect: Expectations) {
    this.#timeline = timeline;
    this.#hosts = hosts;
    this.#partition = partition;
    this.#expect = expect;
  }

  /** The newest map that anybody acted on. */
  get newestEpoch(): number {
    return this.#newest.epoch;
  }

  /** To be asked when a kernel may take more than before: other rows, or a lease that opened. */
  oneTaker(wider: Host): void {
    if (!wider.kernel.isOpen('lease')) return;
    for (let slot = 0; slot < this.#partition.slotCount; slot++) {
      if (!wider.kernel.takes(slot)) continue;
      for (const other of this.#hosts) {
        if (other !== wider && other.up && other.kernel.takes(slot)) {
          this.#violate('oneTaker', `slot ${slot} is taken by ${other.name} and now by ${wider.name}`);
        }
      }
    }
  }

  /** Armed before it is asked for, a lease cannot open late; armed while it counts, it can. */
  openedByArming(host: Host): void {
    this.#violate('oneTaker', `${host.name} opens its share by arming a mark that counts already`);
  }

  /** An agent without memory may take an old map for the newest until it hears better; it gets no lease for it. */
  forgot(host: Host): void {
    this.#epochs.delete(host.name);
  }

  /** To be asked when an agent acts on a map; `holders` are looked at when nobody has acted on a newer one. */
  acted(host: Host, map: ActedMap, holders: () => Holders = () => []): void {
    this.#oneMap(host, map);
    this.#filters(map.owners);
    if (map.epoch <= this.#newest.epoch) return;
    this.#release(map.epoch, map.owners);
    for (const [slot, owner] of map.owners.entries()) {
      if (owner !== this.#newest.owners[slot]) this.#changedAt[slot] = this.#timeline.now;
    }
    this.#newest = map;
    this.#noteNamed(map.owners, holders());
  }

  #noteNamed(owners: Owners, holders: Holders): void {
    const named = new Set([
      ...owners.map((owner, slot) => `${owner} ${slot}`),
      ...holders.flatMap(({ name, slots }) => slots.map((slot) => `${name} ${slot}`)),
    ]);
    for (const each of this.#namedSince.keys()) if (!named.has(each)) this.#namedSince.delete(each);
    for (const each of named) if (!this.#namedSince.has(each)) this.#namedSince.set(each, this.#timeline.now);
  }

  #oneMap(
    host: Host,
    { epoch, by, owners }: { readonly epoch: number; readonly by: string; readonly owners: Owners },
  ): void {
    const said = { by, owners: owners.join() };
    const known = this.#maps.get(epoch) ?? said;
    this.#maps.set(epoch, known);
    if (known.by !== said.by || known.owners !== said.owners) {
      this.#violate(
        'oneMap',
        `epoch ${epoch} by ${known.by}: ${known.owners}; by ${by} on ${host.name}: ${said.owners}`,
      );
    }
    const before = this.#epochs.get(host.name)?.epoch ?? 0;
    if (epoch < before) this.#violate('oneMap', `${host.name} goes back from epoch ${before} to ${epoch}`);
    this.#epochs.set(host.name, { epoch, at: this.#timeline.now });
  }

  #filters(owners: Owners): void {
    const key = `${this.#partition.slotCount} ${owners.join()}`;
    if (checkedFilters.has(key)) return;
    if (checkedFilters.size >= checkedFiltersMax) checkedFilters.clear();
    checkedFilters.add(key);
    const shares = new Map<string, number[]>();
    for (const [slot, owner] of owners.entries()) {
      if (owner !== null) shares.set(owner, [...(shares.get(owner) ?? []), slot]);
    }
    const filters = new Map([...shares].map(([name, slots]) => [name, coverSlots(this.#partition, slots)]));
    const fault = filterFault(this.#partition, owners, filters);
    if (fault !== null) this.#violate('filters', fault);
  }

  #release(epoch: number, owners: Owners): void {
    for (const [slot, owner] of owners.entries()) {
      const former = this.#newest.owners[slot] ?? null;
      if (former === null || former === owner) continue;
      const host = this.#hosts.find(({ name }) => name === former);
      if (host?.up && host.kernel.takes(slot)) {
        this.#violate('release', `epoch ${epoch} gives slot ${slot} to ${owner}, and ${former} still takes it`);
      }
    }
  }

  answered(frame: Frame, by: Host, relayed: boolean): void {
    const { now } = this.#timeline;
    const first = frame.answered;
    if (first === null) {
      frame.answered = { by, at: now, relayed, isUninformed: this.#isUninformed(by) };
      return;
    }
    const inFlight = (relayed || first.relayed) && now - first.at <= pauseMs;
    if (first.by === by || inFlight || first.isUninformed || this.#isUninformed(by)) return;
    this.#violate(
      'oneAnswer',
      `a ${frame.kind} of slot ${frame.client.slot} is answered by ${first.by.name} and ${by.name}`,
    );
  }

  /** Who comes back from a cut does not know yet that others have taken it for gone: for as long as it hears no newer map. */
  #isUninformed(host: Host): boolean {
    const acted = this.#epochs.get(host.name);
    const isBehind = acted === undefined || acted.epoch < this.#newest.epoch;
    return host.awaySince(this.#timeline.now - backMs) || (isBehind && host.awaySince(acted?.at ?? 0));
  }

  relayedTwice(frame: Frame, by: Host): void {
    this.#violate('oneAnswer', `${by.name} relays a ${frame.kind} of slot ${frame.client.slot} that was relayed to it`);
  }

  responded(connection: Connection, by: Host, boot: number): void {
    if (connection.holder === by && connection.holderBoot === boot) return;
    this.#violate('established', `${named(connection)} is answered by ${by.name}, which does not hold it`);
  }

  reset(connection: Connection, by: Host): void {
    if (this.mayBreak(connection)) return;
    this.#violate('established', `${named(connection)} is reset by ${by.name}`);
  }

  /** A connection that waits for an answer although nothing is wrong any more. */
  stalled(connection: Connection, ms: number): void {
    if (this.mayBreak(connection)) return;
    this.#violate('established', `${named(connection)} has had no answer for ${Math.round(ms)} ms`);
  }

  /** Its host died, its drain deadline passed, or the policy lets moves reset. */
  mayBreak({ client, openedAt, holder, holderBoot, request, waitingSince }: Connection): boolean {
    if (!holder?.up || holder.boot !== holderBoot) return true;
    // Taken for gone, until the map has it again as long as it takes that all have learned so.
    const knownSince = this.#namedSince.get(`${holder.name} ${client.slot}`) ?? Number.POSITIVE_INFINITY;
    if (holder.awaySince(openedAt) && this.#timeline.now < knownSince + backMs) return true;
    if (holder.leavingSince !== null && this.#timeline.now - holder.leavingSince >= handOffMs) return true;
    if (holder.abandonedAt >= openedAt) return true;
    const changedAt = this.#changedAt[client.slot] ?? Number.NEGATIVE_INFINITY;
    // From the first SYN on: its connection may be half open at the former owner while the slot moves.
    const moved = changedAt >= openedAt - flipMs;
    const givenAway = this.#newest.owners[client.slot] !== holder.name;
    if ((moved || givenAway) && this.#expect.handoffs.has('reset')) return true;
    const drainedFor = this.#timeline.now - changedAt;
    // With SYN cookies a connection of which nothing has arrived yet stands in no list.
    if (moved && request <= 1 && waitingSince !== null && drainedFor >= halfOpenMs) return true;
    return moved && drainedFor >= this.#expect.drainMs;
  }

  /** An error that is none of the surroundings' making. */
  defect(error: unknown): void {
    if (!(error instanceof OperatingError))
      this.#violate('defect', error instanceof Error ? (error.stack ?? error.message) : String(error));
  }

  /** `outputs` are what an agent wants done because of input that it should have refused, apart from what it wanted anyway. */
  hostile(host: Host, what: string, outputs: readonly string[]): void {
    if (outputs.length > 0)
      this.#violate('hostile', `a ${what} datagram makes ${host.name} want: ${outputs.join(', ')}`);
  }

  quiet(before: string, after: string): void {
    if (before !== after) this.#violate('quiet', `from ${before} to ${after}`);
  }

  liveness(missing: string): void {
    this.#violate('liveness', missing);
  }

  #violate(invariant: keyof typeof invariants, what: string): void {
    this.#timeline.violate(invariants[invariant], what);
  }
}

/** The first slot whose clients are not accepted by the filters of its owner alone, or null. */
export function filterFault(
  partition: Partition,
  owners: Owners,
  filters: ReadonlyMap<string, readonly Filter[]>,
): string | null {
  for (const [slot, owner] of owners.entries()) {
    const client = maskedAddressOf(partition, slot);
    const names = [...filters]
      .filter(([, list]) => list.some((filter) => accepts(filter, client)))
      .map(([name]) => name);
    if (names.join() !== (owner ?? '')) return `slot ${slot} of ${owner} is accepted by [${names.join()}]`;
  }
  return null;
}

function named({ client, port, holder }: Connection): string {
  return `connection ${client.index}:${port} of slot ${client.slot}, held by ${holder?.name}`;
}
