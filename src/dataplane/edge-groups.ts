import { formatIp } from '../base/address.ts';
import { sameSet } from '../base/same-set.ts';
import type { EdgeTable } from './edge.ts';
import type { RunIp } from './edge-routes.ts';

/**
 * The groups that clients send to, joined at the devices that they are behind: otherwise neither the device nor a switch that snoops would let their frames in. Joined with an address of the device and not by
 * a socket, they outlive the process, as the rest of the edge does.
 */
export interface EdgeGroups {
  /** Joins what is in `table`, and leaves what is not; asks the kernel nothing when that is what was set. */
  set(table: EdgeTable): void;
  /** The same, whatever was set; true when something was not as it is to be. */
  repair(table: EdgeTable): boolean;
  /** Takes what stands of the groups of `table` for its own, at whatever device. */
  adopt(table: EdgeTable): void;
}

export function createEdgeGroups(ip: RunIp): EdgeGroups {
  let own: ReadonlySet<string> = new Set();
  return {
    set(table: EdgeTable): void {
      const wanted = membershipsOf(table);
      if (!sameSet(wanted, own)) put(wanted);
    },
    repair(table: EdgeTable): boolean {
      const wanted = membershipsOf(table);
      return (wanted.size > 0 || own.size > 0) && put(wanted);
    },
    adopt({ services }: EdgeTable): void {
      const groups = services.flatMap(({ address, clientDevices }) => (clientDevices ? [formatIp(address)] : []));
      const standing = groups.length > 0 ? [...standingAddresses(ip)] : [];
      own = new Set(standing.filter((each) => groups.some((group) => each.startsWith(`${group}/32 `))));
    },
  };

  function put(wanted: ReadonlySet<string>): boolean {
    const standing = standingAddresses(ip);
    const commands = [
      ...[...wanted].filter((each) => !standing.has(each)).map((each) => `address add ${each} autojoin`),
      ...[...own].filter((each) => !wanted.has(each) && standing.has(each)).map((each) => `address delete ${each}`),
    ];
    own = new Set([...own, ...wanted]);
    if (commands.length > 0) ip([], commands);
    own = wanted;
    return commands.length > 0;
  }
}

/** Each as ip(8) is told of it. */
function membershipsOf({ services }: EdgeTable): ReadonlySet<string> {
  return new Set(
    services.flatMap(({ address, clientDevices = [] }) =>
      clientDevices.map((device) => `${formatIp(address)}/32 dev ${device}`),
    ),
  );
}

/** The part of `ip -json address` that is read. */
interface ListedDevice {
  readonly ifname: string;
  readonly addr_info: readonly { readonly local: string; readonly prefixlen: number }[];
}

function standingAddresses(ip: RunIp): ReadonlySet<string> {
  const devices = JSON.parse(ip(['-json', '-4', 'address', 'show'])) as ListedDevice[];
  return new Set(
    devices.flatMap(({ ifname, addr_info: addresses }) =>
      addresses.map(({ local, prefixlen }) => `${local}/${prefixlen} dev ${ifname}`),
    ),
  );
}
