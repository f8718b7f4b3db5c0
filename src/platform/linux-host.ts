import { execFileSync } from 'node:child_process';
import { readFileSync, writeFileSync } from 'node:fs';
import { formatIp } from '../base/address.ts';
import { messageOf, OperatingError } from '../base/operating-error.ts';
import type { HostNeeds, HostSetup } from '../ports/host-setup.ts';
import type { StateStore } from '../ports/state-store.ts';

/**
 * The kernel must never answer ARP for the service address, nor name it as the sender of its own requests: either would teach
 * a client the unicast MAC of this one host. The agent answers, with the group's MAC.
 */
const sysctls = [
  { name: 'net/ipv4/conf/all/arp_ignore', value: '1' },
  { name: 'net/ipv4/conf/all/arp_announce', value: '2' },
] as const;

/** One change, in the form that undoes it. */
type Change =
  | { readonly kind: 'address'; readonly address: string; readonly device: string }
  | { readonly kind: 'sysctl'; readonly name: string; readonly before: string; readonly set: string };

const record = 'host-changes.json';

export function createLinuxHost(store: StateStore): HostSetup {
  function read(): Change[] {
    const stored = store.read(record);
    return stored ? (JSON.parse(new TextDecoder().decode(stored)) as Change[]) : [];
  }

  /** On disk before it is done: a crash in between undoes a change that was not made, which is harmless. */
  function change(each: Change, perform: () => void): void {
    store.write(record, new TextEncoder().encode(JSON.stringify([...read(), each])));
    perform();
  }

  function addAddress(address: string, device: string, ...options: string[]): void {
    if (addressesOf(device).includes(address)) return;
    change({ kind: 'address', address, device }, () => ip('address', 'add', address, 'dev', device, ...options));
  }

  return {
    prepare(needs: HostNeeds): void {
      for (const { name, value } of sysctls) {
        const before = readSysctl(name);
        if (Number(before) < Number(value))
          change({ kind: 'sysctl', name, before, set: value }, () => writeSysctl(name, value));
      }
      // Joined by the kernel itself and not by a socket, the group outlives the agent.
      addAddress(`${formatIp(needs.group)}/32`, needs.device, 'autojoin');
      // Last: from here on the kernel would answer for it.
      addAddress(`${formatIp(needs.serviceAddress)}/32`, 'lo');
    },
    undo(): void {
      for (const each of read().reverse()) {
        if (each.kind === 'sysctl') {
          // A value that somebody else has set since is theirs.
          if (readSysctl(each.name) === each.set) writeSysctl(each.name, each.before);
        } else if (addressesOf(each.device).includes(each.address)) {
          ip('address', 'delete', each.address, 'dev', each.device);
        }
      }
      store.remove(record);
    },
  };
}

/** IPv4 addresses with prefix length; none when the device is gone. */
function addressesOf(device: string): string[] {
  const listed = JSON.parse(ip('-json', '-4', 'address', 'show')) as {
    readonly ifname: string;
    readonly addr_info: readonly { readonly local: string; readonly prefixlen: number }[];
  }[];
  return listed
    .filter((each) => each.ifname === device)
    .flatMap((each) => each.addr_info.map((info) => `${info.local}/${info.prefixlen}`));
}

function ip(...args: string[]): string {
  try {
    return execFileSync('ip', args, { encoding: 'utf8', stdio: ['ignore', 'pipe', 'pipe'] });
  } catch (cause) {
    const missing = (cause as NodeJS.ErrnoException).code === 'ENOENT';
    const said = String((cause as { stderr?: unknown }).stderr ?? messageOf(cause)).trim();
    throw new OperatingError('ip', missing ? 'the command "ip" is not installed' : `ip ${args.join(' ')}: ${said}`, {
      cause,
      ...(missing ? { remedy: 'install it: apt-get install iproute2' } : {}),
    });
  }
}

function readSysctl(name: string): string {
  return readFileSync(`/proc/sys/${name}`, 'utf8').trim();
}

function writeSysctl(name: string, value: string): void {
  try {
    writeFileSync(`/proc/sys/${name}`, value);
  } catch (cause) {
    throw new OperatingError('sysctl', `sysctl ${name.replaceAll('/', '.')} cannot be set: ${messageOf(cause)}`, {
      remedy: 'the agent needs CAP_NET_ADMIN',
      cause,
    });
  }
}
