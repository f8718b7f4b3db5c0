import { afterAll, describe, expect, test } from 'vitest';
import { describeCopies } from '../contract/copies-contract.ts';
import { describeDataPlane, ip, serve, serviceWith, tableOf } from '../contract/data-plane-contract.ts';
import { describeDiversions, diverting, releasing } from '../contract/diversions-contract.ts';
import { openKernelDataPlane } from '../contract/kernel-data-plane.ts';
import { describeStaying } from '../contract/staying-contract.ts';

const kernel = openKernelDataPlane();
afterAll(() => kernel.close());

describeDataPlane('nft, on this kernel', () => kernel);
describeDataPlane('nft, on this kernel', () => kernel, 'router');
describeCopies('nft, on this kernel', () => kernel);
describeDiversions('nft, on this kernel', () => kernel);
describeStaying('nft, on this kernel', () => kernel);

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

  test('a table whose chain for arrivals went with its device, or whose device was made anew, is put back at a glance', async () => {
    await serve(kernel, tableOf(service, [7, 8]));
    await kernel.runByOthers('flush chain netdev mc_web ingress; delete chain netdev mc_web ingress');
    expect(await kernel.judge(syn)).toBe('pass');
    expect(await kernel.adopt()).toBeNull();
    await serve(kernel, tableOf(service, [7, 8]));
    expect(await kernel.judge(syn)).toBe('local');
    await kernel.runByOthers('flush chain netdev mc_web ingress; delete chain netdev mc_web ingress');
    expect([await kernel.glance(), await kernel.glance()]).toEqual([true, false]);
    await kernel.renumber();
    expect([await kernel.glance(), await kernel.glance()]).toEqual([true, false]);
    await kernel.renumber();
    expect([await kernel.repair(), await kernel.repair()]).toEqual([true, false]);
  });

  test('what was diverted comes back with the table, by the next change or by a repair', async () => {
    const flow = '10.77.101.7';
    const segment = { ...syn, sourcePort: 40_000, opens: false };
    await serve(kernel, tableOf(service, [7, 8]));
    await kernel.divert([diverting(flow), diverting('10.77.101.8')]);
    const judge = async () => [
      await kernel.judge(segment),
      await kernel.judge({ ...segment, source: ip('10.77.101.8') }),
    ];
    await kernel.flushByOthers();
    await expect(kernel.divert([releasing(flow)])).rejects.toThrow('flows cannot be diverted: ');
    expect(await kernel.repair()).toBe(true);
    expect(await judge()).toEqual(['hold', 'hold']);
    await kernel.flushByOthers();
    await serve(kernel, tableOf(service, [7]));
    expect(await judge()).toEqual(['hold', 'hold']);
    await kernel.divert([releasing(flow), releasing('10.77.101.8')]);
    expect(await judge()).toEqual(['local', 'drop']);
  });

  test('what others change in the flows that are diverted is seen at a close look', async () => {
    await serve(kernel, tableOf(service, [7, 8]));
    await kernel.divert([diverting('10.77.101.7'), diverting('10.77.101.8')]);
    expect(await kernel.repair()).toBe(false);
    const element = 'element netdev mc_web diverted';
    const flow = '10.77.101.7 . 40000 . 80';
    for (const edit of [
      `delete ${element} { ${flow} }`,
      `add ${element} { 10.77.101.9 . 40000 . 80 }`,
      `delete ${element} { ${flow} }\nadd ${element} { 10.77.101.9 . 40000 . 80 }`,
    ]) {
      await kernel.runByOthers(edit);
      expect([await kernel.repair(), await kernel.repair()], edit).toEqual([true, false]);
    }
    await kernel.divert([releasing('10.77.101.7'), releasing('10.77.101.8')]);
    expect(await kernel.repair()).toBe(false);
  });

  test('without a hold device the table stands and works; nothing can be held, and what was held drops', async () => {
    const named = serviceWith('0.0.0.255', { holdDevice: 'elsewhere' });
    const segment = { ...syn, sourcePort: 40_000, opens: false };
    await kernel.remove();
    await serve(kernel, tableOf(named, [7, 8]));
    const hold = () => kernel.divert([diverting('10.77.101.7'), diverting('10.77.101.8')]);
    await expect(hold()).rejects.toThrow('flows cannot be diverted (to elsewhere): ');
    expect(await kernel.judge(segment)).toBe('local');
    expect(await kernel.judge({ ...segment, source: ip('10.77.101.8') })).toBe('local');

    await kernel.runIp('link', 'set', 'mch-web', 'down');
    await kernel.runIp('link', 'set', 'mch-web', 'name', 'elsewhere', 'up');
    await hold();
    expect(await kernel.judge(segment)).toBe('hold');

    await kernel.runIp('link', 'set', 'elsewhere', 'down');
    await kernel.runIp('link', 'set', 'elsewhere', 'name', 'mch-web', 'up');
    await kernel.flushByOthers();
    expect(await kernel.repair()).toBe(true);
    await serve(kernel, tableOf(named, [7, 8]));
    const { held } = await kernel.counters();
    expect(await kernel.judge(segment)).toBe('drop');
    expect((await kernel.counters()).held - held).toBe(1);
    await kernel.remove();
  });

  test('removing leaves no table of ours and keeps the others', async () => {
    await kernel.apply(tableOf(service, [7]));
    expect(await kernel.tables()).toContain('mc_web');
    await kernel.remove();
    expect(await kernel.tables()).toEqual(['probe']);
  });
});
