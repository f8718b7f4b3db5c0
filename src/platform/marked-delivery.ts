import { formatIp, ipFromBytes } from '../base/address.ts';
import { OperatingError } from '../base/operating-error.ts';
import { localMark } from '../dataplane/forwarding-table.ts';
import { runIp } from './ip-command.ts';
import { linux, setsockopt } from './libc.ts';
import {
  listNetlink,
  NETLINK_ROUTE,
  NLM_F_DUMP,
  NLM_F_REQUEST,
  netlinkAttributes,
  netlinkMessage,
  type Span,
  withNetlink,
} from './netlink.ts';

/** Numbers of <linux/netlink.h> (socket options), <linux/rtnetlink.h> and <linux/fib_rules.h>. */
const SOL_NETLINK = 270;
const NETLINK_GET_STRICT_CHK = 12;
const RTM_NEWROUTE = 24;
const RTM_GETROUTE = 26;
const RTM_NEWRULE = 32;
const RTM_GETRULE = 34;
const RTN_LOCAL = 2;
const RTA_DST = 1;
const RTA_TABLE = 15;
const RT_TABLE_LOCAL = 255;
const FRA_DST = 1;
const FRA_IIFNAME = 3;
const FRA_PRIORITY = 6;
const FRA_FWMARK = 10;
const FRA_TABLE = 15;
const FR_ACT_BLACKHOLE = 6;
/** struct rtmsg and struct fib_rule_hdr. */
const familyBytes = 12;
const receiveBytes = 64 * 1024;

/** Preferences of the rules: after the table `local`, which must not have the address, and before `main`. */
const preferences = { own: 7750, marked: 7751, unmarked: 7752, closed: 7753 } as const;

/**
 * The address is a local one in a routing table of its own, which packets find that come from this host, that carry the mark, or that come from `devices`; all others go nowhere. True when any of that was missing.
 */
export function routeMarked(address: string, devices: readonly string[]): boolean {
  const standing = new Set(standingRules(address));
  const missing = rulesOf(address, devices).filter((rule) => !standing.has(rule));
  const hasRoute = localRoutes(address).includes(localMark);
  if (missing.length === 0 && hasRoute) return false;
  runIp(
    [],
    [
      ...missing.map((rule) => `rule add ${rule}`),
      ...(hasRoute ? [] : [`route replace local ${address} dev lo table ${localMark}`]),
    ],
  );
  return true;
}

/** Takes the address from the table that all packets find; true when it was there. */
export function closeLocal(address: string): boolean {
  if (!localRoutes(address).includes(RT_TABLE_LOCAL)) return false;
  runIp(['route', 'delete', 'local', address, 'dev', 'lo', 'table', 'local']);
  return true;
}

/** Undoes `routeMarked`, as far as it stands. */
export function unroute(address: string, devices: readonly string[]): void {
  const standing = new Set(standingRules(address));
  const rules = rulesOf(address, devices).filter((rule) => standing.has(rule));
  const commands = rules.map((rule) => `rule delete ${rule}`);
  if (localRoutes(address).includes(localMark))
    commands.push(`route delete local ${address} dev lo table ${localMark}`);
  if (commands.length > 0) runIp([], commands);
}

function rulesOf(address: string, devices: readonly string[]): string[] {
  return [
    `pref ${preferences.own} iif lo to ${address} lookup ${localMark}`,
    `pref ${preferences.marked} to ${address} fwmark ${localMark} lookup ${localMark}`,
    ...devices.map((device) => `pref ${preferences.unmarked} iif ${device} to ${address} lookup ${localMark}`),
    `pref ${preferences.closed} to ${address} blackhole`,
  ];
}

/** Rules of this file's preferences for the address, as `rulesOf` writes them; of others something that is like none of them. */
function standingRules(address: string): string[] {
  return dump(RTM_GETRULE, RTM_NEWRULE, 0).flatMap(({ view, at, end }) => {
    const body = { at: at + familyBytes, end };
    if (addressIn(view, body, FRA_DST) !== address) return [];
    const mark = numberIn(view, body, FRA_FWMARK);
    const words = [
      `pref ${numberIn(view, body, FRA_PRIORITY)}`,
      ...[...netlinkAttributes(view, body, FRA_IIFNAME)].map((span) => `iif ${textIn(view, span)}`),
      `to ${address}`,
      ...(mark === undefined ? [] : [`fwmark ${mark}`]),
      view.getUint8(at + 7) === FR_ACT_BLACKHOLE ? 'blackhole' : `lookup ${numberIn(view, body, FRA_TABLE)}`,
    ];
    return [words.join(' ')];
  });
}

/** Tables in which the address is a local one. */
function localRoutes(address: string): number[] {
  return dump(RTM_GETROUTE, RTM_NEWROUTE, RTN_LOCAL).flatMap(({ view, at, end }) => {
    const body = { at: at + familyBytes, end };
    if (view.getUint8(at + 7) !== RTN_LOCAL || addressIn(view, body, RTA_DST) !== address) return [];
    return [numberIn(view, body, RTA_TABLE) ?? 0];
  });
}

function addressIn(view: DataView, span: Span, type: number): string | null {
  for (const { at } of netlinkAttributes(view, span, type)) {
    return formatIp(ipFromBytes(new Uint8Array(view.buffer.slice(at, at + 4))));
  }
  return null;
}

function numberIn(view: DataView, span: Span, type: number): number | undefined {
  for (const { at } of netlinkAttributes(view, span, type)) return view.getUint32(at, true);
  return undefined;
}

function textIn(view: DataView, { at, end }: Span): string {
  return new TextDecoder().decode(new Uint8Array(view.buffer, at, end - at)).replace(/\0.*$/, '');
}

type Listed = Span & { readonly view: DataView };

/**
 * All IPv4 messages of a type, straight from the kernel: a process that spawns another on a busy host may be blocked for longer than a lease. `routeType` is that of the routes alone that are
 * wanted.
 */
function dump(request: number, answer: number, routeType: number): Listed[] {
  const head = new Uint8Array(familyBytes);
  head[0] = linux.AF_INET;
  head[7] = routeType;
  return withNetlink(NETLINK_ROUTE, 256 * 1024, (fd) => {
    // Only then the kernel looks at what is asked for.
    setsockopt(fd, SOL_NETLINK, NETLINK_GET_STRICT_CHK, new Uint8Array([1, 0, 0, 0]));
    return listNetlink<Listed>(fd, {
      request: netlinkMessage(request, NLM_F_REQUEST | NLM_F_DUMP, [head]),
      receiveBytes,
      read(view, { type, at, end }, listed) {
        if (type === answer) listed.push({ view, at, end });
      },
      refused: (errno) => new OperatingError('routing', `the kernel does not list routes: error ${errno}`),
    });
  });
}
