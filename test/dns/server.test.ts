import { createSocket, type Socket as UdpSocket } from 'node:dgram';
import { once } from 'node:events';
import { connect, type Socket } from 'node:net';
import fc from 'fast-check';
import { afterEach, describe, expect, test, vi } from 'vitest';
import { answerRate } from '../../src/dns/answer-rate.ts';
import { type DnsServer, type DnsServerLimits, openDnsServer } from '../../src/dns/server.ts';
import { answerBook } from '../../src/registry/answer.ts';
import { zoneSchema } from '../../src/registry/schema.ts';
import { registryOf } from '../../src/registry/zone.ts';
import { type DnsMessage, decodeDns, encodeDns, noFlags } from '../../src/wire/dns.ts';
import { recordType } from '../../src/wire/dns-data.ts';

const waiting = { timeout: 10_000, interval: 5 };
const opened: (() => unknown)[] = [];
afterEach(async () => {
  for (const close of opened.splice(0).reverse()) await close();
});

const registry = registryOf(
  zoneSchema.parse({
    origin: 'groups.example.org',
    nameservers: [{ name: 'ns.example.net' }],
    contact: 'hostmaster@example.org',
    groups: {
      open: {
        ...{ address: '239.77.0.11', owner: 'Nobody', access: 'public' },
        revoked: Array.from({ length: 100 }, (_, i) => i.toString(16).padStart(32, '4')),
      },
    },
  }),
);

async function serve(limits: Partial<DnsServerLimits> = {}): Promise<DnsServer> {
  const book = answerBook(registry.ok ? registry.value : []);
  const server = await openDnsServer({ address: '127.0.0.1', port: 0, book: () => book, limits });
  opened.push(() => server.close());
  return server;
}

function question(type: number, id = 7): Uint8Array {
  return encodeDns({
    ...{ id, isResponse: false, opcode: 0, flags: noFlags, responseCode: 0 },
    questions: [{ name: 'open.groups.example.org', type, class: 1 }],
    ...{ answers: [], authorities: [], additionals: [], edns: null },
  });
}

/** A socket, and all that it has heard. */
async function client({ port }: DnsServer): Promise<{ socket: UdpSocket; heard: DnsMessage[] }> {
  const socket = createSocket('udp4');
  opened.push(() => socket.close());
  const heard: DnsMessage[] = [];
  socket.on('message', (bytes) => {
    const read = decodeDns(bytes);
    if (read.ok) heard.push(read.value);
  });
  socket.connect(port, '127.0.0.1');
  await once(socket, 'connect');
  return { socket, heard };
}

async function stream({ port }: DnsServer): Promise<{ socket: Socket; heard: () => Buffer }> {
  const socket = connect(port, '127.0.0.1');
  opened.push(() => socket.destroy());
  const chunks: Buffer[] = [];
  socket.on('data', (chunk: Buffer) => chunks.push(chunk));
  socket.on('error', () => {});
  await once(socket, 'connect');
  return { socket, heard: () => Buffer.concat(chunks) };
}

function framed(bytes: Uint8Array): Uint8Array {
  return Uint8Array.of(bytes.length >> 8, bytes.length & 0xff, ...bytes);
}

