import { networkInterfaces } from 'node:os';
import { addressOf, type IpAddress } from '../base/address.ts';
import { OperatingError } from '../base/operating-error.ts';

/** One address of a device, with its subnet. */
interface Subnet {
  readonly address: IpAddress;
  readonly mask: IpAddress;
}

/** The IPv4 address that this host speaks from on a device: its first. Throws an OperatingError when the device has none. */
export function ownAddress(link: string): IpAddress {
  const [first] = subnetsOf(link);
  if (first) return first.address;
  throw new OperatingError('interface', `"${link}" is no device of this host with an IPv4 address`, {
    remedy: `is it there? ip address show dev ${link}`,
  });
}

/** Whether an address belongs to the link of a device: one of its subnets holds it. Asked of the system each time, as addresses come and go. */
export function isOnLink(link: string, address: IpAddress): boolean {
  return subnetsOf(link).some(
    ({ address: own, mask }) =>
      address.family === own.family && (address.value & mask.value) === (own.value & mask.value),
  );
}

function subnetsOf(link: string): Subnet[] {
  return (networkInterfaces()[link] ?? []).flatMap(({ family, address, netmask }) =>
    family === 'IPv4' ? [{ address: addressOf(address), mask: addressOf(netmask) }] : [],
  );
}
