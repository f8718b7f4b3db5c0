import { formatIp } from '../base/address.ts';
import type { EdgeService } from './edge.ts';

/** The mark of datagrams that may be fragmented on their way on. */
const fragmentable = 0x6d65_0001;

/**
 * The rules of a service that clients reach by its group. No kernel routes multicast packets by unicast routes, nor by who sends them: so a datagram goes as a copy (nft_dup_ipv4) to the
 * owner's own address on the link, in a frame for that host alone, with its destination as it was and one hop less to live; it has the group's socket take it as any other. The original ends here.
 *
 * What a multicast router must see to is done here: what has no hop left ends (RFC 1112, section 6.1), and so does what comes from where its sender is not (the reverse path check of RFC 7761,
 * section 4.2). Whoever copies sets "don't fragment"; of datagrams that came without it, it is taken away again where copies leave.
 */
export function groupLines({ address, partition, ports, clientDevices = [] }: EdgeService): string[] {
  const group = formatIp(address);
  const mask = formatIp(partition.mask);
  const devices = clientDevices.map((device) => `"${device}"`).join(', ');
  const served = ports?.flatMap(({ protocol, port }) => (protocol === 'udp' ? [port] : [])).join(', ');
  return [
    ...['forwarded', 'dropped'].map((counter) => `counter ${counter} { }`),
    'map owners { type ipv4_addr : ipv4_addr; }',
    ...(served === undefined ? [] : [`set ports { type inet_service; elements = { ${served} }; }`]),
    'chain closed { counter name dropped drop; }',
    'chain slot {',
    '  ip ttl < 2 goto closed',
    '  fib saddr . iif oif missing goto closed',
    `  ip frag-off & 0x4000 == 0 meta mark set ${fragmentable}`,
    `  dup to ip saddr & ${mask} map @owners counter name forwarded drop`,
    '  goto closed',
    '}',
    'chain datagrams {',
    ...(served === undefined ? [] : ['  ip frag-off & 0x1fff == 0 udp dport != @ports goto closed']),
    '  goto slot',
    '}',
    'chain arrivals {',
    '  type filter hook prerouting priority mangle; policy accept;',
    `  ip daddr ${group} iifname { ${devices} } meta l4proto udp goto datagrams`,
    '}',
    'chain copies {',
    '  type filter hook output priority mangle; policy accept;',
    `  ip daddr ${group} meta mark ${fragmentable} ip frag-off set ip frag-off & 0xbfff`,
    '}',
  ];
}
