import { existsSync, readFileSync, writeFileSync } from 'node:fs';
import { isDeepStrictEqual } from 'node:util';
import { formatIp, type IpAddress, ipBytes } from '../base/address.ts';
import { messageOf, OperatingError } from '../base/operating-error.ts';
import type { HostNeeds, HostSetup } from '../ports/host-setup.ts';
import type { StateStore } from '../ports/state-store.ts';
import { runIp } from './ip-command.ts';
import { deviceAddresses } from './libc.ts';
import { closeLocal, routeMarked, unroute } from './marked-delivery.ts';

/**
 * The kernel must never answer ARP for the service address, nor name it as the sender of its own requests: either would teach
 * a client the unicast MAC of this one host. The agent answers, with the group's MAC. A greater value is not a stricter one: see
 * arp_ignore and arp_announce in the kernel's ip-sysctl.rst.
 */
const sysctls: readonly Sysctl[] = [
  { name: 'net/ipv4/conf/all/arp_ignore', value: '1', enough: ['1', '2', '8'] },
  { name: 'net/ipv4/conf/all/arp_announce', value: '2', enough: ['2'] },
];

/** Servers may bind to the service address, although it is a local one to marked packets alone. */
const bindSysctl: Sysctl = { name: 'net/ipv4/ip_nonlocal_bind', value: '1', enough: ['1'] };

/** TCP alone ignores by itself what came to a link address of many: without the rules UDP and ICMP would take every client's datagrams. */
const multicastSysctl = (device: string): Sysctl => {
  return { name: `net/ipv4/conf/${device}/drop_unicast_in_l2_multicast`, value: '1', enough: ['1'] };
};

interface Sysctl {
  readonly name: string;
  readonly value: string;
  readonly enough: readonly string[];
}

/** One change, in the form that undoes it. */
type Change =
  | { readonly kind: 'address'; readonly address: string; readonly device: string }
  | { readonly kind: 'routing'; readonly address: string; readonly devices: readonly string[] }
  | { readonly kind: 'sysctl'; readonly name: string; readonly before: string; readonly set: string };

const record = 'host-changes.json';

export function createLinuxHost(store: StateStore): HostSetup {
  let needed: HostNeeds | null = null;
  return {
    prepare(needs: HostNeeds): void {
      if (!deviceAddresses().has(needs.device)) {
        throw new OperatingError('interface', `interface: "${needs.device}" is not an interface of this host`);
      }
      needed = needs;
      putInPlace(store, needs);
    },
    repair: () => (needed ? putInPlace(store, needed) : []),
    undo(): void {
      needed = null;
      for (const each of changesIn(store).reverse()) {
        if (each.kind === 'sysctl') {
          // A value that somebody else has set since is theirs, and that of a device goes with it.
          if (existsSync(pathOf(each.name)) && readSysctl(each.name) === each.set) writeSysctl(each.name, each.before);
        } else if (each.kind === 'routing') {
          unroute(each.address, each.devices);
        } else if (deviceAddresses().get(each.device)?.includes(each.address)) {
          ip('address', 'delete', each.address, 'dev', each.device);
        }
      }
      store.remove(record);
    },
  };
}

/** A few words for each thing that was missing; of a device that is gone nothing is missing. */
function putInPlace(store: StateStore, needs: HostNeeds): string[] {
  const { device, group, serviceAddress, unmarkedFrom } = needs;
  const present = deviceAddresses();
  const ofDevice = present.get(device);
  const ofDelivery = unmarkedFrom ? [bindSysctl] : ofDevice ? [multicastSysctl(device)] : [];
  const wanted = [...sysctls, ...ofDelivery];
  const put = wanted.filter((each) => setSysctl(store, each)).map(({ name }) => `sysctl ${name.replaceAll('/', '.')}`);
  if (ofDevice && group && joinGroup(store, group, device, ofDevice)) put.push(`group address on ${device}`);
  const address = formatIp(serviceAddress);
  if (unmarkedFrom) {
    const perform = (): boolean => routeMarked(address, unmarkedFrom);
    if (change(store, { kind: 'routing', address, devices: unmarkedFrom }, perform))
      put.push('routing of marked packets');
  }
  if (!present.get('lo')?.includes(`${address}/32`)) {
    // Last: from here on the kernel would answer for it.
    addAddress(store, `${address}/32`, 'lo');
    put.push('service address on lo');
  }
  // With the address the kernel makes it a local one to all packets.
  if (unmarkedFrom && closeLocal(address) && !put.includes('service address on lo')) put.push('local route');
  return put;
}

