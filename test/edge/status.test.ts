import { describe, expect, test } from 'vitest';
import { formatRouterStatus, type RouterStatus } from '../../src/edge/status.ts';

const web: RouterStatus['services'][number] = {
  ...{ name: 'web', address: '203.0.113.10', group: '239.77.0.10', access: 'private', problem: null },
  members: [
    {
      ...{ name: 'web1', address: '198.51.100.1', link: 'eth0', epoch: 7, slots: '0-127' },
      filters: ['0.0.0.0/0.0.0.128'],
    },
    { name: 'web2', address: '198.51.100.2', link: 'eth0', epoch: 7, slots: '', filters: [] },
  ],
  unclaimed: '128-255',
  tags: 2,
  packets: { forwarded: 1000, tagged: 3, errors: 2, dropped: 4 },
};
const lost: RouterStatus['services'][number] = {
  ...{
    name: 'dns',
    address: '203.0.113.11',
    group: '239.77.0.11',
    access: 'unknown',
    members: [],
    unclaimed: '0-255',
    tags: 0,
  },
  ...{ problem: 'it is told to be public, and a fingerprint is configured', packets: null },
};
const status: RouterStatus = {
  ...{ node: 'edge1', version: '0.1.0', services: [web, lost] },
  refused: { unsigned: 3, duplicate: 1 },
};

describe('manycast router status', () => {
  test('says who has joined each service for what, and then what is wrong', () => {
    expect(formatRouterStatus(status)).toBe(`router edge1

web  203.0.113.10, group 239.77.0.10, private
  web1  198.51.100.1 on eth0, epoch 7: slots 0-127 (1 filters)
  web2  198.51.100.2 on eth0, epoch 7: slots none (0 filters)
  dropped, as nobody has joined for them: slots 128-255
  connections that stay with the replica that gave their slots away: 2
  packets: 1000 forwarded, 3 tagged, 2 ICMP errors, 4 dropped

dns  203.0.113.11, group 239.77.0.11, nobody may join yet
  registry: it is told to be public, and a fingerprint is configured
  nobody has joined
  dropped, as nobody has joined for them: slots 0-255

joins refused: unsigned 3, duplicate 1
`);
  });

  test('has no line about what is as it should be', () => {
    const well = { ...web, unclaimed: '' };
    expect(formatRouterStatus({ ...status, services: [well], refused: {} })).not.toMatch(/refused|nobody|registry/);
  });
});
