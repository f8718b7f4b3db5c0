import { expect, test } from 'vitest';
import { parseIp } from '../../src/base/address.ts';
import { defined } from '../../src/base/assert.ts';
import type { Flow } from '../../src/handoff/flow.ts';
import { flowsOfSlots } from '../../src/handoff/flows-of-slots.ts';
import { partitionOf } from '../../src/space/partition.ts';

function ip(text: string): Flow['client'] {
  const parsed = parseIp(text);
  return defined(parsed.ok ? parsed.value : null, text);
}

function flow(client: string, servicePort = 80): Flow {
  return { protocol: 'tcp', client: ip(client), clientPort: 40_000, service: ip('10.77.0.100'), servicePort };
}

const made = partitionOf(ip('0.0.0.255'));
const partition = defined(made.ok ? made.value : null, 'a partition');

test('flows of the slots, on the ports of the service, and no others', () => {
  const mine = flow('10.77.101.7');
  const far = flow('198.51.100.8', 443);
  const flows = [mine, flow('10.77.101.9'), far, flow('10.77.101.7', 22), flow('2001:db8::7')];
  expect(flowsOfSlots(flows, partition, new Set([7, 8]), [80, 443])).toEqual([mine, far]);
});

test('no slots, no flows', () => {
  expect(flowsOfSlots([flow('10.77.101.7')], partition, new Set(), [80])).toEqual([]);
});

test('what a host asks of itself goes to no other', () => {
  expect(flowsOfSlots([flow('10.77.0.100')], partition, new Set([100]), [80])).toEqual([]);
});
