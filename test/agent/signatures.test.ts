import { generateKeyPairSync, X509Certificate } from 'node:crypto';
import fc from 'fast-check';
import { beforeEach, describe, expect, test } from 'vitest';
import type { AgentConfig } from '../../src/agent/config.ts';
import { createControlChannel } from '../../src/agent/control-channel.ts';
import { startIntroductions } from '../../src/agent/introductions.ts';
import { signatureLines } from '../../src/agent/signature-status.ts';
import { Signatures } from '../../src/agent/signatures.ts';
import { defined } from '../../src/base/assert.ts';
import type { MemberFiles } from '../../src/platform/certificates.ts';
import { hmacSha256 } from '../../src/platform/keyring.ts';
import { certificateBytesMax } from '../../src/wire/envelope.ts';
import { authorityUnderTest, lifetime } from '../identity/authority-under-test.ts';
import { createMemoryStore } from './memory-store.ts';

const key = new Uint8Array(32).fill(7);
const body = Uint8Array.of(1, 2, 3);
const authority = authorityUnderTest('site1', lifetime(-1, 100));
const files = Object.fromEntries(
  ['r1', 'r2', 'r3'].map((name) => [name, authority.member(name, { lifetime: lifetime(-1, 30) })]),
);
const dayMs = 86_400_000;

interface Agent {
  readonly store: ReturnType<typeof createMemoryStore>;
  readonly channel: ReturnType<typeof createControlChannel>;
  readonly signatures: Signatures | null;
  readonly revoked: (readonly string[])[];
}

let serials = new Set<string>();
let now = 0;
beforeEach(() => {
  serials = new Set();
  now = Date.now();
});

function configOf(node: string, required: 'required' | 'accepted' = 'required'): AgentConfig {
  const service = { name: 'web', address: '203.0.113.10', partition: '0.0.0.255' };
  const peers = { r1: '10.0.0.1', r2: '10.0.0.2', r3: '10.0.0.3' };
  return {
    cluster: 'site1',
    node,
    service,
    control: { peers, signatures: required },
    routers: {},
  } as unknown as AgentConfig;
}

/** An agent of this name, with the certificate of `own`, or of nobody. */
function agent(
  node: string,
  own: MemberFiles | null = files[node] ?? null,
  { mode = 'required' as 'required' | 'accepted', store = createMemoryStore() } = {},
): Agent {
  const config = configOf(node, mode);
  const revoked: (readonly string[])[] = [];
  const signatures =
    own &&
    new Signatures({
      ...{ config, files: own, store, revokedSerials: () => serials, now: () => now },
      onRevoked: (names) => revoked.push(names),
    });
  return { store, revoked, signatures, channel: createControlChannel(config, [key], store, { signatures }) };
}

function opened({ channel }: Agent, datagram: Uint8Array): unknown {
  const result = channel.open(datagram);
  return result.ok ? (result.value?.body ?? null) : result.reason;
}

function serialOf(name: string): string {
  return new X509Certificate(defined(files[name], name).certificate).serialNumber.toLowerCase();
}

