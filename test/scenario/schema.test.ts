import { mkdtempSync, readdirSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, describe, expect, test } from 'vitest';
import { measureNames } from '../../src/scenario/measures.ts';
import { readScenario, withDelivery } from '../../src/scenario/schema.ts';

const directory = mkdtempSync(join(tmpdir(), 'manycast-test-'));
afterAll(() => rmSync(directory, { recursive: true }));

const good = `name: short
description: what is shown
topology: { replicas: 3, clients: 2, addresses: 16 }
policy: { strategy: equal, handoff: reset }
workloads:
  - { kind: http, ratePerSecond: 200 }
  - { kind: tcp-echo, sessions: 24 }
timeline:
  - wait: 5
  - policy: { strategy: weighted, weights: { r1: 50, r2: 25, r3: 25 } }
  - cut: r3
expect:
  - { measure: requests.failed, atMost: 0 }
`;

function read(text: string): ReturnType<typeof readScenario> {
  const file = join(directory, 'scenario.yaml');
  writeFileSync(file, text);
  return readScenario(file);
}

describe('scenario files', () => {
  const all = readdirSync('scenarios', { recursive: true, encoding: 'utf8' }).filter((each) => each.endsWith('.yaml'));
  test.each(all)('scenarios/%s is good', (file) => {
    expect(readScenario(join('scenarios', file)).expect.length).toBeGreaterThan(0);
  });

  test('say only what differs from the defaults', () => {
    expect(read(good).workloads).toEqual([
      { kind: 'http', ratePerSecond: 200, timeoutMs: 5000 },
      { kind: 'tcp-echo', sessions: 24, intervalMs: 50, stallMs: 1500 },
    ]);
  });

  test.each([
    ['name: short', 'name: a b', 'name: "a b" is not allowed, allowed is 1 to 10 lower-case letters and digits'],
    ['replicas: 3', 'replicas: 65', 'topology.replicas: 65 is not allowed, allowed is at most 64'],
    [
      'handoff: reset',
      'handoff: never',
      'policy.handoff: "never" is not allowed, allowed are forward, reset, transfer, tag',
    ],
    [
      'kind: http',
      'kind: ftp',
      'workloads[0].kind: "ftp" is not allowed, allowed are http, tcp-echo, probe, ping, udp-echo, stream, command',
    ],
    ['ratePerSecond: 200', 'rate: 200', 'workloads[0].ratePerSecond: missing, allowed is a number'],
    ['ratePerSecond: 200', 'ratePerSecond: 0', 'workloads[0].ratePerSecond: 0 is not allowed, allowed is at least 1'],
    ['sessions: 24', 'sessions: 2.5', 'workloads[1].sessions: 2.5 is not allowed, allowed is a whole number'],
    [
      'sessions: 24',
      'sessions: 24, pace: 1',
      'workloads[1].pace: unknown field, allowed are kind, sessions, intervalMs, stallMs',
    ],
    ['wait: 5', 'wait: long', 'timeline[0].wait: "long" is not allowed, allowed is a number'],
    ['wait: 5', 'wait: 601', 'timeline[0].wait: 601 is not allowed, allowed is at most 600'],
    [
      'strategy: weighted',
      'strategy: heaviest',
      'timeline[1].policy.strategy: "heaviest" is not allowed, allowed are equal, weighted, explicit',
    ],
    ['cut: r3', 'cut: r4', 'timeline[2].cut: no such replica, allowed are r1, r2, r3, coordinator, member'],
    [
      'requests.failed',
      'requests.lost',
      `expect[0].measure: "requests.lost" is not allowed, allowed are ${measureNames.join(', ')}`,
    ],
    [
      'kind: tcp-echo, sessions: 24',
      'kind: command, run: "true", client: c3',
      'workloads[1].client: no such client machine, allowed are c1, c2',
    ],
    [
      'kind: tcp-echo, sessions: 24',
      'kind: command, run: "true", serve: { port: 80/tcp, run: nginx }',
      'workloads[1].serve.port: 80/tcp is served already',
    ],
    [
      'kind: tcp-echo, sessions: 24',
      'kind: command, run: "true", serve: { port: http, run: nginx }',
      'workloads[1].serve.port: "http" is not allowed, allowed is a port such as 22/tcp',
    ],
    [
      'measure: requests.failed',
      'measure: requests.lost',
      `expect[0].measure: "requests.lost" is not allowed, allowed are ${measureNames.join(', ')}`,
    ],
    ['measure: requests.failed, ', '', `expect[0].measure: missing, allowed are ${measureNames.join(', ')}`],
    [
      '{ measure: requests.failed, atMost: 0 }',
      '{ measure: requests.failed }',
      'expect[0]: {"measure":"requests.failed"} is not allowed, allowed is a bound: atMost, atLeast or both',
    ],
    [
      'clients: 2, addresses: 16',
      'clients: 8, addresses: 32',
      'topology.addresses: 32 is not allowed, allowed is at most 254 of all client machines together',
    ],
    [
      'cut: r3',
      'block: { from: r1, to: r1 }',
      'timeline[2].block: {"from":"r1","to":"r1"} is not allowed, allowed is either from and to, or between: two replicas, at most one of them others',
    ],
    ['topology:', 'topolgy:', 'topology: missing, allowed is fields with values'],
    [
      'expect:',
      'seed: 3\nexpect:',
      'seed: unknown field, allowed are name, description, topology, needs, delivery, access, otherwise, udpIdle, programs, policy, workloads, timeline, expect',
    ],
    [
      'name: short',
      'name: short\nprograms: [/bin/sh]',
      'programs[0]: "/bin/sh" is not allowed, allowed is the name of a program',
    ],
    [
      'kind: tcp-echo, sessions: 24',
      'kind: command, run: "true", serve: { port: 22/tcp, run: sshd, user: me }',
      'workloads[1].serve.user: unknown field, allowed are port, run, unprivileged, checked',
    ],
    ['atMost: 0', 'most: 0', 'expect[0].most: unknown field, allowed are measure, atMost, atLeast, needs'],
  ])('%s → %s is refused in one line', (from, to, line) => {
    expect(() => read(good.replace(from, to))).toThrow(
      expect.objectContaining({ code: 'scenario', message: `${join(directory, 'scenario.yaml')}: ${line}` }),
    );
  });

  const grouped = `name: g
description: clients send to a group
topology: { replicas: 3, clients: 1, addresses: 1, onLoopback: true }
delivery: group
policy: { strategy: equal, handoff: forward }
workloads: [{ kind: udp-echo, flows: 1 }]
timeline: [wait: 1]
expect: []
`;

  test('may be of group delivery, without namespaces', () => {
    expect(read(grouped)).toMatchObject({ delivery: 'group', topology: { onLoopback: true } });
  });

  test('may be behind a router', () => {
    expect(read(good.replace('policy:', 'delivery: router\npolicy:'))).toMatchObject({ delivery: 'router' });
  });

  const routed = `name: r
description: behind two routers
topology: { replicas: 2, clients: 1, addresses: 1, routers: 2 }
delivery: router
policy: { strategy: equal, handoff: forward }
workloads: [{ kind: http, ratePerSecond: 1 }]
timeline: [{ kill: { host: rt1 } }, { withdraw: rt1 }, { kill: { router: rt2 } }, { restart: { router: rt2 } }, { revoke: r2 }, { impostor: { join: signed } }]
expect: []
`;

  test('may name routers and impostors behind a router', () => {
    expect(read(routed).timeline.at(-1)).toEqual({ impostor: { join: 'signed', as: 'r1' } });
    expect(read(routed)).toMatchObject({ access: 'authority', topology: { routers: 2 } });
    expect(() => withDelivery(read(routed), 'segment')).toThrow(
      '--delivery: timeline[0].kill.host: no such replica, allowed are r1, r2, coordinator, member',
    );
  });

  test.each([
    [', routers: 2', '', 'timeline[0].kill.host: no such replica, allowed are r1, r2, coordinator, member, rt'],
    ['withdraw: rt1', 'withdraw: rt', 'timeline[1].withdraw: no such router, allowed are rt1, rt2'],
    [
      'withdraw: rt1',
      'withdraw: r1',
      'timeline[1].withdraw: "r1" is not allowed, allowed is the name of a router: rt, or of two rt1 or rt2',
    ],
    [
      'restart: { router: rt2 }',
      'restart: {}',
      'timeline[3].restart: {} is not allowed, allowed is one of agent, router',
    ],
    ['revoke: r2', 'revoke: rt2', 'timeline[4].revoke: no such replica, allowed are r1, r2, coordinator, member'],
    [
      'join: signed',
      'join: signed, as: r3',
      'timeline[5].impostor.as: no such replica, allowed are r1, r2, coordinator, member',
    ],
    ['delivery: router', 'delivery: router\naccess: public', 'timeline[4].revoke: nobody has a certificate'],
  ])('behind a router: %s → %s is refused in one line', (from, to, line) => {
    expect(() => read(routed.replace(from, to))).toThrow(`${join(directory, 'scenario.yaml')}: ${line}`);
  });

  test('nobody has keys in a public group', () => {
    const open = routed.replace('{ revoke: r2 }, ', '').replace('delivery: router', 'delivery: router\naccess: public');
    expect(() => read(open)).toThrow('timeline[4].impostor.join: "signed" needs keys, and nobody has one');
    expect(read(open.replace('join: signed', 'join: unsigned'))).toMatchObject({ access: 'public' });
  });

  test('routers and joins are of router delivery alone', () => {
    const segment = good.replace('timeline:', 'timeline:\n  - impostor: { join: unsigned }');
    expect(() => read(segment)).toThrow('timeline[0].impostor: joins are for routers, and there are none');
    expect(() => read(good.replace('addresses: 16', 'addresses: 16, routers: 1'))).toThrow(
      'topology.routers: only with router delivery',
    );
    expect(() => read(good.replace('cut: r3', 'withdraw: rt'))).toThrow(
      'timeline[2].withdraw: no such router, allowed are none without `delivery: router`',
    );
  });

  test('may be run in another delivery than its file says', () => {
    const written = read(good);
    expect(withDelivery(written, 'router')).toEqual({ ...written, delivery: 'router' });
  });

  test.each([
    [good, 'tunnel', '--delivery: "tunnel" is not allowed, allowed are segment, group, router'],
    [good, 'group', '--delivery: workloads[0].kind: group delivery has udp-echo alone'],
    [grouped, 'router', '--delivery: the clients of this scenario send to a group, which is what it is about'],
  ])('is refused a delivery that it cannot have, in one line', (text, delivery, message) => {
    expect(() => withDelivery(read(text), delivery)).toThrow(expect.objectContaining({ code: 'usage', message }));
  });

  test.each([
    ['delivery: group', 'delivery: segment', 'topology.onLoopback: only with group delivery'],
    ['kind: udp-echo, flows: 1', 'kind: tcp-echo, sessions: 1', 'workloads[0].kind: group delivery has udp-echo alone'],
    ['wait: 1', 'cut: r1', 'timeline[0]: without namespaces there is no switch, and no host'],
    ['wait: 1', 'kill: { host: r1 }', 'timeline[0]: without namespaces there is no switch, and no host'],
  ])('of group delivery: %s → %s is refused in one line', (from, to, line) => {
    expect(() => read(grouped.replace(from, to))).toThrow(`${join(directory, 'scenario.yaml')}: ${line}`);
  });

  test.each([
    [
      'ct: r3',
      'timeline[0].ct: unknown step, allowed are wait, moved, policy, move, drain, undrain, upgrade, cut, heal, kill, stop, restart, withdraw, revoke, impostor, leave, block, loss, destroyState, flush',
    ],
    [
      'wait: 5, cut: r3',
      'timeline[0]: a step has one key, allowed are wait, moved, policy, move, drain, undrain, upgrade, cut, heal, kill, stop, restart, withdraw, revoke, impostor, leave, block, loss, destroyState, flush',
    ],
    [
      'move: { slots: 0-256, to: r2 }',
      'timeline[0].move.slots: "0-256" is not allowed, allowed is slots such as "0-63,128", each at most 255',
    ],
    ['move: { slots: 0-127 }', 'timeline[0].move.to: missing, allowed is text'],
    [
      'move: { slots: 0-127, to: r2, until: half }',
      'timeline[0].move.until: "half" is not allowed, allowed are prepare, leave, owned, done',
    ],
    [
      'move: { slots: 0-127, to: r4 }',
      'timeline[0].move.to: no such replica, allowed are r1, r2, r3, coordinator, member',
    ],
    ['drain: r4', 'timeline[0].drain: no such replica, allowed are r1, r2, r3, coordinator, member'],
    ['upgrade: r4', 'timeline[0].upgrade: no such replica, allowed are r1, r2, r3, coordinator, member'],
    ['kill: { agnt: r2 }', 'timeline[0].kill.agnt: unknown field, allowed are agent, host, server, router'],
    [
      'kill: { agent: r2, host: r2 }',
      'timeline[0].kill: {"agent":"r2","host":"r2"} is not allowed, allowed is one of agent, host, server, router',
    ],
    ['kill: { host: r4 }', 'timeline[0].kill.host: no such replica, allowed are r1, r2, r3, coordinator, member'],
    ['stop: { agent: r2 }', 'timeline[0].stop.seconds: missing, allowed is a number'],
    ['restart: r2', 'timeline[0].restart: "r2" is not allowed, allowed is fields with values'],
    [
      'block: { from: r1 }',
      'timeline[0].block: {"from":"r1"} is not allowed, allowed is either from and to, or between: two replicas, at most one of them others',
    ],
    [
      'block: { between: [others, others] }',
      'timeline[0].block: {"between":["others","others"]} is not allowed, allowed is either from and to, or between: two replicas, at most one of them others',
    ],
    ['block: { between: [r1] }', 'timeline[0].block.between: ["r1"] is not allowed, allowed is a list of at least 2'],
    [
      'block: { between: [r1, r5] }',
      'timeline[0].block.between: no such replica, allowed are r1, r2, r3, coordinator, member, others',
    ],
    ['leave: others', 'timeline[0].leave: no such replica, allowed are r1, r2, r3, coordinator, member'],
    ['loss: { percent: 101 }', 'timeline[0].loss.percent: 101 is not allowed, allowed is at most 100'],
  ])('a step "%s" is refused in one line', (step, line) => {
    expect(() => read(good.replace('wait: 5', `{ ${step} }`))).toThrow(
      expect.objectContaining({ code: 'scenario', message: `${join(directory, 'scenario.yaml')}: ${line}` }),
    );
  });

  test('a lone replica has no others to play a role', () => {
    const lone = good.replace('replicas: 3', 'replicas: 1').replace('cut: r3', 'cut: member');
    expect(() => read(lone)).toThrow('timeline[2].cut: no such replica, allowed are r1');
  });

  test('that are no YAML, or not there, are refused in one line with their name', () => {
    expect(() => read('name: [')).toThrow(/^[^\n]*scenario\.yaml: not YAML: Flow sequence [^\n]*$/);
    expect(() => readScenario(join(directory, 'none.yaml'))).toThrow(/^[^\n]*none\.yaml: ENOENT[^\n]*$/);
  });
});
