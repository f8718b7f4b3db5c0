import { formatIp, sameIp } from '../base/address.ts';
import { OperatingError } from '../base/operating-error.ts';
import { type EdgeService, type EdgeTable, hopKey, type NextHop, nextHopsMax } from './edge.ts';
import {
  addingCommands,
  type EdgeRoutes,
  markBase,
  type RunIp,
  removingCommands,
  standingRoutes,
} from './edge-routes.ts';
import type { HopMarks } from './nft-edge.ts';

/** The next hops of an edge, each with a mark and a route of its own. Routes stand before rules name them, and go when no packet can be on its way to them any more. */
export interface EdgeHops {
  /** Gives those that are new in `table` a mark; throws an OperatingError and changes nothing when there are too many. */
  name(table: EdgeTable): void;
  marks(): HopMarks;
  byMark(): ReadonlyMap<number, NextHop>;
  /** Adds the routes that are missing; throws an OperatingError when one cannot be had, once all others are. */
  add(table: EdgeTable): void;
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
  /** What was added last, as text. */
  let standing = '';
  const byMark = (): ReadonlyMap<number, NextHop> => new Map([...hops.values()].map(({ mark, hop }) => [mark, hop]));
  const routesOf = ({ services }: EdgeTable): EdgeRoutes => ({
    services: new Set(routed(services).map(({ address }) => formatIp(address))),
    hops: byMark(),
  });
  const textOf = ({ services, hops: all }: EdgeRoutes): string => JSON.stringify([...services, ...all.keys()]);

  /** Makes the routes those of `table`, and of no other where that is said. */
  function route(table: EdgeTable, commandsOf: typeof addingCommands): boolean {
    standing = '';
    const to = routesOf(table);
    const commands = commandsOf(standingRoutes(ip), to);
    if (commands.length > 0) ip([], commands);
    standing = textOf(to);
    return commands.length > 0;
  }

  return {
    name(table: EdgeTable): void {
      hops = withMarks(hops, hopsOf(table));
    },
    marks: () => new Map([...hops].map(([key, { mark }]) => [key, mark])),
    byMark,
    add(table: EdgeTable): void {
      if (textOf(routesOf(table)) !== standing) route(table, addingCommands);
    },
    drop(table: EdgeTable, before: EdgeTable): void {
      const used = new Set([...hopsOf(table).keys(), ...hopsOf(before).keys()]);
      const kept = new Map([...hops].filter(([key]) => used.has(key)));
      const hasAddress = ({ address }: EdgeService) => table.services.some((each) => sameIp(each.address, address));
      if (kept.size === hops.size && before.services.every(hasAddress)) return;
      hops = kept;
      route(table, removingCommands);
    },
    repair: (table) => route(table, addingCommands),
    adopt(): void {
      standing = '';
      hops = new Map([...standingRoutes(ip).hops].map(([mark, hop]) => [hopKey(hop), { mark, hop }]));
    },
    remove(): void {
      hops = new Map();
      route({ services: [] }, removingCommands);
    },
  };
}

/** Datagrams to a group follow no routes. */
function routed(services: readonly EdgeService[]): readonly EdgeService[] {
  return services.filter(({ clientDevices }) => clientDevices === undefined);
}

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
