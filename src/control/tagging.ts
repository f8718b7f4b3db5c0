import { flowKey, type TcpFlow } from '../base/tcp-flow.ts';
import type { Rows } from '../dataplane/forwarding-table.ts';
import type { Tagged } from '../wire/control-message.ts';
import { encodeTags, taggedMax } from '../wire/tagged-flows.ts';
import type { ControlOutput } from './io.ts';
import type { Parts } from './parts.ts';
import { drainingSlots } from './rows.ts';
import type { Timers } from './timers.ts';
import { partsOf } from './transfer.ts';

/** What is due about the flows that stay here while their slots go: to list them, and to tell the routers. */
export function tag(parts: Parts, now: number): ControlOutput[] {
  const { share, tagging } = parts;
  return share.confirmed ? tagging.step(share.rows, isTagging(parts), now) : [];
}

/** A slot that is being left is not to be called left yet: not every router has said that it goes on sending the flows of it here. */
export function isTagAwaited(parts: Parts): boolean {
  return isTagging(parts) && parts.tagging.isAwaited(parts.share.rows);
}

function isTagging({ config, share, policies }: Parts): boolean {
  return config.routers.length > 0 && share.known !== null && policies.of(share.known.policy).handoff === 'tag';
}

/** One router, as far as this replica has heard. */
interface Router {
  readonly name: string;
  /** What its kernel goes by, of what was said in this session; 0 for nothing. */
  number: number;
  /** It is to be told all of the flows, not only that they are the same. */
  wantsAll: boolean;
  toldAt: number;
  toldAllAt: number;
}

/** By milliseconds of a list's length, how much longer the next waits: each costs as much processor time to tell. */
const flowsPerMs = 8;
/** Routers forget what is not said again within some seconds. */
const refreshMs = 1000;

/**
 * Handoff `tag` (figure 16): routers go on sending this replica the flows that it holds of slots that it gives away, whoever owns these. It tells them which, all that there are and
 * again whenever they are others, and each router says what its kernel goes by. What is not told, or has no room there, the new owner copies here, as with `forward`.
 */
export class Tagging {
  readonly #session: number;
  readonly #timers: Timers;
  readonly #routers: readonly Router[];
  #rows: Rows = new Map();
  #draining: readonly number[] = [];
  /** Slots that are being left: the new owner relays their SYNs here still. Since when, milliseconds. */
  #leaving: ReadonlyMap<number, { sinceMs: number | null; isDone: boolean }> = new Map();
  #listAt = Number.NEGATIVE_INFINITY;
  #listing: readonly number[] | null = null;
  /** Slots that `#flows` are of. */
  #listed: ReadonlySet<number> = new Set();
  #flows: ReadonlyMap<string, TcpFlow> = new Map();
  #number = 0;
  #transfer = 0;

  constructor(session: number, routers: readonly string[], timers: Timers) {
    this.#session = session;
    this.#timers = timers;
    const [toldAt, toldAllAt] = [Number.NEGATIVE_INFINITY, Number.NEGATIVE_INFINITY];
    this.#routers = routers.map((name) => ({ name, number: 0, wantsAll: false, toldAt, toldAllAt }));
  }

  isAwaited(rows: Rows): boolean {
    this.#take(rows);
    return [...this.#leaving.values()].some(({ isDone }) => !isDone);
  }

  step(rows: Rows, isUsed: boolean, now: number): ControlOutput[] {
    this.#take(rows);
    for (const leaving of this.#leaving.values()) {
      if (leaving.sinceMs === null) this.#listAt = now;
      leaving.sinceMs ??= now;
      if (now >= leaving.sinceMs + this.#timers.tagMs) leaving.isDone = true;
    }
    const slots = isUsed ? this.#draining : [];
    const outputs: ControlOutput[] = [];
    if (!this.#listing && now >= this.#listAt) {
      this.#listAt = now + this.#timers.listMs + this.#flows.size / flowsPerMs;
      this.#listing = slots;
      if (slots.length > 0) outputs.push({ kind: 'flows', slots: new Set(slots) });
      else this.note([]);
    }
    return [...outputs, ...this.#toSend(now)];
  }

  /** The answer to `flows`; null when they could not be listed. */
  note(found: readonly TcpFlow[] | null): void {
    const listing = this.#listing;
    this.#listing = null;
    if (!listing || !found) return;
    const flows = new Map(found.slice(0, taggedMax).map((flow) => [flowKey(flow), flow]));
    const isSame = flows.size === this.#flows.size && [...flows.keys()].every((key) => this.#flows.has(key));
    this.#listed = new Set(listing);
    if (!isSame || (this.#number === 0 && listing.length > 0)) {
      this.#flows = flows;
      this.#number++;
      for (const router of this.#routers) {
        router.wantsAll = true;
        router.toldAt = Number.NEGATIVE_INFINITY;
      }
    }
    this.#conclude();
  }

  /** What a router says that its kernel goes by. */
  hear(name: string, { session, number }: Tagged, now: number): void {
    const router = this.#routers.find((each) => each.name === name);
    if (!router) return;
    router.number = session === this.#session ? number : 0;
    // What was said a moment ago may be on its way still.
    if (router.number !== this.#number && now >= router.toldAllAt + this.#timers.resendMs) router.wantsAll = true;
    this.#conclude();
  }

  #take(rows: Rows): void {
    if (rows === this.#rows) return;
    this.#rows = rows;
    this.#draining = drainingSlots(rows);
    const leaving = this.#draining.filter((slot) => rows.get(slot)?.peer !== null);
    this.#leaving = new Map(
      leaving.map((slot) => [slot, this.#leaving.get(slot) ?? { sinceMs: null, isDone: false }] as const),
    );
  }

  /** Every router knows all that was listed. */
  #conclude(): void {
    if (this.#routers.some(({ number }) => number !== this.#number)) return;
    for (const [slot, leaving] of this.#leaving) if (this.#listed.has(slot)) leaving.isDone = true;
  }

  #toSend(now: number): ControlOutput[] {
    if (this.#number === 0) return [];
    let all: readonly Uint8Array[] | null = null;
    const takeAll = (): readonly Uint8Array[] => {
      all ??= this.#bodies(true);
      return all;
    };
    return this.#routers.flatMap((router) => {
      const isKnown = router.number === this.#number;
      if (isKnown && this.#flows.size === 0) return [];
      if (now < router.toldAt + (isKnown ? refreshMs : this.#timers.resendMs)) return [];
      router.toldAt = now;
      const tellsAll = !isKnown && router.wantsAll;
      if (tellsAll) {
        router.toldAllAt = now;
        router.wantsAll = false;
      }
      const bodies = tellsAll ? takeAll() : this.#bodies(false);
      return bodies.map((body): ControlOutput => ({ kind: 'send', to: { peer: router.name }, body }));
    });
  }

  #bodies(isWhole: boolean): readonly Uint8Array[] {
    const flows = isWhole ? [...this.#flows.values()] : [];
    return partsOf('tags', ++this.#transfer, encodeTags({ number: this.#number, isWhole, flows }));
  }
}
