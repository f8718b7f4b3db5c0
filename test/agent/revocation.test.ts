import { X509Certificate } from 'node:crypto';
import { copyFileSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import pino from 'pino';
import { afterAll, afterEach, expect, test } from 'vitest';
import { type AgentConfig, serviceOf } from '../../src/agent/config.ts';
import { type Driver, startDriver } from '../../src/agent/driver.ts';
import { type MemberChannel, openMemberChannel } from '../../src/agent/member-channel.ts';
import { addressOf } from '../../src/base/address.ts';
import { defined } from '../../src/base/assert.ts';
import { type Control, createControl } from '../../src/control/control.ts';
import { createFakeDataPlane, type FakeDataPlane } from '../../src/dataplane/fake.ts';
import { nothingStays } from '../../src/dataplane/staying.ts';
import { keyNames, newKeyring, readKeyring } from '../../src/platform/keyring.ts';
import { monotonicClock } from '../../src/platform/monotonic-clock.ts';
import type { ControlNetwork } from '../../src/ports/control-network.ts';
import type { Via } from '../../src/wire/envelope.ts';
import { authorityUnderTest } from '../identity/authority-under-test.ts';
import { createMemoryStore } from './memory-store.ts';

const names = ['r1', 'r2', 'r3', 'r4'];
const authority = authorityUnderTest('site1');
const directory = mkdtempSync(join(tmpdir(), 'manycast-test-'));
afterAll(() => rmSync(directory, { recursive: true }));
const waitMsMax = 20_000;

interface Agent {
  readonly name: string;
  readonly control: Control;
  readonly driver: Driver;
  readonly channel: MemberChannel;
  readonly dataPlane: FakeDataPlane;
}

/** Agents with real channels, drivers and time, on kernels and a network in memory. */
const agents = new Map<string, Agent>();
const serials = new Map<string, string>();
const stores = new Map(names.map((name) => [name, createMemoryStore()]));
let revoked: ReadonlySet<string> = new Set();
afterEach(() => {
  for (const name of names) stop(name);
});

function stop(name: string): void {
  agents.get(name)?.driver.stop();
  agents.get(name)?.channel.close();
  agents.delete(name);
}

const keyringOf = (name: string): string => join(directory, `${name}.json`);

function configOf(node: string): AgentConfig {
  const { ca, certificate, key } = authority.member(node);
  serials.set(node, new X509Certificate(certificate).serialNumber.toLowerCase());
  const certificates = Object.fromEntries(
    Object.entries({ ca, certificate, key }).map(([what, pem]) => {
      const path = join(directory, `${node}.${what}`);
      writeFileSync(path, pem, { mode: 0o600 });
      return [what, path];
    }),
  );
  const peers = Object.fromEntries(names.map((name, i) => [name, `10.0.0.${i + 1}`]));
  const service = {
    name: 'web',
    address: '10.77.0.100',
    ports: ['80/tcp'],
    group: '239.77.0.1',
    partition: '0.0.0.15',
  };
  const control = { group: '239.77.0.2', port: 7746, peers, keyring: keyringOf(node), signatures: 'required' };
  const config = { cluster: 'site1', node, interface: 'eth0', service, control, routers: {}, certificates };
  return config as unknown as AgentConfig;
}

function deliver(to: string, datagram: Uint8Array, via: Via): void {
  setImmediate(() => agents.get(to)?.driver.receive(datagram, via));
}

const network: ControlNetwork = {
  multicast(datagram) {
    for (const name of names) deliver(name, datagram, 'multicast');
  },
  unicast: (peer, datagram) => deliver(peer, datagram, 'unicast'),
  close: async () => {},
};

function start(name: string): void {
  const config = configOf(name);
  const [store, clock] = [defined(stores.get(name), name), monotonicClock];
  const service = serviceOf(config, '02:00:00:00:00:01');
  const dataPlane = createFakeDataPlane(() => clock.now());
  let driver: Driver | null = null;
  const channel = openMemberChannel(
    config,
    {
      ...{ store, network, clock, keyring: readKeyring(config.control.keyring), now: () => Date.now() },
      ...{ revokedSerials: () => revoked, view: () => driver?.view() ?? null, onRevoked: (all) => driver?.revoke(all) },
    },
    pino({ enabled: false }),
  );
  const incarnation = (each: string): number => 1 + names.indexOf(each);
  const founders = names.map((each) => ({ name: each, incarnation: incarnation(each) }));
  const control = createControl({
    ...{ node: name, peers: names, partition: service.partition, witness: false, session: channel.session },
    ...{ start: clock.now(), boot: 1, mac: service.ownMac, rows: new Map(), staying: nothingStays, udpIdleMs: null },
    durable: { incarnation: incarnation(name), founders, term: 0, follow: null, ledger: null },
    ...{ newIncarnation: 99, policy: null, routers: [] },
  });
  driver = startDriver({
    ...{ control, channel, network, dataPlane, service, store, clock, letGo() {}, probe() {}, onEvent() {} },
    advertise() {},
    onFault(error) {
      throw error;
    },
    flows: { list: () => [], find: () => [], destroy: () => 0 },
  });
  agents.set(name, { name, control, driver, channel, dataPlane });
}

const agent = (name: string): Agent => defined(agents.get(name), name);

/** Which kernels take a SYN of each client, one of each slot. */
function takers(): string[] {
  return Array.from({ length: 16 }, (_, slot) => {
    const [source, destination] = [addressOf(`203.0.113.${slot}`), addressOf('10.77.0.100')];
    const syn = { source, destination, protocol: 'tcp', destinationPort: 80, sourcePort: 40_000, opens: true } as const;
    const taking = [...agents.values()].filter(({ dataPlane }) => dataPlane.judge(syn) === 'local');
    return taking.map(({ name }) => name).join();
  });
}

async function until(condition: () => boolean): Promise<void> {
  for (const end = Date.now() + waitMsMax; !condition(); ) {
    const views = names.map((name) => agents.get(name)?.control.view().cause);
    if (Date.now() > end) throw new Error(`after ${waitMsMax} ms: ${JSON.stringify([views, takers()])}`);
    await new Promise((resolve) => setTimeout(resolve, 10));
  }
}

const servedBy = (...among: string[]): boolean =>
  takers().every((taker) => among.includes(taker)) && among.every((name) => takers().includes(name));

test('who is revoked loses its slots, its vote and the keyring to the others while its agent goes on, and has them again with a new certificate', async () => {
  newKeyring(keyringOf('r1'));
  for (const name of names) {
    if (name !== 'r1') copyFileSync(keyringOf('r1'), keyringOf(name));
    start(name);
  }
  await until(() => servedBy(...names));
  expect(names.map((name) => agent(name).channel.signatures().refused)).toEqual([{}, {}, {}, {}]);

  revoked = new Set([defined(serials.get('r4'), 'its serial number')]);
  for (const { channel } of agents.values()) channel.look();
  await until(() => servedBy('r1', 'r2', 'r3'));
  await until(() => votersOf('r1').join() === 'r1,r2,r3');
  for (const name of ['r1', 'r2', 'r3']) {
    expect(agent(name).channel.signatures()).toMatchObject({
      revoked: ['r4'],
      refused: { r4: 'certificate revoked' },
    });
  }
  expect(agent('r4').control.view()).toMatchObject({ leased: false });

  const rings = (): unknown[] =>
    names.map((name) =>
      keyNames(keyringOf(name))
        .names.map((id) => id.slice(0, 2))
        .join(),
    );
  await until(() => rings().join(' ') === 'r1 r1 r1 k1');
  await until(() => (agent('r1').driver.refused().get('not authentic') ?? 0) > 0);
  expect(servedBy('r1', 'r2', 'r3')).toBe(true);
  expect(new Set(['r1', 'r2', 'r3'].map((name) => JSON.stringify(readKeyring(keyringOf(name))))).size).toBe(1);

  stop('r4');
  copyFileSync(keyringOf('r1'), keyringOf('r4'));
  start('r4');
  await until(() => servedBy(...names));
  expect(agent('r1').channel.signatures().revoked).toEqual([]);
}, 90_000);

function votersOf(name: string): string[] {
  return agent(name)
    .control.view()
    .voters.map((voter) => voter.name);
}
