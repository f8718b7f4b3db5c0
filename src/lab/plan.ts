import { formatIp, type IpAddress } from '../base/address.ts';
import { OperatingError } from '../base/operating-error.ts';
import type { Delivery } from '../dataplane/forwarding-table.ts';

/** As in agent.yaml. */
export type LabDelivery = Delivery | 'group';

/** What `labUp` is asked for. */
export interface LabSize {
  readonly name: string;
  readonly replicas: number;
  readonly clients: number;
  /** Addresses of each client machine. */
  readonly addresses: number;
  /** As in agent.yaml; `segment` by default. */
  readonly delivery?: LabDelivery;
  /** Of `router` delivery: one, or two side by side; 1 by default. Of `group` delivery: one, between the replicas and the clients; none by default. */
  readonly routers?: number | undefined;
  /** Group delivery alone: all machines are this one, and what they send stays on its loopback device. Needs no namespaces, and no privilege. */
  readonly onLoopback?: boolean;
}

/** A machine of the laboratory: one network namespace with one cable, `eth0`, to the switch. */
export interface LabNode {
  /** "r1", "c2"; also the name of its port on the switch. */
  readonly name: string;
  readonly namespace: string;
  readonly address: string;
}

export interface LabClient extends LabNode {
  /** Addresses that its programs may use as their own. */
  readonly addresses: readonly string[];
}

/** A machine between the segment of the replicas, at `eth0`, and that of the clients, at `eth1`. */
export interface LabRouter extends LabNode {
  /** Its address among the clients. */
  readonly clientSide: string;
}

/** Names and addresses of a laboratory: the same for the same size. */
export interface LabPlan {
  readonly name: string;
  /** Namespace of the switch, with the bridge `br0`; where there is a router, the clients are on another, `br1`. */
  readonly switchNamespace: string;
  /** One, "rt", or "rt1" and "rt2"; none in `segment` delivery. Where there are two, everybody's way out is over both. */
  readonly routers: readonly LabRouter[];
  readonly replicas: readonly LabNode[];
  readonly clients: readonly LabClient[];
  /** Among the replicas, and none of them: there is one only where somebody has plugged it in. */
  readonly stranger: LabNode;
  readonly delivery: LabDelivery;
  readonly onLoopback: boolean;
  /** `address` is what clients send to: in group delivery the group. */
  readonly service: { readonly address: string; readonly group: string };
  readonly control: { readonly group: string; readonly port: number };
}

/** Of the one segment, and of each of two. */
export const prefixLength = 16;
export const routedPrefixLength = 24;
/** With the longest node name, a namespace is still one word in a listing. */
const namePattern = /^[a-z0-9]{1,10}$/;
/** What one lab can have. */
export const labLimits = { replicas: 64, clients: 16, addresses: 64, routers: 2 } as const;
/** Client addresses in all: their last bytes are all different, so that they spread over the slots of the default mask. */
export const clientAddressesMax = 254;

export function planLab(size: LabSize): LabPlan {
  check(size);
  const { name, replicas, clients, addresses, delivery = 'segment', onLoopback = false } = size;
  // On loopback every address of 127.0.0.0/8 is the machine's own (RFC 1122, section 3.2.1.3).
  const subnet = (third: number, fourth: number): string => inNetwork(onLoopback ? 127 : 10, third, fourth);
  const group = '239.77.0.100';
  const namespace = (node: string): string => `mc-${name}-${node}`;
  const node = (kind: 'r' | 'c', i: number, address: string): LabNode => ({
    name: `${kind}${i + 1}`,
    namespace: namespace(`${kind}${i + 1}`),
    address,
  });
  return {
    name,
    switchNamespace: namespace('sw'),
    routers: routerNames(size).map((router, i) => ({
      ...{ name: router, namespace: namespace(router) },
      ...{ address: subnet(0, 1 + i), clientSide: subnet(1, 254 - i) },
    })),
    replicas: Array.from({ length: replicas }, (_, i) => node('r', i, subnet(0, 11 + i))),
    clients: Array.from({ length: clients }, (_, i) => ({
      ...node('c', i, subnet(1, 1 + i)),
      addresses: Array.from({ length: addresses }, (_, k) =>
        subnet(101 + i, lastByte(k * clients + i, clients * addresses)),
      ),
    })),
    stranger: { name: 'x1', namespace: namespace('x1'), address: subnet(0, 99) },
    delivery,
    onLoopback,
    service: { address: delivery === 'group' ? group : subnet(0, 100), group },
    control: { group: '239.77.0.1', port: 7746 },
  };
}

export function routerNames({ delivery = 'segment', routers }: Pick<LabSize, 'delivery' | 'routers'>): string[] {
  const count = delivery === 'segment' ? 0 : (routers ?? (delivery === 'router' ? 1 : 0));
  return count <= 1 ? ['rt'].slice(0, count) : Array.from({ length: count }, (_, i) => `rt${i + 1}`);
}

/** Evenly over 1 to 254. */
function lastByte(index: number, count: number): number {
  return 1 + Math.floor((index * clientAddressesMax) / count);
}

function inNetwork(first: number, third: number, fourth: number): string {
  const address: IpAddress = { family: 4, value: (BigInt(first) << 24n) | 0x4d0000n | BigInt((third << 8) | fourth) };
  return formatIp(address);
}

function check(size: LabSize): void {
  if (!namePattern.test(size.name)) {
    throw new OperatingError(
      'usage',
      `"${size.name}" is no name for a lab, allowed are 1 to 10 lower-case letters and digits`,
    );
  }
  for (const [what, max] of Object.entries(labLimits)) {
    const value = size[what as keyof typeof labLimits] ?? 1;
    if (!Number.isInteger(value) || value < 1 || value > max) {
      throw new OperatingError('usage', `--${what}: ${value} is not allowed, allowed is 1 to ${max}`);
    }
  }
  if (size.onLoopback && size.delivery !== 'group')
    throw new OperatingError('usage', 'without namespaces there is group delivery alone');
  if (size.routers !== undefined && (size.delivery === undefined || size.delivery === 'segment' || size.onLoopback))
    throw new OperatingError('usage', '--routers: are for --delivery router or group');
  // Datagrams come to both, and both would send them on.
  if (size.routers === 2 && size.delivery === 'group')
    throw new OperatingError('usage', '--routers: 2 is not allowed for --delivery group, allowed is 1');
  if (size.clients * size.addresses > clientAddressesMax) {
    throw new OperatingError(
      'usage',
      `${size.clients * size.addresses} client addresses are too many, allowed are ${clientAddressesMax}`,
    );
  }
}
