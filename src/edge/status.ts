import { addressOf, formatIp } from '../base/address.ts';
import { assert } from '../base/assert.ts';
import type { EdgeCounters, EdgePlane } from '../dataplane/edge.ts';
import type { Memberships } from '../router/memberships.ts';
import { coverSlots, formatFilter, formatSlots, type Partition } from '../space/index.ts';
import { partitionOf } from '../space/partition.ts';
import type { Edge, EdgeParts } from './edge.ts';

/** What `manycast router status` shows. */
export interface RouterStatus {
  readonly node: string;
  readonly version: string;
  readonly services: readonly {
    readonly name: string;
    readonly address: string;
    readonly group: string;
    /** Who may join, and whether that is known. */
    readonly access: 'public' | 'private' | 'unknown';
    /** Why that is not known, or not known anew. */
    readonly problem: string | null;
    readonly members: readonly {
      readonly name: string;
      readonly address: string;
      readonly link: string;
      readonly epoch: number;
      readonly slots: string;
      readonly filters: readonly string[];
    }[];
    /** Slots that nobody has joined for. */
    readonly unclaimed: string;
    /** Connections that go to another replica than the owner of their slot. */
    readonly tags: number;
    readonly packets: EdgeCounters | null;
  }[];
  /** Joins that do not count, by reason. */
  readonly refused: Readonly<Record<string, number>>;
}

export function statusOf(
  { node, version }: Pick<RouterStatus, 'node' | 'version'>,
  services: EdgeParts['services'],
  edge: Pick<Edge, 'memberships' | 'refused' | 'tagged'>,
  plane: EdgePlane,
): RouterStatus {
  const memberships = edge.memberships();
  return {
    node,
    version,
    services: services.map(({ config: { service }, access }) => {
      const group = addressOf(service.group);
      const partition = partitionOf(addressOf(service.partition));
      assert(partition.ok, 'a checked partition');
      const owners = memberships.owners(group);
      const admission = access.admission();
      return {
        ...{ name: service.name, address: service.address, group: service.group },
        access: admission === null ? 'unknown' : admission.isPublic ? 'public' : 'private',
        problem: access.problem(),
        members: membersOf(memberships, group, partition.value),
        unclaimed: formatSlots([...Array(partition.value.slotCount).keys()].filter((slot) => !owners.has(slot))),
        tags: edge.tagged(service.name),
        packets: plane.counters(service.name),
      };
    }),
    refused: Object.fromEntries(edge.refused()),
  };
}

/** Who has joined each service, then what is wrong. */
export function formatRouterStatus({ node, services, refused }: RouterStatus): string {
  const lines = [`router ${node}`];
  for (const { name, address, group, access, problem, members, unclaimed, tags, packets } of services) {
    lines.push('', `${name}  ${address}, group ${group}, ${access === 'unknown' ? 'nobody may join yet' : access}`);
    if (problem !== null) lines.push(`  registry: ${problem}`);
    if (members.length === 0) lines.push('  nobody has joined');
    for (const each of members) {
      const { name: member, address: at, link, epoch, slots, filters } = each;
      lines.push(`  ${member}  ${at} on ${link}, epoch ${epoch}: slots ${slots || 'none'} (${filters.length} filters)`);
    }
    if (unclaimed !== '') lines.push(`  dropped, as nobody has joined for them: slots ${unclaimed}`);
    if (tags > 0) lines.push(`  connections that stay with the replica that gave their slots away: ${tags}`);
    if (packets) {
      const { forwarded, tagged, errors, dropped } = packets;
      lines.push(`  packets: ${forwarded} forwarded, ${tagged} tagged, ${errors} ICMP errors, ${dropped} dropped`);
    }
  }
  const counts = Object.entries(refused).map(([reason, count]) => `${reason} ${count}`);
  if (counts.length > 0) lines.push('', `joins refused: ${counts.join(', ')}`);
  return `${lines.join('\n')}\n`;
}

function membersOf(
  memberships: Memberships,
  group: Parameters<Memberships['members']>[0],
  partition: Partition,
): RouterStatus['services'][number]['members'] {
  return [...memberships.members(group)].map(([name, { address, link, epoch, slots }]) => ({
    ...{ name, address: formatIp(address), link, epoch, slots: formatSlots(slots) },
    filters: coverSlots(partition, slots).map(formatFilter),
  }));
}
