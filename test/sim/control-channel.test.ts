import { expect, test } from 'vitest';
import { createSimulatedChannel, decodeOnce, layout } from '../../src/sim/control-channel.ts';
import { decodeMessage, encodeMessage } from '../../src/wire/control-message.ts';

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

test('a datagram is opened once for all that get it, and refused as ever when a copy is changed', () => {
  const datagram = createSimulatedChannel(names, 'n2', 1).seal(body);
  const [first, second] = [0, 1].map((session) => createSimulatedChannel(names, 'n1', session).open(datagram));
  expect(first?.ok && first.value).toBe(second?.ok && second.value);
  const forged = datagram.slice();
  forged[layout.authentic] = 0;
  expect(createSimulatedChannel(names, 'n1', 2).open(forged)).toEqual({ ok: false, reason: 'not authentic' });
});

test('a body is read once, and another with the same bytes for itself', () => {
  const encoded = encodeMessage({ kind: 'tagged', session: 3, number: 4 });
  const read = decodeOnce(encoded);
  expect(read).toEqual(decodeMessage(encoded));
  expect(decodeOnce(encoded)).toBe(read);
  expect(decodeOnce(encoded.slice())).not.toBe(read);
  expect(decodeOnce(encoded.subarray(1)).ok).toBe(false);
});
