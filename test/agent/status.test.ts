import { describe, expect, test } from 'vitest';
import { sharesOf } from '../../src/agent/shares.ts';
import { type AgentStatus, formatStatus } from '../../src/agent/status.ts';
import { serviceWith } from '../contract/data-plane-contract.ts';

const { partition } = serviceWith('0.0.0.255');
const owners = Array.from({ length: 256 }, (_, slot) => (slot < 128 ? 'r1' : slot < 255 ? 'r2' : null));

const serving: AgentStatus = {
  node: 'r1',
  version: '0.1.0',
  verdict: 'serving',
  cause: 'serving 128 of 256 slots',
  epoch: 7,
  coordinator: 'r2',
  voters: [
    { name: 'r1', state: 'heard' },
    { name: 'r2', state: 'silent' },
    { name: 'r3', state: 'forgetful' },
  ],
  leased: true,
  holders: [{ name: 'r3', slots: '0-9', count: 10, secondsLeft: 42 }],
  unhealthy: ['r2'],
  drained: ['r3'],
  settled: true,
  service: { name: 'web', address: '203.0.113.10', ports: ['80/tcp'] },
  owners: await sharesOf(partition, owners, ['r1', 'r2', 'r3']),
  unowned: '255',
  accepting: '0-127',
  moves: [],
  awaitedRouters: [],
  policy: { strategy: 'equal', handoff: 'reset', drainDeadline: 60 },
  policyFile: { path: '/etc/policy.yaml', state: 'in force', problem: null },
  peers: [{ name: 'r2', state: 'heard', via: 'multicast' }],
  packets: { accepted: 10, relayed: 1, dropped: 20, resetsWithheld: 2, resetsAsked: 0 },
  resetUnasked: null,
  refused: {},
  links: { refused: {}, unreachable: {} },
  signatures: { mode: 'required', unsigned: [], refused: {}, revoked: [], daysLeft: null, rotation: null },
  fence: 'the kernel, by itself',
};

describe('status', () => {
  test('gives shares with their filters, members without slots included', () => {
    expect(serving.owners).toMatchObject([
      { name: 'r1', slots: '0-127', count: 128, filters: ['0.0.0.0/0.0.0.128'] },
      { name: 'r2', slots: '128-254', count: 127 },
      { name: 'r3', slots: '', count: 0, filters: [] },
    ]);
  });

  test('says what ends the lease, where the kernel does not by itself', () => {
    expect(formatStatus(serving)).not.toContain('fence');
    expect(formatStatus({ ...serving, fence: 'an application' }).split('\n')).toContain('fence: an application');
  });

  test('says the verdict first, then the service, then the policy; then who has what', () => {
    expect(formatStatus(serving).split('\n')).toEqual([
      'r1: serving 128 of 256 slots',
      'service web at 203.0.113.10, 80/tcp; epoch 7, coordinator r2',
      'policy equal, handoff reset',
      'voters r1, r2 (silent), r3 (has lost its memory); takes new connections',
      'r3 may still hold connections of 10 slots it gave away, for 42 s at most',
      'unhealthy: r2',
      'drained: r3',
      'control messages are signed',
      '',
      'replica  slots',
      'r1         128  0-127',
      '                0.0.0.0/0.0.0.128',
      'r2         127  128-254',
      expect.stringMatching(/^ {16}(0\.0\.0\.\d+\/0\.0\.0\.\d+ ){4}and \d+ more$/),
      'r3           0',
      'nobody: 255',
      '',
      'packets accepted 10, dropped 20',
      '',
    ]);
  });

  test('has no line for packets that cannot be counted, nor for peers that are heard, nor for slots when all are owned', () => {
    const text = formatStatus({ ...serving, packets: null, unowned: '' });
    expect(text).not.toMatch(/packets|nobody|r2: /);
  });

  test.each([
    [
      'links refused for their certificate',
      { links: { refused: { certificate: 3 }, unreachable: {} } },
      'links refused, 3 times: its certificate is of another authority, or not in force by the clock of this replica: compare `ca` in agent.yaml and the clocks, or make a new one (manycast keys)',
    ],
    [
      'links refused for their name',
      { links: { refused: { 'not-a-peer': 1 }, unreachable: {} } },
      'links refused, 1 times: its certificate names no peer of this replica: compare its name and `peers` in agent.yaml',
    ],
    [
      'a peer that refuses this replica',
      { links: { refused: {}, unreachable: { r2: 'no link to "r2": it refuses the certificate of this replica' } } },
      'connections are not moved: no link to "r2": it refuses the certificate of this replica; manycast status on r2 says why',
    ],
    [
      'a peer whose clock is wrong',
      { links: { refused: {}, unreachable: { r2: 'no link to "r2": certificate is not yet valid' } } },
      'connections are not moved: no link to "r2": certificate is not yet valid; compare the clocks, or make it a new certificate (manycast keys)',
    ],
    [
      'a file that nobody saved since',
      { policyFile: { path: '/p', state: 'differs', problem: null } },
      'policy equal, handoff reset; the file /p differs: save or apply it to put it in force',
    ],
    [
      'a bad file, with what is wrong',
      { policyFile: { path: '/p', state: 'refused', problem: 'strategy: missing' } },
      '/p: strategy: missing',
    ],
    [
      'no policy yet',
      { policy: null, policyFile: { path: '/p', state: 'missing', problem: null } },
      'no policy in force; the file /p is missing',
    ],
    [
      'a fenced replica, with the cause',
      { verdict: 'fenced', cause: 'fenced: no majority of r1, r2, r3 is heard' },
      'r1: fenced: no majority of r1, r2, r3 is heard',
    ],
    ['no coordinator', { coordinator: null }, 'service web at 203.0.113.10, 80/tcp; epoch 7, coordinator none'],
    [
      'resets that are not asked about',
      { resetUnasked: 'this kernel logs no packets' },
      'unknown connections are reset without asking the others: this kernel logs no packets',
    ],
    ['a silent peer', { peers: [{ name: 'r9', state: 'silent', via: null }] }, 'r9: silent'],
    [
      'a router that does not follow a move, with the remedy',
      { awaitedRouters: ['edge2'] },
      'the move waits for router edge2; if it is gone for good, take it out of `routers` in every agent.yaml and restart the agents',
    ],
    [
      'a move under way',
      { moves: [{ slots: '0-3', from: 'r1', to: 'r2', phase: 'leave' }] },
      'moving 0-3 from r1 to r2: leave',
    ],
  ] satisfies [string, Partial<AgentStatus>, string][])('tells of %s', (_what, part, line) => {
    expect(formatStatus({ ...serving, ...part }).split('\n')).toContain(line);
  });
});
