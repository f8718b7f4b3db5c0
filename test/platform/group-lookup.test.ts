import { X509Certificate } from 'node:crypto';
import { createSocket } from 'node:dgram';
import { once } from 'node:events';
import { createServer } from 'node:net';
import { afterEach, describe, expect, test } from 'vitest';
import { addressOf } from '../../src/base/address.ts';
import { type DnsServerLimits, openDnsServer } from '../../src/dns/server.ts';
import {
  type GroupLookup,
  type GroupLookupOptions,
  type GroupServer,
  groupLookup,
} from '../../src/platform/group-lookup.ts';
import { type AnswerBook, answerBook } from '../../src/registry/answer.ts';
import { zoneSchema } from '../../src/registry/schema.ts';
import { registryOf } from '../../src/registry/zone.ts';
import { type DnsMessage, decodeDns, encodeDns } from '../../src/wire/dns.ts';
import { authorityUnderTest } from '../identity/authority-under-test.ts';

const opened: (() => unknown)[] = [];
afterEach(async () => {
  for (const close of opened.splice(0).reverse()) await close();
});

const site = authorityUnderTest('site1');
const next = authorityUnderTest('site1');
const fingerprint = (pem: string): string => new X509Certificate(pem).fingerprint256;
const web = { address: '239.77.0.10', owner: 'Example Ltd', authority: site.certificate, revoked: ['40'.repeat(16)] };
const open = { address: '239.77.0.11', owner: 'Nobody', access: 'public' };
const pinned = new Map([['239.77.0.10', [fingerprint(site.certificate)]]]);

function bookOf(groups: object, changes: object = {}): AnswerBook {
  const registry = registryOf(
    zoneSchema.parse({
      ...{ origin: 'groups.example.org', nameservers: [{ name: 'ns.example.net' }], contact: 'a@example.org' },
      ...{ ttl: 10, negativeTtl: 5, groups, ...changes },
    }),
  );
  if (!registry.ok) throw new Error(registry.reason);
  return answerBook(registry.value);
}

interface Real extends GroupServer {
  /** Answers by another book from now on. */
  change(book: AnswerBook): void;
  close(): Promise<void>;
  readonly asked: () => number;
}

/** The embedded server; `edit` changes its answers. */
async function real(book: AnswerBook, limits: Partial<DnsServerLimits> = {}): Promise<Real> {
  let asked = 0;
  let current = book;
  const counting: AnswerBook = {
    answer(query) {
      asked++;
      return current.answer(query);
    },
  };
  const server = await openDnsServer({ address: '127.0.0.1', port: 0, book: () => counting, limits });
  let isOpen = true;
  const close = async (): Promise<void> => {
    if (isOpen) await server.close();
    isOpen = false;
  };
  opened.push(close);
  return { address: '127.0.0.1', port: server.port, change: (each) => (current = each), close, asked: () => asked };
}

/** A server that answers by UDP whatever `lies` makes of a true answer. */
async function lying(
  book: AnswerBook,
  lies: (answer: DnsMessage, question: Uint8Array) => (DnsMessage | Uint8Array)[],
): Promise<GroupServer> {
  const socket = createSocket('udp4');
  socket.on('message', (bytes, from) => {
    const query = decodeDns(bytes);
    const answer = query.ok ? book.answer(query.value) : null;
    for (const each of answer ? lies(answer, bytes) : []) {
      socket.send(each instanceof Uint8Array ? each : encodeDns(each), from.port, from.address);
    }
  });
  socket.bind(0, '127.0.0.1');
  await once(socket, 'listening');
  opened.push(() => socket.close());
  return { address: '127.0.0.1', port: socket.address().port };
}

/** With a clock that stands until it is set. */
function lookupOf(
  servers: readonly GroupServer[],
  options: Partial<GroupLookupOptions> = {},
): { lookup: GroupLookup['lookup']; clock: { ms: number } } {
  const clock = { ms: 1000 };
  const { lookup } = groupLookup({
    ...{ servers, pins: new Map(), now: () => clock.ms, ...options },
    limits: { timeoutMs: 300, ...options.limits },
  });
  return { lookup, clock };
}

const closed = (problem: unknown): object => ({ kind: 'closed', problem });
const ofWeb = { owner: 'Example Ltd', authorityCertificate: site.certificate, revokedSerials: new Set(web.revoked) };