function setSysctl(store: StateStore, { name, value, enough }: Sysctl): boolean {
  const before = readSysctl(name);
  if (enough.includes(before)) return false;
  change(store, { kind: 'sysctl', name, before, set: value }, () => writeSysctl(name, value));
  return true;
}

/** Joined by the kernel itself and not by a socket, the group outlives the agent. */
function joinGroup(store: StateStore, group: IpAddress, device: string, present: readonly string[]): boolean {
  const address = `${formatIp(group)}/32`;
  if (!present.includes(address)) {
    addAddress(store, address, device, 'autojoin');
    return true;
  }
  if (isJoined(group, device)) return false;
  // Somebody added the address without joining, and the kernel joins only when it is added.
  ip('address', 'delete', address, 'dev', device);
  ip('address', 'add', address, 'dev', device, 'autojoin');
  return true;
}

function addAddress(store: StateStore, address: string, device: string, ...options: string[]): void {
  const perform = (): unknown => ip('address', 'add', address, 'dev', device, ...options);
  change(store, { kind: 'address', address, device }, perform);
}

function changesIn(store: StateStore): Change[] {
  const stored = store.read(record);
  return stored ? (JSON.parse(new TextDecoder().decode(stored)) as Change[]) : [];
}

/** On disk before it is done: a crash in between undoes a change that was not made, which is harmless. */
function change<Result>(store: StateStore, each: Change, perform: () => Result): Result {
  const before = changesIn(store);
  const after = withChange(before, each);
  if (after !== before) store.write(record, new TextEncoder().encode(JSON.stringify(after)));
  return perform();
}

/**
 * One entry for each thing, however often it is put back: what counts before a repair is what the other program wanted. Sysctls stand before
 * addresses, so that they are undone after them: never does the kernel answer for an address that is still there.
 */
function withChange(changes: Change[], each: Change): Change[] {
  const known = changes.findIndex((other) => keyOf(other) === keyOf(each));
  if (known < 0) return each.kind === 'sysctl' ? [each, ...changes] : [...changes, each];
  return isDeepStrictEqual(changes[known], each) ? changes : changes.with(known, each);
}

function keyOf(change: Change): string {
  if (change.kind === 'sysctl') return change.name;
  return change.kind === 'routing' ? `routing ${change.address}` : `${change.address} ${change.device}`;
}

/** Whether the device takes the group's frames. The kernel lists the joined groups of each device as hexadecimal words of the host's byte order. */
function isJoined(group: IpAddress, device: string): boolean {
  const word = Buffer.from(ipBytes(group).reverse()).toString('hex').toUpperCase();
  const devices = readFileSync('/proc/net/igmp', 'utf8').split(/^(?=\d)/m);
  return devices.some((each) => each.split(/[\s:]+/)[1] === device && each.includes(`\t${word} `));
}

function ip(...args: string[]): string {
  return runIp(args);
}

function pathOf(sysctl: string): string {
  return `/proc/sys/${sysctl}`;
}

function readSysctl(name: string): string {
  return readFileSync(pathOf(name), 'utf8').trim();
}

function writeSysctl(name: string, value: string): void {
  try {
    writeFileSync(pathOf(name), value);
  } catch (cause) {
    throw new OperatingError('sysctl', `sysctl ${name.replaceAll('/', '.')} cannot be set: ${messageOf(cause)}`, {
      remedy: 'the agent needs CAP_NET_ADMIN',
      cause,
    });
  }
}