describe('the embedded server', () => {
  test('sends by UDP what fits, and all of it by TCP, however the questions are cut', async () => {
    const server = await serve();
    const { socket, heard } = await client(server);
    socket.send(question(recordType.TXT));
    await vi.waitFor(() => expect(heard).toHaveLength(1), waiting);
    expect([heard[0]?.flags.truncated, heard[0]?.answers]).toEqual([true, []]);
    const tcp = await stream(server);
    const both = Buffer.concat([framed(question(recordType.TXT, 1)), framed(question(recordType.A, 2))]);
    for (const byte of both) tcp.socket.write(Uint8Array.of(byte));
    await vi.waitFor(() => expect(tcp.heard().length).toBeGreaterThan(3000), waiting);
    const length = tcp.heard().readUInt16BE(0);
    const read = decodeDns(tcp.heard().subarray(2, 2 + length));
    expect(read).toMatchObject({ ok: true, value: { id: 1, flags: { truncated: false } } });
    await vi.waitFor(
      () => expect(decodeDns(tcp.heard().subarray(4 + length))).toMatchObject({ value: { id: 2 } }),
      waiting,
    );
  });

  test('goes on after any bytes', async () => {
    const server = await serve({ perSecond: 1e6, burst: 1e6, perSecondOfAll: 1e6 });
    const { socket, heard } = await client(server);
    const good = question(recordType.TXT);
    const changed = fc.tuple(fc.nat(good.length - 1), fc.nat(255)).map(([at, byte]) => {
      const bytes = Uint8Array.from(good);
      bytes[at] = byte;
      return bytes;
    });
    for (const bytes of fc.sample(fc.oneof(changed, fc.uint8Array({ maxLength: 60 })), 500)) socket.send(bytes);
    await vi.waitFor(() => {
      socket.send(question(recordType.A, 4711));
      expect(heard.some(({ id }) => id === 4711)).toBe(true);
    }, waiting);
    expect(server.counts.malformed).toBeGreaterThan(100);
  });

  test('answers no answers, and an unreadable question by an error', async () => {
    const server = await serve();
    const { socket, heard } = await client(server);
    const answer = question(recordType.A, 1);
    answer[2] = 0x80;
    socket.send(answer);
    socket.send(Uint8Array.of(...answer, 1));
    socket.send(Uint8Array.of(...question(recordType.A, 2), 1));
    socket.send(question(recordType.A, 3));
    await vi.waitFor(() => expect(heard.map(({ id }) => id)).toContain(3), waiting);
    expect(heard.map(({ id, responseCode }) => [id, responseCode])).toEqual([
      [2, 1],
      [3, 0],
    ]);
  });

  test('sends a network no more than the rate, and says to every second question beyond to come by TCP', async () => {
    const server = await serve({ perSecond: 0, burst: 3 });
    const { socket, heard } = await client(server);
    for (let id = 1; id <= 9; id++) socket.send(question(recordType.A, id));
    await vi.waitFor(() => expect(server.counts.limited).toBe(6), waiting);
    await vi.waitFor(() => expect(heard).toHaveLength(6), waiting);
    expect(heard.map(({ id, answers, flags }) => [id, answers.length, flags.truncated])).toEqual([
      ...[1, 2, 3].map((id) => [id, 1, false]),
      ...[4, 6, 8].map((id) => [id, 0, true]),
    ]);
    const tcp = await stream(server);
    tcp.socket.write(framed(question(recordType.A)));
    await vi.waitFor(() => expect(tcp.heard().length).toBeGreaterThan(30), waiting);
  });

  test('has few connections of one address, and ends those that take too long or ask too much', async () => {
    const server = await serve({ connectionsOfAddressMax: 2, questionMs: 300 });
    const slow = await stream(server);
    const long = await stream(server);
    const third = await stream(server);
    await once(third.socket, 'close');
    expect(server.counts.connectionsRefused).toBe(1);
    slow.socket.write(Uint8Array.of(0));
    long.socket.write(Uint8Array.of(0xff, 0xff));
    await Promise.all([once(slow.socket, 'close'), once(long.socket, 'close')]);
    const again = await stream(server);
    again.socket.write(framed(question(recordType.A)));
    await vi.waitFor(() => expect(again.heard().length).toBeGreaterThan(30), waiting);
  });

  test('tells when its port is taken', async () => {
    const { port } = await serve();
    await expect(openDnsServer({ address: '127.0.0.1', port, book: () => answerBook([]) })).rejects.toThrow(
      `cannot listen on 127.0.0.1 port ${port}: `,
    );
  });
});

describe('the rate of answers', () => {
  const limits = { perSecond: 10, burst: 2, perSecondOfAll: 100, networksMax: 2 };

  test('is of a network, and comes back with time', () => {
    const rate = answerRate(limits);
    const at = (source: string, ms: number): string => rate.judge(source, ms);
    expect(['192.0.2.1', '192.0.2.2', '192.0.2.3', '192.0.2.3'].map((each) => at(each, 0))).toEqual([
      ...['answer', 'answer', 'truncate', 'drop'],
    ]);
    expect([at('198.51.100.1', 0), at('192.0.2.1', 99), at('192.0.2.1', 200)]).toEqual([
      'answer',
      'truncate',
      'answer',
    ]);
  });

  test('is bounded for all together, whatever sources are made up', () => {
    const rate = answerRate(limits);
    const verdicts = Array.from({ length: 1000 }, (_, i) => rate.judge(`10.${i >> 8}.${i & 255}.1`, 0));
    expect(verdicts.filter((each) => each === 'answer')).toHaveLength(100);
  });
});
