import { addressOf, type IpAddress, isMulticast } from '../base/address.ts';
import { OperatingError } from '../base/operating-error.ts';
import { deviceAddresses } from './libc.ts';

/** One address of a device, with its subnet. */
interface Subnet {
  readonly address: IpAddress;
  /** How many of the low bits tell the hosts of the subnet apart. */
  readonly hostBits: bigint;
}

/** An address that comes or goes counts within this time. */
const rememberMs = 1000;

/** The IPv4 address that this host speaks from on a device, with a carrier or without: its first that is no group's. Throws an OperatingError when the device has none. */
export function ownAddress(link: string): IpAddress {
  const [first] = subnetsOf(deviceAddresses().get(link));
  if (first) return first.address;
  throw new OperatingError('interface', `"${link}" is no device of this host with an IPv4 address`, {
    remedy: `is it there? ip address show dev ${link}`,
  });
}

/** The subnets of this host's links. The system is asked for them once a second at most, however much is judged by them. */
export interface LinkSubnets {
  /** Whether an address belongs to the link of a device: one of its subnets holds it. */
  isOnLink(link: string, address: IpAddress): boolean;
  /** Asks the system before the next answer. */
  forget(): void;
}

/** `now` in milliseconds. */
export function openLinkSubnets(now: () => number): LinkSubnets {
  let links = new Map<string, readonly Subnet[]>();
  let untilMs = -Infinity;
  return {
    isOnLink(link: string, { family, value }: IpAddress): boolean {
      const nowMs = now();
      if (nowMs >= untilMs) {
        links = new Map([...deviceAddresses()].map(([device, addresses]) => [device, subnetsOf(addresses)]));
        untilMs = nowMs + rememberMs;
      }
      const subnets = links.get(link) ?? [];
      return subnets.some(
        ({ address, hostBits }) => family === address.family && value >> hostBits === address.value >> hostBits,
      );
    },
    forget(): void {
      untilMs = -Infinity;
    },
  };
}

/** Of addresses with their prefix length. An address of a group is none to speak from. */
function subnetsOf(addresses: readonly string[] = []): Subnet[] {
  return addresses.flatMap((each) => {
    const [text = '', prefixLength] = each.split('/');
    const address = addressOf(text);
    return isMulticast(address) ? [] : [{ address, hostBits: 32n - BigInt(prefixLength ?? 32) }];
  });
}