describe('a group', () => {
  test('whose authority is pinned is private, and its record that of the registry', async () => {
    const { lookup } = lookupOf([await real(bookOf({ web }))], { pins: pinned });
    expect(await lookup(addressOf('239.77.0.10'))).toMatchObject({ kind: 'private', problem: null, group: ofWeb });
  });

  test('of which only an answer without signature tells is closed, also when it is told to be public', async () => {
    const { lookup } = lookupOf([await real(bookOf({ web, open }))]);
    for (const each of ['239.77.0.10', '239.77.0.11']) {
      expect(await lookup(addressOf(each))).toEqual(
        closed(expect.stringContaining('the answer is not signed, and no fingerprint is configured')),
      );
    }
  });

  test('is what a trusted resolver has verified; its word alone does not count from another', async () => {
    const flags = (answer: DnsMessage): DnsMessage[] => [
      { ...answer, flags: { ...answer.flags, authenticData: true, truncated: false } },
    ];
    const server = await lying(bookOf({ web, open }), flags);
    const trusting = lookupOf([{ ...server, isValidating: true }]);
    expect(await trusting.lookup(addressOf('239.77.0.11'))).toMatchObject({ kind: 'public' });
    expect((await lookupOf([server]).lookup(addressOf('239.77.0.11'))).kind).toBe('closed');
    const all = new Map([['239.77.0.11', [fingerprint(site.certificate)]]]);
    const pinning = lookupOf([{ ...server, isValidating: true }], { pins: all });
    expect(await pinning.lookup(addressOf('239.77.0.11'))).toEqual(
      closed(expect.stringContaining('it is told to be public, and a fingerprint is configured')),
    );
  });

  test('is closed when its CERT record is proven and no certificate of an authority', async () => {
    const [member] = [site.member('web1').certificate];
    const damaged = site.certificate.replace(/\n.{20}/, '\nAAAAAAAAAAAAAAAAAAAA');
    for (const authority of [member, damaged]) {
      const server = await lying(bookOf({ web: { ...web, authority } }), (answer) => [
        { ...answer, flags: { ...answer.flags, authenticData: true } },
      ]);
      const { lookup } = lookupOf([{ ...server, isValidating: true }]);
      expect(await lookup(addressOf('239.77.0.10'))).toEqual(
        closed(expect.stringContaining('its CERT record is not that of an authority')),
      );
    }
  });

  test('has the pinned of two authorities alone, and is closed with another', async () => {
    const both = { ...web, authority: next.certificate + site.certificate };
    const server = await real(bookOf({ web: both }));
    expect(await lookupOf([server], { pins: pinned }).lookup(addressOf('239.77.0.10'))).toMatchObject({ group: ofWeb });
    server.change(bookOf({ web: { ...web, authority: next.certificate } }));
    expect(await lookupOf([server], { pins: pinned }).lookup(addressOf('239.77.0.10'))).toEqual(
      closed(expect.stringContaining('its authority is not the one whose fingerprint is configured')),
    );
  });

  test('that does not fit a datagram is told of by TCP', async () => {
    const revoked = Array.from({ length: 500 }, (_, i) => (0x4000 + i).toString(16).padStart(32, '4'));
    const { lookup } = lookupOf([await real(bookOf({ web: { ...web, revoked } }))], { pins: pinned });
    expect(await lookup(addressOf('239.77.0.10'))).toMatchObject({ group: { revokedSerials: new Set(revoked) } });
  });
});

