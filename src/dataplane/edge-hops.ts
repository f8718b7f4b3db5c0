import { formatIp, sameIp } from '../base/address.ts';
import { defined } from '../base/assert.ts';
import { OperatingError } from '../base/operating-error.ts';
import { type EdgeService, type EdgeTable, hopKey, type NextHop, nextHopsMax } from './edge.ts';
import {
  addingCommands,
  type EdgeRoutes,
  markBase,
  type RunIp,
  removingCommands,
  type StandingRoutes,
  standingRoutes,
} from './edge-routes.ts';
import type { HopMarks } from './nft-edge.ts';

/** What of the routes of a table is not there. */
export interface EdgeLack {
  /** Their packets go nowhere. */
  readonly services: readonly EdgeService[];
  /** By `hopKey`. */
  readonly hops: ReadonlySet<string>;
}

export const nothingLacks: EdgeLack = { services: [], hops: new Set() };

/** The next hops of an edge, each with a mark and a route of its own. Routes stand before rules name them, and go when no packet can be on its way to them any more. */
export interface EdgeHops {
  /** Gives those that are new in `table` a mark; throws an OperatingError and changes nothing when there are too many. */
  name(table: EdgeTable): void;
  marks(): HopMarks;
  byMark(): ReadonlyMap<number, NextHop>;
  /** Adds the routes that are missing; throws an OperatingError when one cannot be had, once all others are. */
  add(table: EdgeTable): void;
  /** What `add` could not add; all, when it cannot be told. */
  lacking(table: EdgeTable): EdgeLack;
  /** Removes the routes that neither `table` needs nor the one before it did. */
  drop(table: EdgeTable, before: EdgeTable): void;
  /** Puts back what others removed; true when there was something. */
  repair(table: EdgeTable): boolean;
  /** Those that an earlier process left. */
  adopt(): void;
  /** Removes all that stands. */
  remove(): void;
}

export function createEdgeHops(ip: RunIp): EdgeHops {
  let hops: ReadonlyMap<string, MarkedHop> = new Map();
  /** All that is known to stand, as text; empty while something may not. */
  let standing = '';
  const byMark = (): ReadonlyMap<number, NextHop> => new Map([...hops.values()].map(({ mark, hop }) => [mark, hop]));
  const routesOf = ({ services }: EdgeTable): EdgeRoutes => ({
    services: new Set(routed(services).map(({ address }) => formatIp(address))),
    hops: byMark(),
  });

  /** True when something was missing. */
  function add(to: EdgeRoutes): boolean {
    standing = '';
    const wasMissing = route(ip, addingCommands, to);
    standing = textOf(to);
    return wasMissing;
  }

  return {
    name(table: EdgeTable): void {
      hops = withMarks(hops, hopsOf(table));
    },
    marks: () => new Map([...hops].map(([key, { mark }]) => [key, mark])),
    byMark,
    add(table: EdgeTable): void {
      const to = routesOf(table);
      if (textOf(to) !== standing) add(to);
    },
    lacking(table: EdgeTable): EdgeLack {
      try {
        return lackOf(table, hops, standingRoutes(ip));
      } catch {
        return { services: routed(table.services), hops: new Set() };
      }
    },
    drop(table: EdgeTable, before: EdgeTable): void {
      const used = new Set([...hopsOf(table).keys(), ...hopsOf(before).keys()]);
      const kept = new Map([...hops].filter(([key]) => used.has(key)));
      const hasAddress = ({ address }: EdgeService) => table.services.some((each) => sameIp(each.address, address));
      if (kept.size === hops.size && before.services.every(hasAddress)) return;
      hops = kept;
      const to = routesOf(table);
      route(ip, removingCommands, to);
      if (standing !== '') standing = textOf(to);
    },
    repair: (table) => add(routesOf(table)),
    adopt(): void {
      standing = '';
      hops = new Map([...standingRoutes(ip).hops].map(([mark, hop]) => [hopKey(hop), { mark, hop }]));
    },
    remove(): void {
      hops = new Map();
      standing = '';
      route(ip, removingCommands, { services: noServices, hops: noHops });
    },
  };
}

/** True when there was something to do. */
function route(ip: RunIp, commandsOf: typeof addingCommands, to: EdgeRoutes): boolean {
  const commands = commandsOf(standingRoutes(ip), to);
  if (commands.length > 0) ip([], commands);
  return commands.length > 0;
}

function textOf({ services, hops }: EdgeRoutes): string {
  return JSON.stringify([...services, ...hops.keys()]);
}

/** What of the routes of a table is none of those that stand. */
function lackOf(table: EdgeTable, hops: ReadonlyMap<string, MarkedHop>, standing: StandingRoutes): EdgeLack {
  const isThere = (part: EdgeRoutes): boolean => addingCommands(standing, part).length === 0;
  const isMissing = ([key, hop]: readonly [string, NextHop]): boolean => {
    const { mark } = defined(hops.get(key), 'a mark');
    return !isThere({ services: noServices, hops: new Map([[mark, hop]]) });
  };
  const isClosed = ({ address }: EdgeService): boolean =>
    !isThere({ services: new Set([formatIp(address)]), hops: noHops });
  return {
    services: routed(table.services).filter(isClosed),
    hops: new Set([...hopsOf(table)].filter(isMissing).map(([key]) => key)),
  };
}

/** Datagrams to a group follow no routes. */
function routed(services: readonly EdgeService[]): readonly EdgeService[] {
  return services.filter(({ clientDevices }) => clientDevices === undefined);
}

const noServices: ReadonlySet<string> = new Set();
const noHops: ReadonlyMap<number, NextHop> = new Map();

interface MarkedHop {
  readonly mark: number;
  readonly hop: NextHop;
}

function hopsOf({ services }: EdgeTable): ReadonlyMap<string, NextHop> {
  // Many slots name the same few values.
  const hops = new Set(routed(services).flatMap(({ owners, tags }) => [...owners.values(), ...tags.values()]));
  return new Map(Array.from(hops, (hop) => [hopKey(hop), hop]));
}

/** Those there are, and each new one with a mark that nobody has. */
function withMarks(
  hops: ReadonlyMap<string, MarkedHop>,
  used: ReadonlyMap<string, NextHop>,
): ReadonlyMap<string, MarkedHop> {
  if (used.size > nextHopsMax) {
    throw new OperatingError('edge', `${used.size} next hops are too many, allowed are ${nextHopsMax}`, {
      remedy: 'put fewer replicas behind one router',
    });
  }
  const taken = new Set(Array.from(hops.values(), ({ mark }) => mark));
  const next = new Map(hops);
  let mark = markBase;
  for (const [key, hop] of used) {
    if (next.has(key)) continue;
    do mark++;
    while (taken.has(mark));
    next.set(key, { mark, hop });
  }
  return next;
}
