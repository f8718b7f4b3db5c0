import { expect, test } from 'vitest';
import { type Said, saysSame } from '../../src/control/heartbeat.ts';
import type { ControlInput, ControlOutput } from '../../src/control/io.ts';
import { defaultTimers } from '../../src/control/timers.ts';
import { VirtualNetwork } from './virtual-network.ts';

const { heartbeatMs, deadMs } = defaultTimers;
const second = 1000 / heartbeatMs;

const said: Said = {
  ...{ term: 1, follow: 'r1', coordinating: false, leaving: false, programmed: 1, routed: 1 },
  held: { term: 1, epoch: 1 },
  committed: { term: 0, epoch: 0 },
  basis: { term: 0, epoch: 0 },
  ...{ incarnation: 1, witness: false, boot: 1, mac: '02:00:00:00:00:01', healthy: true },
};

/** Three agents that serve, and what one of them wants done from now on, by input. */
function watched(
  name: string,
  latenessMs: readonly [number, number] = [0, 0],
): {
  readonly net: VirtualNetwork;
  readonly steps: { readonly input: ControlInput; readonly outputs: readonly ControlOutput[] }[];
} {
  const net = new VirtualNetwork({ latenessMs }).start();
  net.runUntil(() => net.healthy(), 2000);
  const steps: { readonly input: ControlInput; readonly outputs: readonly ControlOutput[] }[] = [];
  const control = net.control(name);
  net.host(name).control = {
    nextTimeout: () => control.nextTimeout(),
    view: () => control.view(),
    handle(input) {
      const outputs = control.handle(input);
      steps.push({ input, outputs });
      return outputs;
    },
  };
  return { net, steps };
}

test('a heartbeat that differs in its number and in whom it hears says the same', () => {
  expect(saysSame({ ...said, held: { ...said.held } }, said)).toBe(true);
  const numbered = { ...said, round: 7, heard: [{ name: 'r2', round: 3, multicast: true }] };
  expect(saysSame(numbered, { ...said, round: 8, heard: [] } as Said)).toBe(true);
});

test.each(Object.keys(said) as (keyof Said)[])('a heartbeat that differs in `%s` says something else', (field) => {
  const other = { term: 9, epoch: 9 };
  const value = said[field];
  const changed = typeof value === 'boolean' ? !value : typeof value === 'object' ? other : 9;
  expect(saysSame({ ...said, [field]: changed } as Said, said)).toBe(false);
});

test('nobody and somebody are not the same to follow', () => {
  expect(saysSame({ ...said, follow: null }, said)).toBe(false);
  expect(saysSame(said, { ...said, follow: null })).toBe(false);
});

test('in a quiet cluster a follower renews its lease with each heartbeat of the coordinator, and does nothing about the others', () => {
  // A step that is taken when the own heartbeat is overdue would send it.
  const { net, steps } = watched('r2', [10, 40]);
  net.run(1000);
  const heard = (from: string): readonly ControlOutput[][] =>
    steps.flatMap(({ input, outputs }) => (input.kind === 'message' && input.sender === from ? [[...outputs]] : []));
  const kindsOf = (outputs: readonly ControlOutput[]): string => outputs.map(({ kind }) => kind).join();
  expect(net.control('r1').view().coordinator).toBe('r1');
  // One that answers no newer heartbeat than the one before grants nothing new.
  const renewed = heard('r1')
    .map(kindsOf)
    .filter((kinds) => kinds !== '');
  expect(renewed.length).toBeGreaterThanOrEqual(second / 2);
  expect(new Set(renewed)).toEqual(new Set(['grant']));
  expect(heard('r3').length).toBeGreaterThanOrEqual(second / 2);
  expect(new Set(heard('r3').map(kindsOf))).toEqual(new Set(['']));
});

test('who is silent for long is called with every fifth heartbeat', () => {
  const { net, steps } = watched('r1');
  const calls = (): number =>
    steps.flatMap(({ outputs }) => outputs.filter((output) => output.kind === 'send' && output.to !== 'group')).length;
  net.crash('r3');
  net.run(deadMs - 2 * heartbeatMs);
  expect(calls()).toBeGreaterThanOrEqual((deadMs - 2 * heartbeatMs - defaultTimers.heardMs) / heartbeatMs - 1);
  net.run(2000);
  steps.length = 0;
  net.run(1000);
  expect(calls()).toBeGreaterThanOrEqual(second / 5 - 1);
  expect(calls()).toBeLessThanOrEqual(second / 5 + 1);
});
