import { expect, test } from 'vitest';
import { defined } from '../../src/base/assert.ts';
import type { TcpFlow } from '../../src/base/tcp-flow.ts';
import { Claimed, Claims } from '../../src/control/claims.ts';
import { decodeDurable } from '../../src/control/durable.ts';
import { Questions } from '../../src/control/questions.ts';
import { defaultTimers } from '../../src/control/timers.ts';
import { partsOf } from '../../src/control/transfer.ts';
import { decodeClaim, decodeMessage, encodeClaim, encodeMessage } from '../../src/wire/control-message.ts';
import type { Ledger } from '../../src/wire/ledger.ts';
import { VirtualNetwork } from './virtual-network.ts';

const reset = Uint8Array.from([1, 2, 3]);

function serving(): VirtualNetwork {
  const net = new VirtualNetwork().start();
  net.runUntil(() => net.healthy(), 5000);
  // Nothing is left of the first moves.
  net.run(5000);
  return net;
}

/** A flow of a client in the slot of a 16-slot partition. */
const flowOf = (slot: number, clientPort = 40_000): TcpFlow => ({
  client: { family: 4, value: 0x0a4d0100n + BigInt(slot) },
  clientPort,
  servicePort: 80,
});

const slotsOf = (net: VirtualNetwork, owner: string): number[] =>
  net
    .control('r1')
    .view()
    .owners.flatMap((each, slot) => (each === owner ? [slot] : []));

const holdersIn = (net: VirtualNetwork): unknown =>
  net
    .control('r1')
    .view()
    .holders.map(({ name, slots }) => ({ name, slots }));

const rowKinds = (net: VirtualNetwork, slot: number): (string | undefined)[] =>
  net.names.map((name) => net.host(name).rows.get(slot)?.kind);

test('who has a flow that its slot’s owner does not know becomes a holder, and its reset does not leave', () => {
  const net = serving();
  const slot = defined(slotsOf(net, 'r1')[0], 'a slot of r1');
  const flow = flowOf(slot);
  net.host('r3').flows = [flowOf(slot, 1), flow];
  net.host('r3').holding = new Set([slot]);
  net.input('r1', { kind: 'unknown', at: net.now, flow, reset });
  net.runUntil(() => net.control('r1').view().holders.length > 0, 500);
  net.run(500);
  expect(holdersIn(net)).toEqual([{ name: 'r3', slots: [slot] }]);
  expect(rowKinds(net, slot)).toEqual(['new', undefined, 'old']);
  expect(net.letGo).toEqual([]);
  // It ends there, and the slot settles.
  net.host('r3').holding = new Set();
  net.run(5000);
  expect(holdersIn(net)).toEqual([]);
  expect(rowKinds(net, slot)).toEqual(['own', undefined, undefined]);
});

test('a flow that nobody has is reset once, 150 ms after it was asked about', () => {
  const net = serving();
  const flow = flowOf(defined(slotsOf(net, 'r1')[0], 'a slot of r1'));
  const begin = net.now;
  net.input('r1', { kind: 'unknown', at: net.now, flow, reset: Uint8Array.from([9]) });
  net.run(40);
  // Its retransmission is the same question.
  net.input('r1', { kind: 'unknown', at: net.now, flow, reset });
  net.run(1000);
  expect(net.letGo).toEqual([{ at: begin + defaultTimers.askMs, node: 'r1', reset }]);
  expect(holdersIn(net)).toEqual([]);
});

test('a question that was lost is asked again before the reset leaves', () => {
  const net = serving();
  const slot = defined(slotsOf(net, 'r1')[0], 'a slot of r1');
  net.host('r3').flows = [flowOf(slot)];
  net.block('r1', 'r3');
  net.input('r1', { kind: 'unknown', at: net.now, flow: flowOf(slot), reset });
  net.run(20);
  net.healAll();
  net.run(1000);
  expect(net.letGo).toEqual([]);
});

test('where nobody else is, the reset leaves at once', () => {
  const net = new VirtualNetwork({ nodes: ['r1'], voters: ['r1'] }).start();
  net.runUntil(() => net.healthy(), 5000);
  net.input('r1', { kind: 'unknown', at: net.now, flow: flowOf(0), reset });
  expect(net.letGo).toEqual([{ at: net.now, node: 'r1', reset }]);
});

