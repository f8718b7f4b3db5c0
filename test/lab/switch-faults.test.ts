import { expect, test } from 'vitest';
import type { SwitchFaults } from '../../src/lab/index.ts';
import { planLab } from '../../src/lab/plan.ts';
import { switchRules } from '../../src/lab/switch-faults.ts';

const plan = planLab({ name: 'x', replicas: 3, clients: 1, addresses: 1 });

function rules(faults: SwitchFaults): string[] {
  return switchRules(plan, faults)
    .split('\n')
    .filter((line) => line.endsWith(' drop'))
    .map((line) => line.trim());
}

test('a block is one way, from port to port', () => {
  expect(rules({ blocks: [['r1', 'r2']], loss: { percent: 0, spared: [] } })).toEqual([
    'iifname "r1" oifname "r2" drop',
  ]);
});

test('loss concerns the control channel alone, and not those that are spared', () => {
  expect(rules({ blocks: [], loss: { percent: 30, spared: [] } })).toEqual([
    'udp dport 7746 numgen random mod 100 < 30 drop',
  ]);
  expect(rules({ blocks: [], loss: { percent: 30, spared: ['r3'] } })).toEqual([
    'iifname != "r3" oifname != "r3" udp dport 7746 numgen random mod 100 < 30 drop',
  ]);
});

test('loss of everything is not left to chance', () => {
  expect(rules({ blocks: [], loss: { percent: 100, spared: [] } })).toEqual(['udp dport 7746 drop']);
});

test('without faults there is no rule', () => {
  expect(rules({ blocks: [], loss: { percent: 0, spared: ['r3'] } })).toEqual([]);
});
