import { expect, test } from 'vitest';
import type { Packet } from '../../src/dataplane/packet.ts';
import { Kernel } from '../../src/sim/kernel.ts';
import { Life } from '../../src/sim/life.ts';
import { Timeline } from '../../src/sim/timeline.ts';
import { settle } from '../sim/bench.ts';
import { ip, serviceWith, tableOf } from './data-plane-contract.ts';
import { diverting } from './diversions-contract.ts';

const service = serviceWith('0.0.0.255');
const segment: Packet = {
  source: ip('10.77.101.7'),
  sourcePort: 40_000,
  destination: service.address,
  destinationPort: 80,
  protocol: 'tcp',
};

function openKernel() {
  const timeline = new Timeline(1, settle);
  const faults = { failure: 0, transactionMsMax: 20, slow: 0 };
  const kernel = new Kernel(timeline, faults, () => timeline.now, { wider() {}, openedByArming() {} });
  const life = (): Life => new Life(timeline, { descheduled: 0, descheduledMsMax: 0 });
  /** Gives `work` the time that any transaction takes, and says what came of it. */
  const done = async (work: Promise<unknown>): Promise<string> => {
    let outcome = 'under way';
    work.then(
      () => (outcome = 'done'),
      (error: Error) => (outcome = error.message),
    );
    await timeline.run(25);
    return outcome;
  };
  return { kernel, faults, life, done };
}

test('a simulated kernel takes its time to divert, refuses as it does anything, and puts back what was wanted', async () => {
  const { kernel, faults, life, done } = openKernel();
  const plane = kernel.openFor(life(), service);
  const divert = () => plane.divert([diverting('10.77.101.7'), diverting('10.77.101.8')]);
  const judge = () => [kernel.judge(segment), kernel.judge({ ...segment, source: ip('10.77.101.8') })];

  expect(await done(divert())).toBe('the kernel refuses: no such table, or busy');
  await done(plane.apply(tableOf(service, [])));
  faults.failure = 1;
  expect(await done(divert())).toBe('the kernel is busy');
  expect(judge()).toEqual(['drop', 'drop']);
  faults.failure = 0;
  expect(await done(divert())).toBe('done');
  expect(judge()).toEqual(['hold', 'hold']);

  kernel.flush();
  expect(await done(plane.divert([diverting('10.77.101.7')]))).toBe('the kernel refuses: no such table, or busy');
  await done(plane.repair(true));
  expect(judge()).toEqual(['hold', 'hold']);
  expect((await plane.counters()).held).toBe(2);
});

test('a process that begins on a simulated kernel finds nothing diverted', async () => {
  const { kernel, life, done } = openKernel();
  const before = life();
  const plane = kernel.openFor(before, service);
  await done(plane.apply(tableOf(service, [7])));
  await done(plane.divert([diverting('10.77.101.7')]));
  before.kill();
  const next = kernel.openFor(life(), service);
  expect([kernel.judge(segment), (await next.adopt())?.rows.size, kernel.judge(segment)]).toEqual(['hold', 1, 'drop']);
});
