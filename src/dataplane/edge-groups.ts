import { formatIp } from '../base/address.ts';
import type { EdgeTable } from './edge.ts';
import type { RunIp } from './edge-routes.ts';

/**
 * The groups that clients send to, joined at the devices that they are behind: otherwise neither the device nor a switch that snoops would let their frames in. Joined with an address of the device and not by
 * a socket, they outlive the process, as the rest of the edge does.
 */
export interface EdgeGroups {
  /** Joins what is missing, and leaves what is of the edge and not in `table`; true when there was something. */
  set(table: EdgeTable): boolean;
  /** Takes what stands of `table` for its own. */
  adopt(table: EdgeTable): void;
}

export function createEdgeGroups(ip: RunIp): EdgeGroups {
  let own: ReadonlySet<string> = new Set();
  return {
    set(table: EdgeTable): boolean {
      const wanted = membershipsOf(table);
      if (wanted.size === 0 && own.size === 0) return false;
      const standing = standingAddresses(ip);
      const commands = [
        ...[...wanted].filter((each) => !standing.has(each)).map((each) => `address add ${each} autojoin`),
        ...[...own].filter((each) => !wanted.has(each) && standing.has(each)).map((each) => `address delete ${each}`),
      ];
      own = new Set([...own, ...wanted]);
      if (commands.length > 0) ip([], commands);
      own = wanted;
      return commands.length > 0;
    },
    adopt(table: EdgeTable): void {
      own = membershipsOf(table);
    },
  };
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
