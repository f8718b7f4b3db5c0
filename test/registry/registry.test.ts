import { X509Certificate } from 'node:crypto';
import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { addressOf } from '../../src/base/address.ts';
import { answerBook, udpBytesMax } from '../../src/registry/answer.ts';
import { groupRecordOf } from '../../src/registry/group-record.ts';
import { zoneSchema } from '../../src/registry/schema.ts';
import { registryOf } from '../../src/registry/zone.ts';
import { zoneText } from '../../src/registry/zone-text.ts';
import { type DnsMessage, type DnsRecord, decodeDns, encodeDns, noFlags } from '../../src/wire/dns.ts';
import { readStartData, readTextData, recordType, textData } from '../../src/wire/dns-data.ts';
import { authorityUnderTest } from '../identity/authority-under-test.ts';

const site = authorityUnderTest('site1');
const other = authorityUnderTest('site1');
const fingerprint = (pem: string): string => new X509Certificate(pem).fingerprint256.replaceAll(':', '').toLowerCase();

const file = {
  origin: 'groups.example.org',
  nameservers: [{ name: 'ns1.groups.example.org', address: '192.0.2.53' }, { name: 'ns.example.net' }],
  contact: 'host.master@example.org',
  serial: 7,
  groups: {
    web: {
      ...{ address: '239.77.0.10', owner: 'Example Ltd <ops@example.org>, Zürich', authority: site.certificate },
      revoked: ['40'.repeat(16), '41'.repeat(16)],
    },
    open: { address: '239.77.0.11', owner: 'Nobody', access: 'public' },
  },
};

function registryFrom(changes: object = {}): ReturnType<typeof registryOf> {
  return registryOf(zoneSchema.parse({ ...file, ...changes }));
}

function bookOf(changes: object = {}): ReturnType<typeof answerBook> {
  const registry = registryFrom(changes);
  if (!registry.ok) throw new Error(registry.reason);
  return answerBook(registry.value);
}
const book = bookOf();

function query(name: string, type: number, changes: Partial<DnsMessage> = {}): DnsMessage {
  return {
    ...{ id: 7, isResponse: false, opcode: 0, flags: { ...noFlags, recursionDesired: true }, responseCode: 0 },
    questions: [{ name, type, class: 1 }],
    ...{ answers: [], authorities: [], additionals: [], edns: null },
    ...changes,
  };
}

function ask(name: string, type: number, changes: Partial<DnsMessage> = {}): DnsMessage {
  const answer = book.answer(query(name, type, changes));
  if (!answer) throw new Error('no answer');
  // As it comes out of the wire.
  const read = decodeDns(encodeDns(answer));
  if (!read.ok) throw new Error(read.reason);
  return read.value;
}

const name = 'web.groups.example.org';
const reverse = '10.0.77.239.in-addr.arpa';
const ofGroup = [recordType.TXT, recordType.CERT, recordType.A];

describe('a group', () => {
  test('is told of by the same answer for its name and for the reverse name of its address', () => {
    for (const type of [...ofGroup, recordType.PTR]) {
      const [byName, byAddress] = [ask(name, type), ask(reverse, type)];
      expect(byName.answers).toHaveLength(1);
      expect(byAddress.answers.map(({ data }) => data)).toEqual(byName.answers.map(({ data }) => data));
    }
    expect(readTextData(ask(name, recordType.TXT).answers[0]?.data ?? new Uint8Array(0))).toEqual({
      ok: true,
      value: [
        ...['v=manycast1', `name=${name}`, 'address=239.77.0.10', `owner=${file.groups.web.owner}`, 'access=private'],
        ...[`authority=${fingerprint(site.certificate)}`, `revoked=${'40'.repeat(16)},${'41'.repeat(16)}`],
      ],
    });
  });

  test.each([name, reverse])('is read from the answers to %s', (asked) => {
    const answers = ofGroup.flatMap((type) => ask(asked, type).answers);
    expect(groupRecordOf(answers)).toEqual({
      ok: true,
      value: {
        ...{ name, address: addressOf('239.77.0.10'), owner: file.groups.web.owner, isPublic: false },
        ...{ authorityCertificate: site.certificate, revokedSerials: new Set(file.groups.web.revoked) },
      },
    });
    const open = ofGroup.flatMap((type) => ask('open.groups.example.org', type).answers);
    expect(groupRecordOf(open)).toMatchObject({ value: { isPublic: true, authorityCertificate: '' } });
  });

  test('may have two authorities while its key is changed, and many revoked members', () => {
    const authority = other.certificate + site.certificate;
    const revoked = Array.from({ length: 1024 }, (_, i) => (i + 0x1000).toString(16).padStart(40, '7'));
    const changed = bookOf({ groups: { web: { ...file.groups.web, authority, revoked } } });
    const answers = ofGroup.flatMap((type) => changed.answer(query(name, type))?.answers ?? []);
    expect(groupRecordOf(answers)).toMatchObject({
      value: { authorityCertificate: authority, revokedSerials: new Set(revoked) },
    });
    const answer = changed.answer(query(name, recordType.TXT));
    expect(answer && encodeDns(answer).length).toBeLessThan(50_000);
  });

  test('is refused when its records do not agree, or there are none', () => {
    const [text, certificate, address] = ofGroup.map((type) => ask(name, type).answers);
    const of = (...records: (readonly DnsRecord[] | undefined)[]): unknown =>
      groupRecordOf(records.flatMap((each) => each ?? []));
    const refused = (reason: string): object => ({ ok: false, reason });
    const foreign = ask('open.groups.example.org', recordType.A).answers;
    expect(of(certificate, address)).toEqual(refused('it is no group'));
    expect(of(text, certificate, foreign)).toEqual(refused('its TXT and A records tell different addresses'));
    expect(of(text, address)).toEqual(refused('it has no CERT record for an authority that its TXT names'));
    expect(of(text, text, certificate)).toEqual(refused('it has several TXT records of groups'));
  });
});

