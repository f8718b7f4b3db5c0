import { copyFileSync, mkdtempSync, readFileSync, rmSync, statSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import pino from 'pino';
import { afterAll, beforeEach, describe, expect, test } from 'vitest';
import { KeyRotation, rotationRoundMs } from '../../src/agent/key-rotation.ts';
import { defined } from '../../src/base/assert.ts';
import { addKeyAs, keyNames, newKeyring, readKeys, removeKey, useKey } from '../../src/platform/keyring.ts';
import { decodeKeyringMessage, encodeKeyringMessage } from '../../src/wire/keyring-message.ts';
import { createMemoryStore } from './memory-store.ts';

const directory = mkdtempSync(join(tmpdir(), 'manycast-test-'));
afterAll(() => rmSync(directory, { recursive: true }));
const names = ['r1', 'r2', 'r3', 'r4'];
const pathOf = (name: string): string => join(directory, `${name}.json`);

/** Agents whose datagrams arrive at once where the receiver has the key. */
class Cluster {
  now = 0;
  coordinator = 'r1';
  revoked: readonly string[] = [];
  away = new Set<string>();
  readonly gifts: string[] = [];
  /** Datagrams that did not come from far, under a key that their receiver has not. */
  readonly unread: string[] = [];
  readonly datagrams: { readonly to: string; readonly from: string; readonly body: Uint8Array }[] = [];
  readonly agents = new Map<string, KeyRotation>();
  readonly stores = new Map(names.map((name) => [name, createMemoryStore()]));

  constructor() {
    newKeyring(pathOf('r1'));
    for (const name of names.slice(1)) copyFileSync(pathOf('r1'), pathOf(name));
    for (const name of names) this.start(name);
  }

  start(name: string): void {
    const others = names.filter((each) => each !== name);
    const deliver = (to: string, body: Uint8Array, key: Uint8Array): void => {
      const knows = [...readKeys(pathOf(to)).keys.values()].some((each) => Buffer.from(each).equals(key));
      this.datagrams.push({ to, from: name, body });
      const isCut = this.away.has(to) || this.away.has(name);
      const isHeard = ![name, to].some((each) => this.revoked.includes(each));
      if (!knows && !isCut && isHeard) this.unread.push(`${name} to ${to}`);
      if (knows && !isCut) this.agents.get(to)?.hear(name, body);
    };
    const own = (): Uint8Array => {
      const { use, keys } = readKeys(pathOf(name));
      return defined(keys.get(use), use);
    };
    this.agents.set(
      name,
      new KeyRotation({
        ...{ node: name, cluster: 'site1', peers: others, path: pathOf(name), log: pino({ enabled: false }) },
        ...{ store: defined(this.stores.get(name), name), clock: { now: () => this.now, wakeAt: () => () => {} } },
        tellAll: (body) => {
          for (const to of others) deliver(to, body, own());
        },
        tell: (to, body, key) => {
          this.gifts.push(`${name} to ${to}`);
          deliver(to, body, key);
        },
        ...{ introduce() {}, reread() {}, coordinates: () => this.coordinator === name },
        // Who is revoked does not know, or does not care.
        revoked: () => (this.revoked.includes(name) ? [] : this.revoked),
        heard: () => others.filter((each) => !this.away.has(each) && !this.away.has(name)),
      }),
    );
  }

  run(seconds: number): void {
    for (let i = 0; i < seconds; i++) {
      this.now += rotationRoundMs;
      for (const [name, agent] of this.agents) if (!this.away.has(name)) agent.round();
    }
  }

  rings(): Record<string, string> {
    const shown = (name: string): string => {
      const { use, names: ids } = keyNames(pathOf(name));
      return ids.map((id) => `${id.slice(0, 2)}${id === use ? '*' : ''}`).join(' ');
    };
    return Object.fromEntries(names.map((name) => [name, shown(name)]));
  }
}

/** The largest number that is read: whoever counts on from it is not understood. */
const farAhead = 'r999999999-00000000';

function announcementOf(id: string): Uint8Array {
  return encodeKeyringMessage({ kind: 'announcement', ids: [id], use: 'k1', publicKey: new Uint8Array(32).fill(9) });
}

let cluster: Cluster;
beforeEach(() => {
  for (const name of names) rmSync(pathOf(name), { force: true });
  cluster = new Cluster();
});

describe('the keyring', () => {
  test('stays as it is while nobody is revoked', () => {
    cluster.run(10);
    expect(cluster.rings()).toEqual({ r1: 'k1*', r2: 'k1*', r3: 'k1*', r4: 'k1*' });
  });

  test('is changed when a member is revoked: added, used, the old key removed; the revoked gets nothing', () => {
    cluster.run(5);
    const before = readFileSync(pathOf('r4'), 'utf8');
    cluster.revoked = ['r4'];
    cluster.run(2);
    expect(cluster.rings()).toMatchObject({ r1: 'k1 r1*', r4: 'k1*' });
    cluster.run(10);
    expect(cluster.rings()).toEqual({ r1: 'r1*', r2: 'r1*', r3: 'r1*', r4: 'k1*' });
    expect(readFileSync(pathOf('r4'), 'utf8')).toBe(before);
    const kept = names.slice(0, 3).map((name) => readFileSync(pathOf(name), 'utf8'));
    expect(new Set(kept).size).toBe(1);
    expect(statSync(pathOf('r2')).mode & 0o777).toBe(0o600);
    expect(cluster.gifts.filter((gift) => gift.endsWith('r4'))).toEqual([]);
    // Nothing that was sent tells the key.
    const secret = Buffer.from([...readKeys(pathOf('r1')).keys.values()][0] ?? []);
    expect(cluster.datagrams.some(({ body }) => Buffer.from(body).includes(secret))).toBe(false);
    for (const name of ['r1', 'r2', 'r3']) {
      expect(cluster.agents.get(name)?.status()).toEqual({ covers: ['r4'], waitsFor: [], problem: null });
    }
  });

  test('signs with no key that somebody who is heard has not', () => {
    cluster.run(5);
    cluster.revoked = ['r4'];
    cluster.run(20);
    expect(cluster.rings()).toMatchObject({ r1: 'r1*', r2: 'r1*', r3: 'r1*' });
    expect(cluster.unread).toEqual([]);
  });

  test('is not changed by an agent that has just begun and has heard nobody yet', () => {
    cluster.run(5);
    cluster.revoked = ['r4'];
    for (const name of ['r2', 'r3', 'r4']) cluster.away.add(name);
    addKeyAs(pathOf('r1'), 'r1-aaaaaaaa', new Uint8Array(32).fill(1));
    cluster.start('r1');
    cluster.run(3);
    expect(cluster.rings()).toMatchObject({ r1: 'k1* r1' });
    cluster.away.clear();
    cluster.run(15);
    expect(cluster.rings()).toEqual({ r1: 'r1*', r2: 'r1*', r3: 'r1*', r4: 'k1*' });
    expect(cluster.unread).toEqual([]);
  });

  test('keeps the old key for a member that is away, who is given the new one when it comes back', () => {
    cluster.run(5);
    cluster.away.add('r3');
    cluster.revoked = ['r4'];
    cluster.run(20);
    expect(cluster.rings()).toEqual({ r1: 'k1 r1*', r2: 'k1 r1*', r3: 'k1*', r4: 'k1*' });
    expect(cluster.agents.get('r1')?.status().waitsFor).toEqual(['r3']);
    cluster.away.clear();
    cluster.run(15);
    expect(cluster.rings()).toEqual({ r1: 'r1*', r2: 'r1*', r3: 'r1*', r4: 'k1*' });
  });

  test('is changed once, whoever coordinates then and however often agents start again', () => {
    cluster.run(5);
    cluster.revoked = ['r4'];
    cluster.run(3);
    for (const name of ['r2', 'r3', 'r1']) {
      cluster.start(name);
      cluster.coordinator = name;
      cluster.run(6);
    }
    cluster.run(5);
    expect(cluster.rings()).toEqual({ r1: 'r1*', r2: 'r1*', r3: 'r1*', r4: 'k1*' });
  });

  test('is changed again for the next that is revoked, and for one that is revoked again', () => {
    cluster.run(5);
    cluster.revoked = ['r4'];
    cluster.run(15);
    cluster.revoked = ['r3', 'r4'];
    cluster.run(15);
    expect(cluster.rings()).toEqual({ r1: 'r2*', r2: 'r2*', r3: 'r1*', r4: 'k1*' });
    // A new certificate comes with the keyring, by hand.
    copyFileSync(pathOf('r1'), pathOf('r3'));
    cluster.revoked = ['r4'];
    cluster.run(5);
    cluster.revoked = ['r3', 'r4'];
    cluster.run(15);
    expect(cluster.rings()).toEqual({ r1: 'r3*', r2: 'r3*', r3: 'r2*', r4: 'k1*' });
  });

  test('made twice at the same time is one in the end', () => {
    cluster.run(5);
    for (const [name, tag] of [
      ['r1', 'aaaaaaaa'],
      ['r2', 'bbbbbbbb'],
    ] as const)
      addKeyAs(pathOf(name), `r1-${tag}`, new Uint8Array(32).fill(1));
    cluster.run(20);
    const ids = ['r1', 'r2', 'r3', 'r4'].map((name) => keyNames(pathOf(name)));
    expect(ids).toEqual(ids.map(() => ({ use: 'r1-bbbbbbbb', names: ['r1-bbbbbbbb'] })));
  });

  test('is changed whatever number the revoked one had announced', () => {
    cluster.run(5);
    cluster.away.add('r4');
    for (const name of ['r1', 'r2', 'r3']) cluster.agents.get(name)?.hear('r4', announcementOf(farAhead));
    cluster.revoked = ['r4'];
    cluster.run(15);
    expect(cluster.rings()).toEqual({ r1: 'r1*', r2: 'r1*', r3: 'r1*', r4: 'k1*' });
  });

  test('is changed whatever number another member announces', () => {
    cluster.run(5);
    cluster.away.add('r3');
    cluster.revoked = ['r4'];
    for (let i = 0; i < 15; i++) {
      cluster.agents.get('r1')?.hear('r3', announcementOf(farAhead));
      cluster.run(1);
    }
    expect(cluster.rings()).toMatchObject({ r1: 'k1 r1*', r2: 'k1 r1*' });
  });

  test('is changed whatever key the revoked one had given to the others', () => {
    addKeyAs(pathOf('r4'), farAhead, new Uint8Array(32).fill(9));
    cluster.run(10);
    expect(cluster.gifts).toContain('r4 to r1');
    expect(cluster.rings()).toMatchObject({ r1: 'k1*', r2: 'k1*', r3: 'k1*' });
    cluster.revoked = ['r4'];
    cluster.run(15);
    expect(cluster.rings()).toMatchObject({ r1: 'r1*', r2: 'r1*', r3: 'r1*' });
  });

  test('takes the newest key also from members that have seen some rotations more', () => {
    cluster.run(5);
    for (const name of ['r1', 'r2']) addKeyAs(pathOf(name), 'r900-aaaaaaaa', new Uint8Array(32).fill(1));
    cluster.run(15);
    for (const name of names) expect(keyNames(pathOf(name))).toMatchObject({ use: 'r900-aaaaaaaa' });
  });

  test('gets no key while it has as many as can be told of, and one when there is room', () => {
    cluster.run(5);
    for (let i = 2; i <= 8; i++) addKeyAs(pathOf('r1'), `k${i}`, new Uint8Array(32).fill(i));
    cluster.revoked = ['r4'];
    cluster.run(10);
    expect(keyNames(pathOf('r1')).names).toHaveLength(8);
    expect(cluster.agents.get('r1')?.status().problem).toBe('it has 8 keys already');
    removeKey(pathOf('r1'), 'k8');
    cluster.run(15);
    expect(cluster.rings()).toEqual({ r1: 'r1*', r2: 'r1*', r3: 'r1*', r4: 'k1*' });
  });

  test('gets no key whose number nobody could read, and its own go on being told of', () => {
    for (const name of names) addKeyAs(pathOf(name), farAhead, new Uint8Array(32).fill(9));
    cluster.run(5);
    cluster.revoked = ['r4'];
    cluster.run(15);
    for (const name of ['r1', 'r2', 'r3']) expect(keyNames(pathOf(name))).toEqual({ use: farAhead, names: [farAhead] });
    expect(cluster.agents.get('r1')?.status().problem).toBe('the numbers of its keys are used up');
  });

  test('is a person to change as well: what they choose to sign with stays', () => {
    cluster.run(5);
    cluster.revoked = ['r4'];
    cluster.run(15);
    for (const name of ['r1', 'r2', 'r3']) {
      addKeyAs(pathOf(name), 'k2', new Uint8Array(32).fill(2));
      useKey(pathOf(name), 'k2');
    }
    cluster.run(20);
    expect(cluster.rings()).toMatchObject({ r1: 'r1 k2*', r2: 'r1 k2*', r3: 'r1 k2*' });
  });

  test('cannot be written here: that is said, and nobody signs with a key that this one has not', () => {
    cluster.run(5);
    cluster.revoked = ['r4'];
    rmSync(pathOf('r3'));
    cluster.agents.get('r3')?.round();
    expect(cluster.agents.get('r3')?.status().problem).toMatch(/no such file/);
  });
});

test('a gift is opened by whom it is for alone, and not when a bit of it was changed', () => {
  cluster.run(5);
  cluster.revoked = ['r4'];
  const taken = cluster.datagrams.length;
  cluster.away.add('r2').add('r3');
  cluster.run(1);
  cluster.away.clear();
  cluster.start('r2');
  cluster.run(1);
  const gift = cluster.datagrams.slice(taken).find(({ to, body }) => {
    const message = decodeKeyringMessage(body);
    return to === 'r3' && message.ok && message.value.kind === 'gift';
  });
  const message = decodeKeyringMessage(defined(gift, 'a gift to r3').body);
  if (!message.ok || message.value.kind !== 'gift') return expect.unreachable();
  const changed = message.value.sealed.slice();
  changed[0] = (changed[0] ?? 0) ^ 1;
  const fresh = new Cluster2();
  for (const body of [{ ...message.value }, { ...message.value, to: 'r2' }, { ...message.value, sealed: changed }]) {
    fresh.agent.hear('r1', encodeKeyringMessage(body));
  }
  expect(keyNames(fresh.path).names).toEqual(['k1']);
});

/** r3 in another life: what was sealed for the earlier one it cannot open. */
class Cluster2 {
  readonly path = join(directory, 'fresh.json');
  readonly agent: KeyRotation;
  constructor() {
    newKeyring(this.path);
    this.agent = new KeyRotation({
      ...{ node: 'r3', cluster: 'site1', peers: ['r1', 'r2', 'r4'], path: this.path, log: pino({ enabled: false }) },
      ...{ store: createMemoryStore(), clock: { now: () => 0, wakeAt: () => () => {} } },
      ...{ tellAll() {}, tell() {}, introduce() {}, reread() {}, coordinates: () => false },
      ...{ revoked: () => [], heard: () => [] },
    });
  }
}
