import { expect, test } from 'vitest';
import { FlowTally } from '../../src/scenario/flow-tally.ts';

const timeoutMs = 100;
const nothing = { sent: 0, lost: 0, wrong: 0, moved: 0, forgotten: 0, begun: [] };

/** A flow that has sent this many datagrams, one each 10 ms from 1000 on. */
function flowWith(sent: number): FlowTally {
  const flow = new FlowTally(timeoutMs);
  for (let number = 0; number < sent; number++) flow.next(1000 + 10 * number);
  return flow;
}

test('datagrams are numbered, and waited for until they are answered', () => {
  const flow = new FlowTally(timeoutMs);
  expect([flow.isWaiting, flow.next(1000), flow.next(1010), flow.isWaiting]).toEqual([false, '0', '1', true]);
  flow.answered('r1 0 1', 1002);
  flow.answered('r1 1 2', 1012);
  expect(flow.isWaiting).toBe(false);
  expect(flow.takeCounts(1020)).toMatchObject({ sent: 2, lost: 0, wrong: 0, moved: 0, forgotten: 0 });
  expect(flow.takeCounts(1020)).toEqual(nothing);
});

test('a flow begins once, between its first datagram and the first answer to any', () => {
  const flow = flowWith(3);
  flow.answered('r2 2 1', 1025);
  flow.answered('r2 1 2', 1026);
  expect(flow.takeCounts(1030).begun).toEqual([{ sentAt: 1000, answeredAt: 1025, replica: 'r2' }]);
});

test('what is not answered in time is lost, and what comes after that is not wrong', () => {
  const flow = flowWith(2);
  expect(flow.takeCounts(1099)).toMatchObject({ sent: 2, lost: 0 });
  expect(flow.takeCounts(1100)).toMatchObject({ sent: 0, lost: 1 });
  flow.answered('r1 0 1', 1105);
  expect(flow.takeCounts(1106)).toMatchObject({ lost: 0, wrong: 0 });
});

test.each([
  ['a second answer', ['r1 0 1', 'r1 0 2'], { wrong: 1 }],
  ['an answer to what was never sent', ['r1 0 1', 'r1 9 2'], { wrong: 1 }],
  ['an answer without a number', ['r1 0 1', 'r1  2'], { wrong: 1 }],
  ['an answer of another replica', ['r1 0 1', 'r2 1 2'], { moved: 1, forgotten: 0 }],
  ['an answer of a server that takes the flow for a new one', ['r1 0 1', 'r1 1 1'], { moved: 0, forgotten: 1 }],
] as const)('%s is counted', (_what, answers, counts) => {
  const flow = flowWith(2);
  for (const answer of answers) flow.answered(answer, 1050);
  expect(flow.takeCounts(1060)).toMatchObject({ wrong: 0, ...counts });
});