test('records of any bytes make no group, and nothing is thrown', () => {
  const real = ofGroup.flatMap((type) => ask(name, type).answers);
  const data = fc.oneof(
    fc.uint8Array({ maxLength: 80 }),
    fc
      .array(
        fc.constantFrom(
          'v=manycast1',
          'name=x',
          'owner=',
          'access=public',
          'address=239.1.1.1',
          'authority=',
          'revoked=,',
        ),
        { maxLength: 8 },
      )
      .map(textData),
  );
  const record = fc
    .tuple(fc.constantFrom(...ofGroup), data)
    .map(([type, each]) => ({ name, type, class: 1, ttl: 1, data: each }));
  fc.assert(
    fc.property(fc.array(fc.oneof(record, fc.constantFrom(...real)), { maxLength: 6 }), (records) => {
      const read = groupRecordOf(records);
      const texts = records.filter(({ type }) => type === recordType.TXT).map(({ data }) => readTextData(data));
      // Others may have TXT records of their own at the name.
      if (read.ok) expect(texts.filter((each) => each.ok && each.value[0] === 'v=manycast1')).toHaveLength(1);
    }),
    { numRuns: 2000 },
  );
});

describe('a question is answered', () => {
  const soa = (message: DnsMessage): unknown => message.authorities.map(({ name, type, ttl }) => [name, type, ttl]);

  test('with the case of its letters', () => {
    const { questions, answers } = ask('wEb.GROUPS.example.org', recordType.A);
    expect([questions[0]?.name, answers[0]?.name]).toEqual(['wEb.GROUPS.example.org', 'wEb.GROUPS.example.org']);
  });

  test('with authority, and without recursion', () => {
    expect(ask(name, recordType.A).flags).toEqual({ ...noFlags, authoritative: true, recursionDesired: true });
  });

  test('by the start of the zone when there is nothing: no such name, or no such record of it', () => {
    const none = ask('x.WEB.groups.example.org', recordType.A);
    expect([none.responseCode, none.flags.authoritative, soa(none)]).toEqual([
      ...[3, true, [['groups.example.org', recordType.SOA, 60]]],
    ]);
    const noData = ask('open.groups.example.org', recordType.CERT);
    expect([noData.responseCode, soa(noData)]).toEqual([0, [['groups.example.org', recordType.SOA, 60]]]);
    const between = ask('77.239.in-addr.arpa', recordType.A);
    expect([between.responseCode, soa(between)]).toEqual([0, [['239.in-addr.arpa', recordType.SOA, 60]]]);
    expect(ask('78.239.in-addr.arpa', recordType.A).responseCode).toBe(3);
  });

  test('about the zone itself', () => {
    const start = ask('groups.example.org', recordType.SOA).answers[0];
    expect(readStartData(start?.data ?? new Uint8Array(0))).toMatchObject({
      value: { server: 'ns1.groups.example.org', contact: 'host\\046master.example.org', serial: 7, minimum: 60 },
    });
    expect(ask('239.in-addr.arpa', recordType.NS).answers).toHaveLength(2);
    expect(ask('ns1.groups.example.org', recordType.A).answers.map(({ data }) => [...data])).toEqual([[192, 0, 2, 53]]);
  });

  test('with one small record when it is for everything', () => {
    expect(ask(name, recordType.ANY).answers.map(({ type }) => type)).toEqual([recordType.HINFO]);
    expect(ask('none.groups.example.org', recordType.ANY).responseCode).toBe(3);
  });

  test.each<[string, string, number, Partial<DnsMessage>]>([
    ['of others', 'example.com', recordType.A, {}],
    ['of the zone above', 'example.org', recordType.A, {}],
    ['for a whole zone', 'groups.example.org', recordType.AXFR, {}],
    ['for changes of a zone', 'groups.example.org', recordType.IXFR, {}],
    ['in another class', name, recordType.TXT, { questions: [{ name, type: recordType.TXT, class: 3 }] }],
  ])('by a refusal when it is %s', (_what, asked, type, changes) => {
    const { responseCode, flags, answers, authorities } = ask(asked, type, changes);
    expect([responseCode, flags.authoritative, answers, authorities]).toEqual([5, false, [], []]);
  });

  test('by an error when it is none, or several', () => {
    const questions = [
      { name, type: recordType.A, class: 1 },
      { name, type: recordType.TXT, class: 1 },
    ];
    expect(ask(name, recordType.A, { questions }).responseCode).toBe(1);
    expect(ask(name, recordType.A, { questions: [] }).responseCode).toBe(1);
    expect(ask(name, recordType.A, { opcode: 5 }).responseCode).toBe(4);
    expect(book.answer(query(name, recordType.A, { isResponse: true }))).toBe(null);
  });

  test('with EDNS when it has it, of version 0 alone, as long as both sides take it', () => {
    const edns = { payloadBytes: 4096, version: 0, dnssecOk: true };
    expect(ask(name, recordType.A).edns).toBe(null);
    expect(ask(name, recordType.A, { edns }).edns).toEqual({ payloadBytes: 1232, version: 0, dnssecOk: true });
    const later = ask(name, recordType.A, { edns: { ...edns, version: 1 } });
    expect([later.responseCode, later.edns?.version, later.answers]).toEqual([16, 0, []]);
    const sizes = [null, { ...edns, payloadBytes: 1000 }, edns].map((each) =>
      udpBytesMax(query(name, 1, { edns: each })),
    );
    expect(sizes).toEqual([512, 1000, 1232]);
  });
});