test('1,024 flows are asked about at a time, in 32 datagrams; further resets leave', () => {
  const questions = new Questions(defaultTimers);
  const asked = Array.from({ length: 1025 }, (_, i) => questions.ask(flowOf(1, i + 1), reset, 0));
  expect(asked.filter(Boolean)).toHaveLength(1024);
  expect(asked.at(-1)).toBe(false);
  expect(questions.ask(flowOf(1, 1), reset, 0)).toBe(true);
  const bodies = questions.toSend(0);
  expect(bodies).toHaveLength(32);
  expect(bodies.map((body) => decodeMessage(body))).toMatchObject(
    Array(32).fill({ ok: true, value: { kind: 'question' } }),
  );
  expect(questions.toSend(5)).toEqual([]);
  questions.answered([flowOf(1, 7)]);
  expect([questions.takeUnanswered(149).length, questions.takeUnanswered(150).length]).toEqual([0, 1023]);
  expect(questions.nextAt()).toBe(Number.POSITIVE_INFINITY);
});

test('questions above 2,000 flows a second are refused, and answered again in the next', () => {
  const net = serving();
  const flows = Array.from({ length: 32 }, (_, i) => flowOf(1, i + 1));
  net.host('r1').flows = flows;
  const ask = (times: number): void => {
    for (let i = 0; i < times; i++) net.deliver('r1', 'r2', encodeMessage({ kind: 'question', flows }));
  };
  ask(70);
  expect(net.control('r1').view().refused).toMatchObject({ 'too many questions': 70 - Math.floor(2000 / 32) });
  net.run(1100);
  ask(1);
  expect(net.control('r1').view().refused).toMatchObject({ 'too many questions': 70 - Math.floor(2000 / 32) });
});

/** Delivers a claim to the coordinator, as if `from` had made it. */
function claim(net: VirtualNetwork, from: string, boot: number, slots: readonly number[]): void {
  const to = defined(net.control('r1').view().coordinator, 'a coordinator');
  const [body] = partsOf('claim', 77, encodeClaim({ boot, slots }));
  net.deliver(to, from, defined(body, 'one part'));
}

test('a claim of another life of the machine, of slots that one owns, or of none that there are, changes nothing', () => {
  const net = serving();
  const coordinator = defined(net.control('r1').view().coordinator, 'a coordinator');
  const other = defined(
    net.names.find((name) => name !== coordinator),
    'another',
  );
  const theirs = slotsOf(net, coordinator);
  const { epoch } = net.control(coordinator).view();
  claim(net, other, net.host(other).boot + 1, theirs);
  net.run(300);
  claim(net, other, net.host(other).boot, slotsOf(net, other));
  net.run(300);
  claim(net, other, net.host(other).boot, [16]);
  net.run(300);
  expect(net.control(coordinator).view()).toMatchObject({ epoch, holders: [], refused: { malformed: 1 } });
  claim(net, other, net.host(other).boot, theirs);
  net.run(300);
  expect(holdersIn(net)).toEqual([{ name: other, slots: theirs }]);
});

test('what nobody names a host a holder of in two seconds is given up; what is its own is no claim', () => {
  const net = serving();
  const durable = decodeDurable(defined(net.host('r1').disk, 'a disk'));
  const known = defined(durable.ok ? durable.value.ledger : null, 'a ledger') satisfies Ledger;
  const own = slotsOf(net, 'r1');
  const theirs = slotsOf(net, 'r2');
  const claims = new Claims({ node: 'r1', boot: 1 }, defaultTimers);
  claims.add([...own, ...theirs]);
  expect(claims.step(known, 0)).toEqual([]);
  // Nobody to tell: the time does not begin.
  expect(claims.step(known, 10_000)).toEqual([]);
  expect(claims.toSend(10_000)).toHaveLength(1);
  expect(claims.toSend(10_050)).toEqual([]);
  expect(decodeClaim(defined(claims.own(10_050), 'a claim'))).toEqual({ ok: true, value: { boot: 1, slots: theirs } });
  expect(claims.step(known, 11_999)).toEqual([]);
  expect(claims.step(known, 12_000)).toEqual(theirs);
  expect(claims.own(12_000)).toBe(null);
});

test('of each host the newest claim counts, and once', () => {
  const claimed = new Claimed();
  expect(claimed.offer('r1', encodeClaim({ boot: 1, slots: [1] }), 16)).toBe(true);
  expect(claimed.offer('r1', encodeClaim({ boot: 1, slots: [2] }), 16)).toBe(true);
  expect(claimed.offer('r2', Uint8Array.from([1, 2]), 16)).toBe(false);
  expect(claimed.take()).toEqual([{ name: 'r1', boot: 1, slots: [2] }]);
  expect(claimed.take()).toEqual([]);
});
