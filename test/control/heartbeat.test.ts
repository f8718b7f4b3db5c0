import { expect, test } from 'vitest';
import { type Said, saysSame } from '../../src/control/heartbeat.ts';
import type { ControlInput, ControlOutput } from '../../src/control/io.ts';
import { defaultTimers } from '../../src/control/timers.ts';
import { VirtualNetwork } from './virtual-network.ts';

const { heartbeatMs, hurriedMs, silenceMs, deadMs } = defaultTimers;
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

const kindsOf = (outputs: readonly ControlOutput[]): string => outputs.map(({ kind }) => kind).join();

/** When the watched agent sent something to the group. */
function sentAt(
  steps: readonly { readonly input: ControlInput; readonly outputs: readonly ControlOutput[] }[],
): number[] {
  return steps.flatMap(({ input, outputs }) =>
    outputs.flatMap((output) => (output.kind === 'send' && output.to === 'group' ? [input.at] : [])),
  );
}

function gaps(times: readonly number[]): number[] {
  return times.slice(1).map((time, i) => time - (times[i] ?? 0));
}

test('in a quiet cluster a follower answers each heartbeat of the coordinator and renews its lease with it, and does nothing else', () => {
  const { net, steps } = watched('r2', [10, 40]);
  net.run(1000);
  expect(net.control('r1').view().coordinator).toBe('r1');
  const renewing = steps.filter(({ outputs }) => outputs.length > 0);
  expect(renewing.length).toBeGreaterThanOrEqual(second / 2);
  expect(renewing.every(({ input }) => input.kind === 'message' && input.sender === 'r1')).toBe(true);
  expect(new Set(renewing.map(({ outputs }) => kindsOf(outputs)))).toEqual(new Set(['grant,arm,send']));
});

test('in a quiet cluster a coordinator renews its lease when it sends, and no answer makes it do anything', () => {
  const { net, steps } = watched('r1');
  net.run(1000);
  const doing = steps.filter(({ outputs }) => outputs.length > 0);
  expect(doing.every(({ input }) => input.kind === 'tick')).toBe(true);
  expect(new Set(doing.map(({ outputs }) => kindsOf(outputs)))).toEqual(new Set(['grant,arm,send']));
  expect(Math.min(...gaps(sentAt(steps)))).toBeGreaterThanOrEqual(heartbeatMs);
});

test('a coordinator that lacks an answer sends twice as often, until who is silent counts no more', () => {
  const { net, steps } = watched('r1');
  net.crash('r3');
  net.run(deadMs);
  const hurried = gaps(sentAt(steps)).filter((gap) => gap < hurriedMs + 5).length;
  expect(hurried).toBeGreaterThanOrEqual(deadMs / hurriedMs - 4);
  net.run(2000);
  steps.length = 0;
  net.run(1000);
  expect(Math.min(...gaps(sentAt(steps)))).toBeGreaterThanOrEqual(heartbeatMs);
});

test('an answer that was lost is asked for again soon', () => {
  const { net, steps } = watched('r1');
  net.block('r2', 'r1');
  net.run(heartbeatMs);
  net.healAll();
  steps.length = 0;
  net.run(hurriedMs + 10);
  expect(steps.some(({ input }) => input.kind === 'message' && input.sender === 'r2')).toBe(true);
});

test('a follower that its coordinator does not reach sends unasked, at its own pace', () => {
  const { net, steps } = watched('r2');
  net.block('r1', 'r2');
  net.run(silenceMs - hurriedMs);
  const times = sentAt(steps);
  expect(times.length).toBeGreaterThanOrEqual(3);
  expect(Math.max(...gaps(times))).toBeLessThanOrEqual(heartbeatMs + hurriedMs + 5);
});

test('a coordinator that nobody answers because multicasts are lost reaches them by unicast before any lease ends', () => {
  const { net, steps } = watched('r1');
  const { epoch } = net.control('r1').view();
  net.multicastBlocked = true;
  for (let ms = 0; ms < 2000; ms += 10) {
    net.run(10);
    expect(net.names.map((name) => net.accepting(name).size > 0)).toEqual([true, true, true]);
  }
  expect(net.control('r1').view()).toMatchObject({ epoch, coordinator: 'r1' });
  const terms = net.events.filter(({ event }) => event.kind === 'verdict' && event.verdict !== 'serving');
  expect(steps.length > 0 && terms.filter(({ at }) => at > net.now - 2000)).toEqual([]);
});

test('a peer that is heard and never answers hurries nobody for long', () => {
  const { net, steps } = watched('r1');
  net.block('r1', 'r3');
  net.run(deadMs + silenceMs + heartbeatMs);
  steps.length = 0;
  net.run(1000);
  expect(net.control('r1').view().coordinator).toBe('r1');
  expect(Math.min(...gaps(sentAt(steps)))).toBeGreaterThanOrEqual(heartbeatMs);
});

test.each([1, 2, 3, 4, 5, 6])('with a tenth of the datagrams lost nobody loses its lease, seed %i', (seed) => {
  const net = new VirtualNetwork({ seed, loss: 0.1 }).start();
  net.runUntil(() => net.healthy(), 4000);
  for (let ms = 0; ms < 20_000; ms += 20) {
    net.run(20);
    expect(net.names.map((name) => net.accepting(name).size > 0)).toEqual([true, true, true]);
  }
});

test('an agent that has left asks for no more ticks soon', () => {
  const net = new VirtualNetwork().start();
  net.runUntil(() => net.healthy(), 2000);
  const control = net.control('r3');
  let now = net.now;
  for (let i = 0; i < 1000 && control.nextTimeout() < net.now + 60_000; i++) {
    now = control.nextTimeout();
    if (control.handle({ kind: 'leave', at: now }).some(({ kind }) => kind === 'left')) break;
  }
  expect(control.handle({ kind: 'tick', at: now })).toEqual([]);
  expect(control.nextTimeout()).toBeGreaterThanOrEqual(now + deadMs);
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