describe('a signed control channel', () => {
  test('believes nobody before its certificate was shown, and then what it signs', () => {
    const [r1, r2] = [agent('r1'), agent('r2')];
    expect(opened(r2, r1.channel.seal(body))).toBe('certificate not known');
    expect(opened(r2, r1.channel.introduction())).toBe(null);
    expect(opened(r2, r1.channel.seal(body))).toEqual(body);
    expect(r2.signatures?.status().refused).toEqual({});
  });

  test('hears its own multicasts', () => {
    const r1 = agent('r1');
    expect(opened(r1, r1.channel.seal(body))).toEqual(body);
  });

  test('refuses a datagram of which any bit was changed, by whoever holds the keyring', () => {
    const [r1, r2] = [agent('r1'), agent('r2')];
    opened(r2, r1.channel.introduction());
    const sealed = r1.channel.seal(body);
    fc.assert(
      fc.property(fc.nat((sealed.length - 32) * 8 - 1), fc.boolean(), (bit, holdsKey) => {
        const changed = sealed.slice();
        changed[bit >> 3] = (changed[bit >> 3] ?? 0) ^ (1 << (bit & 7));
        if (holdsKey) changed.set(hmacSha256(key, changed.subarray(0, -32)), changed.length - 32);
        expect(r2.channel.open(changed).ok, `bit ${bit}`).toBe(false);
      }),
      { numRuns: 500 },
    );
    expect(opened(r2, sealed)).toEqual(body);
  });

  test('refuses a holder of the keyring without a certificate, and names who does not sign', () => {
    const r2 = agent('r2');
    expect(opened(r2, agent('r1', null).channel.seal(body))).toBe('not signed');
    expect(r2.signatures?.status().refused).toEqual({ r1: 'not signed' });
    expect(signatureLines({ ...defined(r2.signatures?.status(), 'a status'), rotation: null }, 'r2')).toContainEqual(
      expect.stringMatching(/^in the name of r1, not believed: not signed; name certificates in its agent.yaml/),
    );
  });

  test.each([
    ['another member', () => defined(files.r3, 'r3'), 'certificate of another name'],
    [
      'a member of another authority',
      () => authorityUnderTest('site1').member('r1'),
      'certificate of another authority',
    ],
    [
      'a member of another cluster',
      () => authority.member('r1', { cluster: 'site2' }),
      'certificate of another cluster',
    ],
    [
      'one whose certificate is over',
      () => authority.member('r1', { lifetime: lifetime(-2, -1) }),
      'certificate expired',
    ],
    ['one of tomorrow', () => authority.member('r1', { lifetime: lifetime(1, 2) }), 'certificate not in force yet'],
  ])('refuses %s that speaks for a peer: its certificate, and what it signs', (_what, own, reason) => {
    const [r2, impostor] = [agent('r2'), agent('r1', own())];
    opened(r2, agent('r1').channel.introduction());
    opened(r2, agent('r3').channel.introduction());
    expect(opened(r2, impostor.channel.introduction())).toBe(reason);
    expect(opened(r2, impostor.channel.introduction())).toBe(reason);
    expect([reason, 'certificate not known']).toContain(opened(r2, impostor.channel.seal(body)));
  });

  test("refuses another's certificate with a signature by somebody else's key", () => {
    const [r2, r3] = [agent('r2'), defined(files.r3, 'r3')];
    opened(r2, agent('r1').channel.introduction());
    // It shows the certificate of r1, which it has, and signs with the key of r3.
    const impostor = agent('r1', { ...r3, certificate: defined(files.r1, 'r1').certificate });
    expect(opened(r2, impostor.channel.introduction())).toBe(null);
    expect(opened(r2, impostor.channel.seal(body))).toBe('wrong signature');
  });

  test('verifies a signature once, however often a datagram is sent again', () => {
    const [r1, r2] = [agent('r1'), agent('r2')];
    opened(r2, r1.channel.introduction());
    const sealed = r1.channel.seal(body);
    expect([1, 2, 3].map(() => opened(r2, sealed))).toEqual([body, 'replayed', 'replayed']);
  });

  test('does not take a forgery for the first of two', () => {
    const [r1, r2] = [agent('r1'), agent('r2')];
    opened(r2, r1.channel.introduction());
    const sealed = r1.channel.seal(body);
    const forged = sealed.slice(0, -32);
    forged[forged.length - 1] = (forged.at(-1) ?? 0) ^ 1;
    expect(opened(r2, Uint8Array.from([...forged, ...hmacSha256(key, forged)]))).toBe('wrong signature');
    expect(opened(r2, sealed)).toEqual(body);
  });

  test('remembers whom it knows: what starts again hears the others at once', () => {
    const [r1, r2] = [agent('r1'), agent('r2')];
    opened(r2, r1.channel.introduction());
    const again = agent('r2', files.r2, { store: r2.store });
    expect(opened(again, r1.channel.seal(body))).toEqual(body);
    // And it forgets nobody for a damaged file: they show themselves again.
    r2.store.write('members', Uint8Array.of(1, 2));
    expect(opened(agent('r2', files.r2, { store: r2.store }), r1.channel.seal(body))).toBe('certificate not known');
  });

  test('refuses who is revoked at once, says so once, and believes a new certificate of the same name', () => {
    const [r1, r2] = [agent('r1'), agent('r2')];
    opened(r2, r1.channel.introduction());
    serials = new Set([serialOf('r1')]);
    r2.signatures?.look();
    expect(opened(r2, r1.channel.seal(body))).toBe('certificate revoked');
    expect(opened(r2, r1.channel.introduction())).toBe('certificate revoked');
    expect(r2.revoked).toEqual([['r1']]);
    expect(signatureLines({ ...defined(r2.signatures?.status(), 'a status'), rotation: null }, 'r2')).toEqual([
      'control messages are signed',
      'r1: its certificate is revoked and still speaks with the keyring; it knows the keyring: change it everywhere else (manycast keyring add, use, remove)',
    ]);
    // An agent that learns of both only now knows it too, by what was shown to its earlier life or is shown to this one.
    expect(agent('r2', files.r2, { store: r2.store }).signatures?.status().revoked).toEqual([]);
    const later = agent('r2', files.r2, { store: r2.store });
    later.signatures?.look();
    expect(later.revoked).toEqual([['r1']]);
    const stranger = agent('r3');
    expect(opened(stranger, r1.channel.introduction())).toBe('certificate revoked');
    expect(stranger.revoked).toEqual([['r1']]);
    const renewed = agent('r1', authority.member('r1'));
    expect(opened(r2, renewed.channel.introduction())).toBe(null);
    expect(opened(r2, renewed.channel.seal(body))).toEqual(body);
    expect(r2.revoked).toEqual([['r1'], []]);
  });

  test('believes a certificate no longer than it is in force', () => {
    const [r1, r2] = [agent('r1'), agent('r2')];
    opened(r2, r1.channel.introduction());
    expect(r2.signatures?.status().daysLeft).toBe(null);
    now += 20 * dayMs;
    expect(signatureLines({ ...defined(r2.signatures?.status(), 'a status'), rotation: null }, 'r2')).toContain(
      'the certificate of this replica is over in 9 days: issue it a new one (manycast keys issue)',
    );
    now += 11 * dayMs;
    expect(opened(r2, r1.channel.seal(body))).toBe('certificate expired');
  });

  test('is changed over with unsigned messages accepted, and who has no certificate hears the signed', () => {
    const [plain, r2] = [agent('r1', null), agent('r2', files.r2, { mode: 'accepted' })];
    expect(opened(r2, plain.channel.seal(body))).toEqual(body);
    expect(r2.signatures?.status().unsigned).toEqual(['r1']);
    expect(opened(plain, r2.channel.introduction())).toBe(null);
    expect(opened(plain, r2.channel.seal(body))).toEqual(body);
    const r1 = agent('r1');
    opened(r2, r1.channel.introduction());
    expect(opened(r2, r1.channel.seal(body))).toEqual(body);
    expect(r2.signatures?.status().unsigned).toEqual([]);
  });

  test('keeps no certificate of somebody who is no peer, and of one name a few, among them the one in use', () => {
    const [r1, r2] = [agent('r1'), agent('r2')];
    expect(opened(r2, agent('r9', authority.member('r9')).channel.introduction())).toBe('certificate of no peer');
    opened(r2, r1.channel.introduction());
    opened(r2, r1.channel.seal(body));
    for (let i = 0; i < 6; i++) opened(r2, agent('r1', authority.member('r1')).channel.introduction());
    expect(opened(r2, r1.channel.seal(body))).toEqual(body);
  });
});