describe('what was answered is kept', () => {
  test('for as long as it says, and asked for once, however many want it', async () => {
    const server = await real(bookOf({ web }));
    const { lookup, clock } = lookupOf([server], { pins: pinned });
    await Promise.all(Array.from({ length: 20 }, () => lookup(addressOf('239.77.0.10'))));
    // TXT, CERT and A; the certificate does not fit a datagram and is asked for again.
    const once = server.asked();
    expect(once).toBeLessThanOrEqual(5);
    clock.ms += 9_999;
    await lookup(addressOf('239.77.0.10'));
    expect(server.asked()).toBe(once);
    server.change(bookOf({ web: { ...web, owner: 'Another' } }));
    clock.ms += 1;
    expect(await lookup(addressOf('239.77.0.10'))).toMatchObject({ group: { owner: 'Another' } });
  });

  test('also that there is no such group, for the shorter of the two times of the zone', async () => {
    const server = await real(bookOf({}, { negativeTtl: 5 }));
    const { lookup, clock } = lookupOf([server], { pins: pinned });
    const none = closed(expect.stringContaining('there is no such group'));
    expect(await lookup(addressOf('239.77.0.10'))).toEqual(none);
    server.change(bookOf({ web }));
    clock.ms += 4_999;
    expect(await lookup(addressOf('239.77.0.10'))).toEqual(none);
    clock.ms += 1;
    expect(await lookup(addressOf('239.77.0.10'))).toMatchObject({ kind: 'private' });
    server.change(bookOf({}));
    clock.ms += 10_000;
    expect(await lookup(addressOf('239.77.0.10'))).toEqual(none);
  });

  test('of a bounded number of groups, those with a proven answer longest', async () => {
    const server = await real(bookOf({ web }), { perSecond: 1e6, burst: 1e6 });
    const { lookup } = lookupOf([server], { pins: pinned, limits: { groupsMax: 3 } });
    await lookup(addressOf('239.77.0.10'));
    for (let i = 20; i < 30; i++) await lookup(addressOf(`239.77.0.${i}`));
    const asked = server.asked();
    await lookup(addressOf('239.77.0.10'));
    expect(server.asked()).toBe(asked);
    await lookup(addressOf('239.77.0.20'));
    expect(server.asked()).toBe(asked + 3);
  });

  test('and a revocation is not taken back by a later answer', async () => {
    const server = await real(bookOf({ web }));
    const { lookup, clock } = lookupOf([server], { pins: pinned });
    await lookup(addressOf('239.77.0.10'));
    server.change(bookOf({ web: { ...web, revoked: ['41'.repeat(16)] } }));
    clock.ms += 10_000;
    expect(await lookup(addressOf('239.77.0.10'))).toMatchObject({
      group: { revokedSerials: new Set(['41'.repeat(16), '40'.repeat(16)]) },
    });
  });
});

describe('without DNS', () => {
  test('the last proven answer counts for a while, then the group is closed; no server is asked for every join', async () => {
    const server = await real(bookOf({ web }));
    const { lookup, clock } = lookupOf([server], { pins: pinned, limits: { staleMs: 60_000 } });
    await lookup(addressOf('239.77.0.10'));
    await server.close();
    clock.ms += 10_000;
    const stale = await lookup(addressOf('239.77.0.10'));
    expect(stale).toMatchObject({ kind: 'private', group: ofWeb, problem: expect.stringContaining('127.0.0.1 port') });
    clock.ms += 4_999;
    expect(await lookup(addressOf('239.77.0.10'))).toBe(stale);
    clock.ms = 1000 + 10_000 + 60_000;
    expect(await lookup(addressOf('239.77.0.10'))).toEqual(closed(expect.stringContaining('127.0.0.1 port')));
  });

  test('so do those that find too many look-ups under way', async () => {
    const server = await real(bookOf({ web }));
    const { lookup, clock } = lookupOf([server], { pins: pinned, limits: { lookupsMax: 1 } });
    await lookup(addressOf('239.77.0.10'));
    clock.ms += 10_000;
    const other = lookup(addressOf('239.77.0.20'));
    const problem = 'too many look-ups at a time';
    expect(await lookup(addressOf('239.77.0.10'))).toMatchObject({ kind: 'private', group: ofWeb, problem });
    expect(await lookup(addressOf('239.77.0.21'))).toEqual(closed(problem));
    await other;
    expect(await lookup(addressOf('239.77.0.10'))).toMatchObject({ kind: 'private', problem: null });
  });

  test('of one server the next is asked', async () => {
    const [gone, there] = [await real(bookOf({})), await real(bookOf({ web }))];
    await gone.close();
    const silent = await lying(bookOf({ web }), () => []);
    const failing = await lying(bookOf({ web }), (answer) => [{ ...answer, answers: [], responseCode: 2 }]);
    const { lookup } = lookupOf([gone, silent, failing, there], { pins: pinned });
    expect(await lookup(addressOf('239.77.0.10'))).toMatchObject({ kind: 'private', problem: null });
  });

  test('a liar changes nothing: the last proven answer counts on', async () => {
    const server = await real(bookOf({ web }));
    const { lookup, clock } = lookupOf([server], { pins: pinned });
    await lookup(addressOf('239.77.0.10'));
    server.change(bookOf({ web: { ...web, authority: next.certificate } }));
    clock.ms += 10_000;
    expect(await lookup(addressOf('239.77.0.10'))).toMatchObject({
      ...{ kind: 'private', group: ofWeb },
      problem: expect.stringContaining('its authority is not the one'),
    });
  });
});

