import { expect, test } from 'vitest';
import { addressOf } from '../../src/base/address.ts';
import { defined } from '../../src/base/assert.ts';
import type { EdgeService, EdgeTable } from '../../src/dataplane/edge.ts';
import { createEdgeGroups } from '../../src/dataplane/edge-groups.ts';
import { partitionOf } from '../../src/space/index.ts';

/** What ip(8) is told, and lists from then on. */
function kernel(...standing: string[]) {
  const addresses = new Set(standing);
  const told: string[] = [];
  const ip = (args: readonly string[], commands: readonly string[] = []): string => {
    for (const command of commands) {
      told.push(command);
      const [, verb, address] = /^address (add|delete) (\S+ dev \S+)/.exec(command) ?? [];
      if (verb === 'add') addresses.add(address ?? '');
      else addresses.delete(address ?? '');
    }
    if (args.length > 0) told.push('list');
    const listed = [...addresses].map((each) => {
      const [local, prefixlen, ifname] = each.split(/\/| dev /);
      return { ifname, addr_info: [{ local, prefixlen: Number(prefixlen) }] };
    });
    return JSON.stringify(listed);
  };
  return { groups: createEdgeGroups(ip), addresses, told };
}

function tableAt(...clientDevices: string[]): EdgeTable {
  const partition = partitionOf(addressOf('0.0.0.255'));
  const service: EdgeService = {
    ...{ name: 'news', address: addressOf('239.1.1.1'), clientDevices },
    partition: defined(partition.ok ? partition.value : null, 'a mask'),
    ...{ owners: new Map(), tags: new Map() },
  };
  return { services: [service] };
}

test('the kernel is asked when groups or devices change, and not for every change of owners', () => {
  const { groups, told } = kernel();
  groups.set(tableAt('wan'));
  groups.set(tableAt('wan'));
  expect(told).toEqual(['list', 'address add 239.1.1.1/32 dev wan autojoin']);
});

test('what an earlier process joined at devices that are no clients any more is left', () => {
  const { groups, addresses } = kernel('239.1.1.1/32 dev wan', '239.1.1.1/32 dev old', '10.0.0.1/32 dev old');
  groups.adopt(tableAt('wan'));
  groups.set(tableAt('wan'));
  expect([...addresses]).toEqual(['239.1.1.1/32 dev wan', '10.0.0.1/32 dev old']);
});

test('what somebody takes away is put back', () => {
  const { groups, addresses } = kernel();
  groups.set(tableAt('wan'));
  addresses.clear();
  expect(groups.repair(tableAt('wan'))).toBe(true);
  expect([...addresses]).toEqual(['239.1.1.1/32 dev wan']);
  expect(groups.repair(tableAt('wan'))).toBe(false);
});
