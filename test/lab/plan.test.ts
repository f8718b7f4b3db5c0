import { describe, expect, test } from 'vitest';
import { type LabSize, planLab } from '../../src/lab/plan.ts';

describe('the plan of a lab', () => {
  const plan = planLab({ name: 'demo', replicas: 3, clients: 2, addresses: 16 });

  test('names namespaces after the lab and the node', () => {
    expect([...plan.replicas, ...plan.clients].map(({ namespace }) => namespace)).toEqual([
      'mc-demo-r1',
      'mc-demo-r2',
      'mc-demo-r3',
      'mc-demo-c1',
      'mc-demo-c2',
    ]);
    expect(plan.switchNamespace).toBe('mc-demo-sw');
  });

  test('has a router with a foot on each side where packets are routed, and none otherwise', () => {
    expect(plan.routers).toEqual([]);
    const routed = planLab({ name: 'demo', replicas: 3, clients: 2, addresses: 16, delivery: 'router' });
    expect(routed.routers).toEqual([
      { name: 'rt', namespace: 'mc-demo-rt', address: '10.77.0.1', clientSide: '10.77.1.254' },
    ]);
    expect({ ...routed, routers: [], delivery: 'segment' }).toEqual(plan);
  });

  test('has a router before a group where one is wanted', () => {
    const size: LabSize = { name: 'x', replicas: 2, clients: 1, addresses: 2, delivery: 'group' };
    expect(planLab(size).routers).toEqual([]);
    expect(planLab({ ...size, routers: 1 }).routers.map(({ name }) => name)).toEqual(['rt']);
  });

  test('has two routers side by side where two are wanted', () => {
    const { routers } = planLab({ name: 'x', replicas: 2, clients: 1, addresses: 2, delivery: 'router', routers: 2 });
    expect(routers.map(({ name, address, clientSide }) => [name, address, clientSide])).toEqual([
      ['rt1', '10.77.0.1', '10.77.1.254'],
      ['rt2', '10.77.0.2', '10.77.1.253'],
    ]);
  });

  test('spreads the client addresses over the slots of the default mask', () => {
    const lastBytes = plan.clients.flatMap(({ addresses }) => addresses.map((each) => Number(each.split('.')[3])));
    const sorted = [...lastBytes].sort((a, b) => a - b);
    expect(new Set(sorted).size).toBe(32);
    const gaps = sorted.slice(1).map((byte, i) => byte - (sorted[i] ?? 0));
    expect(Math.max(...gaps) - Math.min(...gaps)).toBeLessThanOrEqual(1);
    const eighths = Array.from({ length: 8 }, (_, i) => sorted.filter((byte) => byte >> 5 === i).length);
    expect(Math.min(...eighths)).toBeGreaterThanOrEqual(3);
  });

  test.each([
    { replicas: 16, clients: 16, addresses: 15 },
    { replicas: 1, clients: 4, addresses: 63 },
    { replicas: 2, clients: 1, addresses: 1 },
  ])('gives every address once: %j', (size) => {
    const { replicas, clients, service } = planLab({ name: 'x', ...size });
    const all = [
      service.address,
      ...[...replicas, ...clients].map(({ address }) => address),
      ...clients.flatMap(({ addresses }) => addresses),
    ];
    expect(new Set(all).size).toBe(all.length);
    expect(all.every((address) => /^10\.77\.\d+\.([1-9]|[1-9]\d|1\d\d|2[0-4]\d|25[0-4])$/.test(address))).toBe(true);
  });

  test('without namespaces all addresses are those of this machine, and the group is what clients reach', () => {
    const local = planLab({ name: 'x', replicas: 2, clients: 1, addresses: 2, delivery: 'group', onLoopback: true });
    expect(local.service).toEqual({ address: '239.77.0.100', group: '239.77.0.100' });
    expect(local.replicas.map(({ address }) => address)).toEqual(['127.77.0.11', '127.77.0.12']);
    expect(local.clients.map(({ addresses }) => addresses)).toEqual([['127.77.101.1', '127.77.101.128']]);
    expect(() => planLab({ name: 'x', replicas: 2, clients: 1, addresses: 2, onLoopback: true })).toThrow(
      'without namespaces there is group delivery alone',
    );
  });

  test.each([
    [{ name: 'Demo' }, '"Demo" is no name for a lab, allowed are 1 to 10 lower-case letters and digits'],
    [{ name: 'longer-than' }, '"longer-than" is no name for a lab, allowed are 1 to 10 lower-case letters and digits'],
    [{ replicas: 0 }, '--replicas: 0 is not allowed, allowed is 1 to 64'],
    [{ routers: 3, delivery: 'router' }, '--routers: 3 is not allowed, allowed is 1 to 2'],
    [{ routers: 1 }, '--routers: are for --delivery router or group'],
    [{ routers: 2, delivery: 'group' }, '--routers: 2 is not allowed for --delivery group, allowed is 1'],
    [{ replicas: 65 }, '--replicas: 65 is not allowed, allowed is 1 to 64'],
    [{ clients: Number.NaN }, '--clients: NaN is not allowed, allowed is 1 to 16'],
    [{ clients: 16, addresses: 16 }, '256 client addresses are too many, allowed are 254'],
  ] satisfies [Partial<LabSize>, string][])('refuses %j in one line', (size, line) => {
    expect(() => planLab({ name: 'demo', replicas: 3, clients: 2, addresses: 8, ...size })).toThrow(line);
  });
});
