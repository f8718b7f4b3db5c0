import { formatIp, parseIp } from '../base/address.ts';
import { hopKey, type NextHop } from './edge.ts';

/**
 * Runs ip(8) with these arguments in this network namespace, and with `-batch` the commands; returns what it says. Throws an OperatingError when any of it fails, once all of it was
 * tried.
 */
export type RunIp = (args: readonly string[], commands?: readonly string[]) => string;

/** Marks of next hops are this and a number from 1; each is also the number of its routing table. Its own is that of the packets that the router sends itself. */
export const markBase = 0x6d63_0000;
const marksEnd = markBase + 0x1_0000;

/** Preferences of the rules: before the table `main`, after `local`. */
const preferences = { hop: 7746, own: 7747, closed: 7748 } as const;

/** Rules and routes, for services by address and next hops by mark. */
export interface EdgeRoutes {
  readonly services: ReadonlySet<string>;
  readonly hops: ReadonlyMap<number, NextHop>;
}

/** What of it stands in the kernel, piece by piece. */
export interface StandingRoutes {
  /** As `rulesOf` writes them. */
  readonly rules: ReadonlySet<string>;
  readonly hops: ReadonlyMap<number, NextHop>;
  /** Services that the router itself may send to. */
  readonly own: ReadonlySet<string>;
}

/**
 * A packet with the mark of a next hop goes there; what the router itself sends to the service is routed somewhere first, because only then it comes to the hook that gives it a mark; and what has no mark, as
 * there is no owner or somebody has removed the table, goes nowhere.
 */
function rulesOf({ services, hops }: EdgeRoutes): string[] {
  return [
    ...Array.from(hops.keys(), (mark) => `pref ${preferences.hop} fwmark ${mark} lookup ${mark}`),
    ...Array.from(services, (address) => [
      `pref ${preferences.own} iif lo to ${address} lookup ${markBase}`,
      `pref ${preferences.closed} to ${address} blackhole`,
    ]).flat(),
  ];
}

/** Commands that add what is missing; none is harmed by what stands already. */
export function addingCommands(from: StandingRoutes, to: EdgeRoutes): string[] {
  const missing = [...to.hops].filter(([mark, hop]) => {
    const standing = from.hops.get(mark);
    return !standing || hopKey(standing) !== hopKey(hop);
  });
  return [
    ...missing.map(
      ([mark, { address, device }]) =>
        `route replace default via ${formatIp(address)} dev ${device} onlink table ${mark}`,
    ),
    ...[...to.services]
      .filter((address) => !from.own.has(address))
      .map((address) => `route replace ${address} dev lo table ${markBase}`),
    ...rulesOf(to)
      .filter((rule) => !from.rules.has(rule))
      .map((rule) => `rule add ${rule}`),
  ];
}

/** Commands that remove what `to` does not name. */
export function removingCommands(from: StandingRoutes, to: EdgeRoutes): string[] {
  const wanted = new Set(rulesOf(to));
  return [
    ...[...from.rules].filter((rule) => !wanted.has(rule)).map((rule) => `rule delete ${rule}`),
    ...[...from.hops.keys()].filter((mark) => !to.hops.has(mark)).map((mark) => `route flush table ${mark}`),
    ...[...from.own]
      .filter((address) => !to.services.has(address))
      .map((address) => `route delete ${address} dev lo table ${markBase}`),
  ];
}

/** What stands of the rules and routes of any edge; throws an OperatingError when it cannot be read. */
export function standingRoutes(ip: RunIp): StandingRoutes {
  const rules = (JSON.parse(ip(['-json', 'rule', 'show'])) as ListedRule[]).flatMap(ruleText);
  const tables = rules.flatMap((rule) => /^pref \d+ fwmark (\d+)/.exec(rule)?.[1] ?? []).map(Number);
  const listed = ip(
    ['-json'],
    [markBase, ...tables].map((table) => `route show table ${table}`),
  );
  const routes = listed.split('\n').filter(Boolean).map(parseRoutes);
  const hops = tables.flatMap((mark, i) => {
    const [route] = routes[i + 1] ?? [];
    const address = parseIp(route?.gateway ?? '');
    return address.ok && route ? [[mark, { address: address.value, device: route.dev }] as const] : [];
  });
  return { rules: new Set(rules), hops: new Map(hops), own: new Set(routes[0]?.map(({ dst }) => dst)) };
}

/** The part of `ip -json rule` that is read. */
interface ListedRule {
  readonly priority: number;
  readonly fwmark?: string;
  readonly iif?: string;
  readonly dst?: string;
  readonly table?: string;
  readonly action?: string;
}

interface ListedRoute {
  readonly dst: string;
  readonly gateway?: string;
  readonly dev: string;
}

function parseRoutes(line: string): ListedRoute[] {
  return JSON.parse(line) as ListedRoute[];
}

/** As `rulesOf` writes it; nothing for one that is somebody else's. */
function ruleText({ priority, fwmark, iif, dst, table, action }: ListedRule): string[] {
  const mark = Number(fwmark);
  if (priority === preferences.hop && mark > markBase && mark < marksEnd && table === String(mark)) {
    return [`pref ${priority} fwmark ${mark} lookup ${mark}`];
  }
  if (dst === undefined) return [];
  if (priority === preferences.own && iif === 'lo' && table === String(markBase)) {
    return [`pref ${priority} iif lo to ${dst} lookup ${markBase}`];
  }
  return priority === preferences.closed && action === 'blackhole' ? [`pref ${priority} to ${dst} blackhole`] : [];
}