describe('an answer is not taken', () => {
  const forged = bookOf({ web: { ...web, authority: next.certificate } });

  test.each<[string, (answer: DnsMessage) => DnsMessage]>([
    ['with another number', (answer) => ({ ...answer, id: (answer.id + 1) & 0xffff })],
    [
      'to another question',
      (answer) => ({ ...answer, questions: answer.questions.map((each) => ({ ...each, type: 1 })) }),
    ],
    [
      'in another case',
      (answer) => ({ ...answer, questions: answer.questions.map((each) => ({ ...each, name: swapped(each.name) })) }),
    ],
    ['that is a question', (answer) => ({ ...answer, isResponse: false })],
    ['without a question', (answer) => ({ ...answer, questions: [] })],
  ])('%s, and the true one behind it is', async (_what, lie) => {
    const small = bookOf({ web });
    const server = await lying(small, (answer, bytes) => {
      const query = decodeDns(bytes);
      const wrong = query.ok ? forged.answer(query.value) : null;
      return [...(wrong ? [lie(wrong)] : []), Uint8Array.of(1, 2, 3), answer];
    });
    const { lookup } = lookupOf([server], { pins: pinned });
    // Whoever asks for A is told nothing wrong by an answer that claims to be one.
    expect(await lookup(addressOf('239.77.0.10'))).toMatchObject({ kind: 'private', group: ofWeb });
  });

  test('from another port', async () => {
    const other = createSocket('udp4').bind(0, '127.0.0.1');
    await once(other, 'listening');
    opened.push(() => other.close());
    const socket = createSocket('udp4');
    let asked = 0;
    socket.on('message', (bytes, from) => {
      const query = decodeDns(bytes);
      const answer = query.ok ? bookOf({ web }).answer(query.value) : null;
      asked++;
      if (answer) other.send(encodeDns(answer), from.port, from.address);
    });
    socket.bind(0, '127.0.0.1');
    await once(socket, 'listening');
    opened.push(() => socket.close());
    const { lookup } = lookupOf([{ address: '127.0.0.1', port: socket.address().port }], { pins: pinned });
    expect(await lookup(addressOf('239.77.0.10'))).toEqual(closed(expect.stringContaining('no answer within 300 ms')));
    expect(asked).toBe(3);
  });

  test('by TCP when it is cut short, or never ends', async () => {
    const tcp = createServer((socket) => {
      socket.on('error', () => {});
      socket.write(Uint8Array.of(0x10, 0, 1, 2, 3));
      opened.push(() => socket.destroy());
    }).listen(0, '127.0.0.1');
    await once(tcp, 'listening');
    opened.push(() => tcp.close());
    const place = tcp.address();
    const port = typeof place === 'object' && place ? place.port : 0;
    const udp = createSocket('udp4').bind(port, '127.0.0.1');
    await once(udp, 'listening');
    opened.push(() => udp.close());
    udp.on('message', (bytes, from) => {
      const query = decodeDns(bytes);
      const answer = query.ok ? bookOf({ web }).answer(query.value) : null;
      if (!answer) return;
      const flags = { ...answer.flags, truncated: true };
      udp.send(encodeDns({ ...answer, flags, answers: [] }), from.port, from.address);
    });
    const { lookup } = lookupOf([{ address: '127.0.0.1', port }], { pins: pinned });
    expect(await lookup(addressOf('239.77.0.10'))).toEqual(closed(expect.stringContaining('no answer within 300 ms')));
  });

  /** Small letters for capital ones, and the other way round. */
  function swapped(name: string): string {
    return [...name].map((each) => (each === each.toUpperCase() ? each.toLowerCase() : each.toUpperCase())).join('');
  }
});