describe('a zone file is refused', () => {
  test.each<[string, object, string]>([
    [
      'when a name server in the zone has no address',
      { nameservers: [{ name: 'ns1.groups.example.org' }] },
      'nameservers[0]: ns1.groups.example.org is in the zone and needs an address',
    ],
    [
      'when two groups have one address',
      { groups: { ...file.groups, more: { ...file.groups.open, address: '239.77.0.10' } } },
      'groups.more.address: 239.77.0.10 is that of "web"',
    ],
    [
      'when no zone has the reverse name of an address',
      { reverse: ['78.239.in-addr.arpa'] },
      'groups.web.address: no zone of `reverse` has 239.77.0.10',
    ],
    [
      'when a private group has no authority',
      { groups: { web: { ...file.groups.web, authority: undefined } } },
      'groups.web.authority: missing, a private group needs one',
    ],
    [
      'when a zone is within another',
      { reverse: ['239.in-addr.arpa', '77.239.in-addr.arpa'] },
      'reverse: the zone 77.239.in-addr.arpa is within another, or named twice',
    ],
  ])('%s', (_what, changes, reason) => {
    expect(registryFrom(changes)).toEqual({ ok: false, reason });
  });
});

test('a zone is written as RFC 1035 says', () => {
  const registry = registryFrom();
  const text = registry.ok && registry.value[0] ? zoneText(registry.value[0]) : '';
  expect(text.split('\n').slice(0, 7)).toEqual([
    '; zone groups.example.org, written by manycast registry export',
    'groups.example.org. 300 IN SOA ns1.groups.example.org. host\\046master.example.org. 7 3600 900 1209600 60',
    'groups.example.org. 300 IN NS ns1.groups.example.org.',
    'groups.example.org. 300 IN NS ns.example.net.',
    'ns1.groups.example.org. 300 IN A 192.0.2.53',
    'web.groups.example.org. 300 IN A 239.77.0.10',
    'web.groups.example.org. 300 IN PTR web.groups.example.org.',
  ]);
  expect(text).toContain('"owner=Example Ltd <ops@example.org>, Z\\195\\188rich"');
});
