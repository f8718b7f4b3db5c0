import { expect, test } from 'vitest';
import { createSimulatedChannel, layout } from '../../src/sim/control-channel.ts';

const names = ['n1', 'n2'];
const body = new Uint8Array([1, 2, 3]);

test('opens what the other sealed, with sender, session and a counter that grows', () => {
  const channel = createSimulatedChannel(names, 'n2', 1_000_007);
  channel.seal(body);
  const opened = createSimulatedChannel(names, 'n1', 1).open(channel.seal(body));
  expect(opened).toEqual({ ok: true, value: { sender: 'n2', session: 1_000_007, counter: 1, body } });
});

test.each([
  ['another version', layout.version, 2],
  ['another cluster', layout.cluster, 2],
  ['not authentic', layout.authentic, 0],
  ['not authentic', layout.sender, 9],
])('refuses as the real channel does: %s', (reason, at, value) => {
  const channel = createSimulatedChannel(names, 'n1', 1);
  const datagram = channel.seal(body);
  datagram[at] = value;
  expect(channel.open(datagram)).toEqual({ ok: false, reason });
});

test('refuses what is too short or too long', () => {
  const channel = createSimulatedChannel(names, 'n1', 1);
  expect(channel.open(channel.seal(body).subarray(0, 11))).toMatchObject({ reason: 'too short' });
  expect(channel.open(new Uint8Array(1401))).toMatchObject({ reason: 'too long' });
});
