import { describe, expect, test } from 'vitest';
import { defined } from '../../src/base/assert.ts';
import type { DataPlane } from '../../src/dataplane/data-plane.ts';
import { type ForwardingTable, ownRow } from '../../src/dataplane/forwarding-table.ts';
import type { Packet } from '../../src/dataplane/packet.ts';
import { Kernel, type KernelFaults } from '../../src/sim/kernel.ts';
import { Life } from '../../src/sim/life.ts';
import { Timeline } from '../../src/sim/timeline.ts';
import { bench, settle } from './bench.ts';

function kernel(faults: Partial<KernelFaults> = {}): {
  readonly timeline: Timeline;
  readonly kernel: Kernel;
  readonly life: Life;
  readonly dataPlane: DataPlane;
  readonly table: ForwardingTable;
  readonly syn: Packet;
  readonly lease: () => void;
  readonly wider: readonly number[];
} {
  const timeline = new Timeline(1, settle);
  const { lan } = bench().world;
  const wider: number[] = [];
  const made = new Kernel(
    timeline,
    Object.assign(faults, { failure: 0, transactionMsMax: 20, slow: 0, ...faults }),
    () => timeline.now,
    { wider: () => wider.push(timeline.now), openedByArming: () => wider.push(-1) },
  );
  const life = new Life(timeline, { descheduled: 0, descheduledMsMax: 0 });
  const dataPlane = made.openFor(life, lan.service);
  const table = { service: lan.service, rows: new Map([[1, ownRow]]) };
  const syn = defined(bench().world.clients[1], 'a client').packet(true, -1);
  const lease = (): void => {
    for (const fence of ['lease', 'hold'] as const) {
      dataPlane.arm(fence, 1, 500);
      dataPlane.grant(fence, 1);
    }
  };
  return { timeline, kernel: made, life, dataPlane, table, syn, lease, wider };
}

describe('a simulated kernel', () => {
  test('takes its time for a transaction, and then takes what the table and the lease say', async () => {
    const { timeline, kernel: k, dataPlane, table, syn, lease } = kernel();
    let applied = -1;
    void dataPlane.apply(table).then(() => {
      applied = timeline.now;
    });
    expect(() => lease()).toThrow('no such table');
    await timeline.run(25);
    expect(applied).toBeGreaterThan(0);
    expect(k.judge(syn)).toBe('drop');
    lease();
    expect([k.judge(syn), k.takes(1), k.takes(2)]).toEqual(['local', true, false]);
    await timeline.run(500);
    expect([k.judge(syn), k.takes(1)]).toEqual(['drop', false]);
  });

  test('drops everything once another program has flushed it, and is repaired without a lease', async () => {
    const { timeline, kernel: k, dataPlane, table, syn, lease } = kernel();
    void dataPlane.apply(table);
    await timeline.run(25);
    lease();
    k.flush();
    expect(k.judge(syn)).toBe('drop');
    expect(() => dataPlane.arm('lease', 2, 500)).toThrow('no such table');
    const repaired: boolean[] = [];
    void dataPlane.repair(true).then((was) => repaired.push(was));
    await timeline.run(25);
    void dataPlane.repair(true).then((was) => repaired.push(was));
    await timeline.run(25);
    expect([repaired, k.row(1)?.kind, k.takes(1)]).toEqual([[true, false], 'own', false]);
  });

  test('is repaired the next time when a repair fails', async () => {
    const faults = { failure: 0, transactionMsMax: 20, slow: 0 };
    const { timeline, kernel: k, dataPlane, table } = kernel(faults);
    void dataPlane.apply(table);
    await timeline.run(25);
    k.flush();
    faults.failure = 1;
    let failed = 0;
    void dataPlane.repair(true).catch(() => failed++);
    await timeline.run(25);
    faults.failure = 0;
    void dataPlane.repair(true);
    await timeline.run(25);
    expect([failed, k.row(1)?.kind]).toEqual([1, 'own']);
  });

  test('refuses a transaction with an operating error, and changes nothing', async () => {
    const { timeline, kernel: k, dataPlane, table } = kernel({ failure: 1 });
    let failed: unknown = null;
    void dataPlane.apply(table).catch((error: unknown) => {
      failed = error;
    });
    await timeline.run(25);
    expect(failed).toMatchObject({ code: 'nftables' });
    expect(k.row(1)).toBeUndefined();
  });

  test('goes on with what an earlier process left', async () => {
    const { timeline, kernel: k, life, dataPlane, table, syn, lease } = kernel();
    void dataPlane.apply(table);
    await timeline.run(25);
    lease();
    life.kill();
    const next = k.openFor(new Life(timeline, { descheduled: 0, descheduledMsMax: 0 }), table.service);
    expect((await next.adopt())?.rows).toEqual(table.rows);
    expect(k.judge(syn)).toBe('local');
  });

  test('says when it may take more than before, and when arming alone did it', async () => {
    const { timeline, dataPlane, table, lease, wider } = kernel({ transactionMsMax: 0 });
    void dataPlane.apply(table);
    await timeline.run(10);
    lease();
    dataPlane.arm('lease', 2, 500);
    dataPlane.grant('lease', 2);
    expect(wider).toEqual([0, 10]);
    await timeline.run(600);
    dataPlane.grant('lease', 3);
    expect(wider).toEqual([0, 10]);
    dataPlane.arm('lease', 3, 500);
    expect(wider).toEqual([0, 10, -1, 610]);
  });
});
