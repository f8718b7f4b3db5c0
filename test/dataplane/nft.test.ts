import { afterAll, describe, expect, test } from 'vitest';
import { describeDataPlane, ip, serve, serviceWith, tableOf } from '../contract/data-plane-contract.ts';
import { openKernelDataPlane } from '../contract/kernel-data-plane.ts';

const kernel = openKernelDataPlane();
afterAll(() => kernel.close());

describeDataPlane('nft, on this kernel', () => kernel);

describe('a kernel shared with others', () => {
  const service = serviceWith('0.0.0.255');
  const syn = {
    source: ip('10.77.101.7'),
    destination: service.address,
    protocol: 'tcp',
    destinationPort: 80,
  } as const;

  test('after a flush by somebody else the next change puts the whole table back', async () => {
    await serve(kernel, tableOf(service, [7, 8]));
    await kernel.flushByOthers();
    await serve(kernel, tableOf(service, [7]));
    expect(await kernel.judge(syn)).toBe('local');
    expect(await kernel.judge({ ...syn, source: ip('10.77.101.8') })).toBe('drop');
  });

  test('a flush by somebody else is repaired, and only what was lost', async () => {
    await serve(kernel, tableOf(service, [7, 8]));
    expect(await kernel.repair()).toBe(false);
    await kernel.flushByOthers();
    expect(await kernel.judge(syn)).toBe('pass');
    expect(await kernel.repair()).toBe(true);
    // The lease went with the table, and nobody knows any more when it would have ended.
    expect(await kernel.judge(syn)).toBe('drop');
    await serve(kernel, tableOf(service, [7, 8]));
    expect(await kernel.judge(syn)).toBe('local');
    expect(await kernel.judge({ ...syn, source: ip('10.77.101.9') })).toBe('drop');
    expect(await kernel.repair()).toBe(false);
  });

  test('a removed table is seen at a glance, changed rows at a close look', async () => {
    await serve(kernel, tableOf(service, [7, 8]));
    expect(await kernel.glance()).toBe(false);
    await kernel.runByOthers('delete table ip mc_web');
    expect([await kernel.glance(), await kernel.glance()]).toEqual([true, false]);
    for (const change of ['delete element netdev mc_web slots { 0.0.0.8 }', 'flush set ip mc_web settled']) {
      await kernel.runByOthers(change);
      expect([await kernel.repair(), await kernel.repair()], change).toEqual([true, false]);
    }
  });

  test('removing leaves no table of ours and keeps the others', async () => {
    await kernel.apply(tableOf(service, [7]));
    expect(await kernel.tables()).toContain('mc_web');
    await kernel.remove();
    expect(await kernel.tables()).toEqual(['probe']);
  });
});