test('a key of another kind is refused at the start, with what to do', () => {
  const { privateKey } = generateKeyPairSync('rsa', {
    modulusLength: 3072,
    publicKeyEncoding: { type: 'spki', format: 'pem' },
    privateKeyEncoding: { type: 'pkcs8', format: 'pem' },
  });
  expect(() => agent('r1', { ...defined(files.r1, 'r1'), key: privateKey })).toThrow(
    'control messages are signed with an RSA key of 2048 bits',
  );
});

test('the longest names there are make a certificate that can be shown', () => {
  const name = 'x'.repeat(32);
  const longest = authorityUnderTest(name).member(name);
  expect(new X509Certificate(longest.certificate).raw.length).toBeLessThan(certificateBytesMax);
});

test('certificates are shown to all at the start and on, and to a peer that begins at once, but not again and again', () => {
  const sent: string[] = [];
  const waiting: (() => void)[] = [];
  let at = 0;
  const introductions = startIntroductions({
    network: {
      multicast: () => void sent.push('group'),
      unicast: (peer) => void sent.push(peer),
      close: async () => {},
    },
    clock: {
      now: () => at,
      wakeAt(_when, callback) {
        waiting.push(callback);
        return () => {};
      },
    },
    peers: ['r2', 'r3'],
    introduction: () => body,
    onRound: () => {},
  });
  expect(sent.splice(0)).toEqual(['group', 'r2', 'r3']);
  at = 10_000;
  waiting.shift()?.();
  expect(sent.splice(0)).toEqual(['group', 'r2', 'r3']);
  at = 10_500;
  waiting.shift()?.();
  expect(sent.splice(0)).toEqual(['group']);
  introductions.greet('r2');
  introductions.greet('r2');
  introductions.greet('r3');
  expect(sent.splice(0)).toEqual(['r2', 'r3']);
});
