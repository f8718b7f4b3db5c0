import { X509Certificate } from 'node:crypto';
import { once } from 'node:events';
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { createServer as createTcpServer, type Socket, connect as tcpConnect } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import {
  type ConnectionOptions,
  createServer as createTlsServer,
  type TLSSocket,
  connect as tlsConnect,
} from 'node:tls';
import { afterAll, afterEach, describe, expect, test, vi } from 'vitest';
import { revocationList } from '../../src/identity/revocation-list.ts';
import type { MemberFiles } from '../../src/platform/certificates.ts';
import {
  type LinkClosing,
  openPeerLinks,
  type PeerAddress,
  type PeerLinkLimits,
  type PeerLinks,
} from '../../src/platform/peer-link.ts';
import { frameReader, welcome } from '../../src/platform/peer-link-frames.ts';
import { watchRevocations } from '../../src/platform/revocations.ts';
import { authorityUnderTest, lifetime } from '../identity/authority-under-test.ts';

const site = authorityUnderTest('site1');
const foreign = authorityUnderTest('site1');
const [web1, web2, web3] = [site.member('web1'), site.member('web2'), site.member('web3')];
const waiting = { timeout: 10_000, interval: 5 };

const opened: { close(): unknown }[] = [];
afterEach(async () => {
  await Promise.all(opened.splice(0).map((each) => each.close()));
});

interface Node {
  readonly links: PeerLinks;
  readonly frames: [string, Uint8Array][];
  readonly closings: [string, LinkClosing][];
}

interface NodeOptions {
  readonly tls: MemberFiles;
  readonly addresses?: Map<string, PeerAddress>;
  readonly limits?: Partial<PeerLinkLimits>;
  readonly onFrame?: (peer: string, bytes: Uint8Array) => void | Promise<void>;
}

/** On a port of 127.0.0.1, which it tells the others by `addresses`. */
async function start(node: string, { tls, addresses = new Map(), limits = {}, onFrame }: NodeOptions): Promise<Node> {
  const frames: Node['frames'] = [];
  const closings: Node['closings'] = [];
  const links = await openPeerLinks({
    ...{ listen: { address: '127.0.0.1', port: 0 }, tls, cluster: 'site1', node, limits },
    addressOf: (peer) => addresses.get(peer) ?? null,
    onFrame: onFrame ?? ((peer, bytes) => void frames.push([peer, bytes])),
    onClosed: (peer, closing) => void closings.push([peer, closing]),
  });
  addresses.set(node, { address: '127.0.0.1', port: links.port });
  opened.push(links);
  return { links, frames, closings };
}

/** web1 and web2, which know each other. */
async function pair(
  options: Partial<NodeOptions> = {},
): Promise<{ one: Node; two: Node; addresses: Map<string, PeerAddress> }> {
  const addresses = new Map<string, PeerAddress>();
  const one = await start('web1', { tls: web1, addresses, ...options });
  const two = await start('web2', { tls: web2, addresses, ...options });
  return { one, two, addresses };
}

/** A connection by hand to a node that knows web2. */
function byHand(
  { links }: Node,
  { ca, certificate, key }: Partial<MemberFiles>,
  options: ConnectionOptions = {},
): TLSSocket {
  const socket = tlsConnect({
    ...{ host: '127.0.0.1', port: links.port, rejectUnauthorized: false, checkServerIdentity: () => undefined },
    ...(ca && { ca }),
    ...(certificate && { cert: certificate }),
    ...(key && { key }),
    ...options,
  });
  opened.push({ close: () => socket.destroy() });
  return socket.on('error', () => {});
}

/** Unlike `once` of node:events, which an error before it would reject. */
function closed(socket: Socket): Promise<void> {
  return new Promise((resolve) => {
    if (socket.closed) resolve();
    else socket.once('close', () => resolve());
  });
}

function frame(length: number, bytes = new Uint8Array(0)): Uint8Array {
  const header = new Uint8Array(4);
  new DataView(header.buffer).setUint32(0, length);
  return Buffer.concat([header, bytes]);
}

/** Different at every place. */
function pattern(length: number, seed: number): Uint8Array {
  return Uint8Array.from({ length }, (_, i) => (i * 31 + (i >> 8) * 7 + seed) & 0xff);
}

describe('links between peers', () => {
  test('carry frames of any length both ways, in order, with the name of the sender', async () => {
    const { one, two } = await pair();
    const sent = [0, 1, 3, 16_384, 300_000, 2_000_000, 5].map((length, i) => pattern(length, i));
    await Promise.all(sent.flatMap((bytes) => [one.links.send('web2', bytes), two.links.send('web1', bytes)]));
    await vi.waitFor(() => expect([one.frames.length, two.frames.length]).toEqual([7, 7]), waiting);
    for (const [node, from] of [
      [one, 'web2'],
      [two, 'web1'],
    ] as const) {
      expect(node.frames.map(([peer]) => peer)).toEqual(sent.map(() => from));
      expect(
        node.frames.map(([, bytes]) =>
          Buffer.compare(bytes, sent[node.frames.findIndex((each) => each[1] === bytes)] ?? bytes),
        ),
      ).toEqual(sent.map(() => 0));
    }
    expect(one.links.refused).toEqual(new Map());
  });

  test('carry the longest frame, and refuse to send a longer one', async () => {
    const { one, two } = await pair();
    await one.links.send('web2', new Uint8Array(20 * 1024 * 1024).fill(7));
    await vi.waitFor(() => expect(two.frames.map(([, { length }]) => length)).toEqual([20 * 1024 * 1024]), waiting);
    await expect(one.links.send('web2', new Uint8Array(20 * 1024 * 1024 + 1))).rejects.toThrow(
      'no link to "web2": a frame of 20971521 bytes, allowed are 20971520',
    );
  });

  test('wait for whoever handles frames: a sender is held back, and nothing is lost', async () => {
    let release = (): void => {};
    const held = new Promise<void>((resolve) => (release = resolve));
    const got: number[] = [];
    let running = 0;
    let runningMost = 0;
    const { one } = await pair({
      onFrame: async (_peer, bytes) => {
        runningMost = Math.max(runningMost, ++running);
        await held;
        got.push(bytes[0] ?? -1);
        running--;
      },
    });
    let sent = 0;
    const sending = Array.from({ length: 12 }, (_, i) =>
      one.links.send('web2', new Uint8Array(i < 4 ? 100 : 4_000_000).fill(i)).then(() => sent++),
    );
    await vi.waitFor(() => expect(sent).toBeGreaterThan(0), waiting);
    // What the kernels' buffers take is far less than the 32 MB.
    expect([got, sent < 12]).toEqual([[], true]);
    release();
    await Promise.all(sending);
    await vi.waitFor(() => expect(got).toEqual([0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11]), waiting);
    expect(runningMost).toBe(1);
  });

  test('bound what waits to be sent', async () => {
    const { one } = await pair({ limits: { waitingBytesMax: 1000 } });
    const first = one.links.send('web2', new Uint8Array(600));
    await expect(one.links.send('web2', new Uint8Array(600))).rejects.toThrow('more than 1000 bytes wait');
    await first;
    await one.links.send('web2', new Uint8Array(600));
  });

  test('end when they are idle, and come again, in order', async () => {
    const { one, two } = await pair({ limits: { idleMs: 30 } });
    await one.links.send('web2', Uint8Array.of(1));
    await vi.waitFor(() => expect([one.closings.length, two.closings.length]).toEqual([1, 1]), waiting);
    expect(one.closings).toEqual([['web2', { direction: 'outgoing', reason: null }]]);
    expect(two.closings).toEqual([['web1', { direction: 'incoming', reason: null }]]);
    await one.links.send('web2', Uint8Array.of(2));
    await vi.waitFor(() => expect(two.frames.map(([, [byte]]) => byte)).toEqual([1, 2]), waiting);
  });

  test('that end with much unread are read to their end before others take their place', async () => {
    let release = (): void => {};
    const held = new Promise<void>((resolve) => (release = resolve));
    const got: number[] = [];
    const onFrame = async (_peer: string, [byte]: Uint8Array): Promise<void> => {
      await held;
      got.push(byte ?? -1);
    };
    const { one, two } = await pair({ onFrame, limits: { idleMs: 30 } });
    for (const i of [1, 2, 3]) await one.links.send('web2', new Uint8Array(50_000).fill(i));
    // FIN_WAIT1 or FIN_WAIT2 of <net/tcp_states.h>: the sender has ended its connection.
    const port = two.links.port.toString(16).toUpperCase().padStart(4, '0');
    const ended = new RegExp(`^ *\\d+: \\w+:\\w+ 0100007F:${port} 0[45] `, 'm');
    await vi.waitFor(() => expect(readFileSync('/proc/net/tcp', 'utf8')).toMatch(ended), waiting);
    const last = one.links.send('web2', Uint8Array.of(4));
    // Another link is made meanwhile: time enough for this one, were it not to wait.
    await two.links.send('web1', Uint8Array.of(9));
    release();
    await last;
    await vi.waitFor(() => expect(got.filter((byte) => byte !== 9)).toEqual([1, 2, 3, 4]), waiting);
  });

  test('to a peer that is started again are made again; what breaks is told', async () => {
    const { one, two, addresses } = await pair();
    await one.links.send('web2', Uint8Array.of(1));
    await vi.waitFor(() => expect(two.frames).toHaveLength(1), waiting);
    await two.links.close();
    await vi.waitFor(() => expect(one.closings).toHaveLength(1), waiting);
    await expect(one.links.send('web2', Uint8Array.of(2))).rejects.toThrow('no link to "web2": connect ECONNREFUSED');
    const again = await start('web2', { tls: web2, addresses });
    await one.links.send('web2', Uint8Array.of(3));
    await vi.waitFor(() => expect(again.frames).toEqual([['web1', Uint8Array.of(3)]]), waiting);
  });

  test('that are closed take nothing more, and reject what waits', async () => {
    const { one, two } = await pair();
    const sending = [1, 2, 3].map((i) => one.links.send('web2', new Uint8Array(20_000_000).fill(i)));
    const outcomes = Promise.allSettled(sending);
    await one.links.close();
    expect((await outcomes).map(({ status }) => status)).toEqual(['rejected', 'rejected', 'rejected']);
    await expect(one.links.send('web2', Uint8Array.of(1))).rejects.toThrow('no link to "web2": links are closed');
    expect(one.closings).toEqual([]);
    expect(two.frames).toEqual([]);
  });

  test('cannot be had on a port that is taken', async () => {
    const { one } = await pair();
    const listen = { address: '127.0.0.1', port: one.links.port };
    const none = { addressOf: () => null, onFrame: () => {}, onClosed: () => {} };
    await expect(openPeerLinks({ listen, tls: web1, cluster: 'site1', node: 'web1', ...none })).rejects.toThrow(
      `cannot listen for peers on 127.0.0.1 port ${one.links.port}: listen EADDRINUSE`,
    );
  });
});

describe('a peer is refused', () => {
  const expired = site.member('web2', { lifetime: lifetime(-3, -2) });
  const early = site.member('web2', { lifetime: lifetime(2, 3) });
  const self = { ...foreign.member('web2'), ca: site.certificate };

  test.each([
    ['whose authority is another one', self, 'certificate'],
    ['whose certificate has expired', expired, 'certificate'],
    ['whose certificate is not good yet', early, 'certificate'],
    ['without a certificate', { ca: site.certificate }, 'no-certificate'],
    ['that is none of the configured ones', web3, 'not-a-peer'],
    ['that has the name of this node', site.member('web1'), 'not-a-peer'],
    ['of another cluster with the same authority', site.member('web2', { cluster: 'site2' }), 'other-cluster'],
    [
      'that is the authority itself',
      { ca: site.certificate, certificate: site.certificate, key: site.privateKey },
      'certificate',
    ],
  ] as const)('%s', async (_what, files: Partial<MemberFiles>, reason) => {
    const { one, addresses } = await pair();
    addresses.delete('web3');
    const socket = byHand(one, files);
    socket.once('secureConnect', () => socket.write(frame(1, Uint8Array.of(9))));
    socket.on('data', () => expect.unreachable('it was welcomed'));
    await closed(socket);
    await vi.waitFor(() => expect(one.links.refused).toEqual(new Map([[reason, 1]])), waiting);
    expect([one.frames, one.closings]).toEqual([[], []]);
  });

  test('that speaks an older TLS, or none', async () => {
    const { one } = await pair();
    await closed(byHand(one, web2, { maxVersion: 'TLSv1.2' }));
    const plain = tcpConnect(one.links.port, '127.0.0.1');
    plain.on('error', () => {}).end('GET / HTTP/1.0\r\n\r\n');
    await closed(plain.resume());
    await vi.waitFor(() => expect(one.links.refused).toEqual(new Map([['handshake', 2]])), waiting);
  });

  test('that begins a handshake and does not go on, and those beyond the allowed number at a time', async () => {
    const { one } = await pair({ limits: { handshakeMs: 300, handshakesOfAddressMax: 2 } });
    const silent: Socket[] = [];
    for (let i = 0; i < 3; i++) {
      const socket = tcpConnect(one.links.port, '127.0.0.1').on('error', () => {});
      await once(socket, 'connect');
      silent.push(socket.resume());
    }
    await Promise.all(silent.map(closed));
    const expected = new Map([
      ['too-many-handshakes', 1],
      ['handshake', 2],
    ]);
    await vi.waitFor(() => expect(one.links.refused).toEqual(expected), waiting);
    const late = byHand(one, web2);
    expect([...((await once(late, 'data'))[0] as Buffer)]).toEqual([welcome]);
  });

  test('that takes up an earlier session instead of showing its certificate', async () => {
    const { one } = await pair();
    const first = byHand(one, web2);
    const [session] = (await once(first, 'session')) as [Buffer];
    first.end();
    const second = byHand(one, web2, { session });
    second.on('data', () => expect.unreachable('it was welcomed'));
    await once(second, 'secureConnect');
    expect(second.isSessionReused()).toBe(true);
    await closed(second);
    await vi.waitFor(() => expect(one.links.refused).toEqual(new Map([['certificate', 1]])), waiting);
  });

  test.each([
    ['of one address', { handshakesOfAddressPerSecondMax: 2, handshakesPerSecondMax: 1_000_000 }],
    ['of all', { handshakesOfAddressPerSecondMax: 1_000_000, handshakesPerSecondMax: 2 }],
  ])('that connects too often within a second, %s', async (_whose, ofSecond) => {
    const unbounded = { handshakesOfAddressMax: 1_000_000, handshakesMax: 1_000_000 };
    const { one } = await pair({ limits: { ...unbounded, ...ofSecond } });
    await vi.waitFor(async () => {
      const socket = tcpConnect(one.links.port, '127.0.0.1').on('error', () => {});
      await once(socket, 'connect');
      socket.destroy();
      expect(one.links.refused.get('too-many-handshakes')).toBeGreaterThan(0);
    }, waiting);
  });

  test('by the one that connects, when its address is answered by another', async () => {
    const addresses = new Map<string, PeerAddress>();
    const one = await start('web1', { tls: web1, addresses });
    for (const [tls, complaint] of [
      [web3, '127.0.0.1 answers as "web3" of "site1"'],
      [site.member('web2', { cluster: 'site2' }), '127.0.0.1 answers as "web2" of "site2"'],
      [foreign.member('web2'), 'unable to verify the first certificate'],
      [expired, 'certificate has expired'],
      [early, 'certificate is not yet valid'],
      [{ ...web2, certificate: site.certificate, key: site.privateKey }, 'unsuitable certificate purpose'],
    ] as const) {
      const server = createTlsServer({ ca: site.certificate, cert: tls.certificate, key: tls.key, requestCert: true });
      const got: Buffer[] = [];
      server.on('secureConnection', (socket) => {
        socket.on('error', () => {}).on('data', (chunk) => got.push(chunk));
        socket.write(Uint8Array.of(welcome));
      });
      server.on('tlsClientError', () => {});
      await once(server.listen(0, '127.0.0.1'), 'listening');
      opened.push(server);
      addresses.set('web2', { address: '127.0.0.1', port: (server.address() as { port: number }).port });
      await expect(one.links.send('web2', Uint8Array.of(1)), complaint).rejects.toThrow(complaint);
      expect(got).toEqual([]);
    }
  });

  test('and learns of it: what it sends is rejected', async () => {
    const addresses = new Map<string, PeerAddress>();
    await start('web2', { tls: web2, addresses: new Map() });
    const two = await start('web2', { tls: web2, addresses: new Map() });
    addresses.set('web2', { address: '127.0.0.1', port: two.links.port });
    const one = await start('web1', { tls: web1, addresses });
    await expect(one.links.send('web2', Uint8Array.of(1))).rejects.toThrow(
      'no link to "web2": it refuses the certificate of this replica',
    );
    expect(two.links.refused).toEqual(new Map([['not-a-peer', 1]]));
    await expect(one.links.send('web9', Uint8Array.of(1))).rejects.toThrow(
      'no link to "web9": it is none of the configured peers',
    );
  });

  test('that accepts and says nothing', async () => {
    const server = createTcpServer((socket) => void socket.on('error', () => {}).resume());
    await once(server.listen(0, '127.0.0.1'), 'listening');
    opened.push(server);
    const port = (server.address() as { port: number }).port;
    const addresses = new Map([['web2', { address: '127.0.0.1', port }]]);
    const one = await start('web1', { tls: web1, addresses, limits: { handshakeMs: 100 } });
    await expect(one.links.send('web2', Uint8Array.of(1))).rejects.toThrow(
      'no link to "web2": no answer within 100 ms',
    );
  });
});

describe('a revoked peer', () => {
  const directory = mkdtempSync(join(tmpdir(), 'manycast-test-'));
  afterAll(() => rmSync(directory, { recursive: true }));
  const file = join(directory, 'ca.crl');
  const list = (...revoked: MemberFiles[]): string =>
    revocationList({
      authority: site,
      revoked: revoked.map(({ certificate }) => ({
        ...{ serial: new X509Certificate(certificate).serialNumber.toLowerCase(), at: new Date() },
      })),
      now: new Date(),
    });

  test('is cut off, refused, and sent nothing from when the list is saved on', async () => {
    writeFileSync(file, list(web3));
    const addresses = new Map<string, PeerAddress>();
    const one = await start('web1', { tls: { ...web1, revoked: file }, addresses });
    const two = await start('web2', { tls: web2, addresses });
    await Promise.all([one.links.send('web2', pattern(1, 1)), two.links.send('web1', pattern(2, 2))]);
    await vi.waitFor(() => expect([one.frames.length, two.frames.length]).toEqual([1, 1]), waiting);
    writeFileSync(file, list(web2, web3));
    await vi.waitFor(async () => {
      await expect(one.links.send('web2', pattern(3, 3))).rejects.toThrow('its certificate is revoked');
    }, waiting);
    const heard = one.frames.length;
    // The first is taken by the kernel on the open connection, and by nobody else.
    await two.links.send('web1', pattern(4, 4)).catch(() => {});
    await vi.waitFor(
      () => expect(one.closings).toContainEqual(['web2', closing('its certificate is revoked')]),
      waiting,
    );
    await vi.waitFor(() => expect(two.closings.map(([, { direction }]) => direction)).toContain('outgoing'), waiting);
    await expect(two.links.send('web1', pattern(5, 5))).rejects.toThrow('it refuses the certificate of this replica');
    expect([one.links.refused.get('revoked'), one.frames.length]).toEqual([1, heard]);
    const none = two.frames.length;
    await expect(one.links.send('web2', pattern(6, 6))).rejects.toThrow(
      'no link to "web2": its certificate is revoked',
    );
    expect(two.frames.length).toBe(none);
  });

  const closing = (reason: string): LinkClosing => ({ direction: 'incoming', reason });

  test('stays revoked when the list is damaged or signed by another, of which one line is told', async () => {
    writeFileSync(file, list(web2));
    const problems: string[] = [];
    const revocations = watchRevocations(file, site.certificate, (line) => problems.push(line));
    opened.push(revocations);
    const serial = new X509Certificate(web2.certificate).serialNumber;
    const forged = revocationList({ authority: foreign, revoked: [], now: new Date() });
    for (const [i, [text, reason]] of [
      ['rubbish', 'it holds no revocation list'],
      [forged, 'no list in it is signed by the authority'],
      [list().replace(/\n.{8}/, '\nAAAAAAAA'), 'it is no revocation list'],
    ].entries()) {
      writeFileSync(file, text ?? '');
      await vi.waitFor(() => expect(problems).toHaveLength(i + 1), waiting);
      expect(problems[i]).toBe(`${file}: ${reason}; the last good list stays in force`);
      expect(revocations.has(serial)).toBe(true);
    }
    expect(() => watchRevocations(file, site.certificate)).toThrow(`${file}: it is no revocation list`);
    writeFileSync(file, forged + list(web3));
    await vi.waitFor(() => expect(revocations.has(serial)).toBe(false), waiting);
  });
});

describe('a peer with a good certificate', () => {
  async function welcomed(node: Node): Promise<TLSSocket> {
    const socket = byHand(node, web2);
    await once(socket, 'data');
    return socket;
  }

  test('that announces too long a frame is cut off, and what came before it is handled', async () => {
    const { one } = await pair({ limits: { frameBytesMax: 1000 } });
    const socket = await welcomed(one);
    socket.write(Buffer.concat([frame(2, Uint8Array.of(1, 2)), frame(1001)]));
    await closed(socket);
    expect(one.frames).toEqual([['web2', Uint8Array.of(1, 2)]]);
    expect(one.closings).toEqual([
      ['web2', { direction: 'incoming', reason: 'a frame of 1001 bytes, allowed are 1000' }],
    ]);
  });

  test('is heard no more once the links are closed, whatever has come already', async () => {
    let got = 0;
    const { one } = await pair({
      onFrame() {
        got++;
        void one.links.close();
      },
    });
    const socket = await welcomed(one);
    socket.write(Buffer.concat([frame(0), frame(0), frame(0)]));
    await closed(socket);
    expect(got).toBe(1);
  });

  test('that ends within a frame is told of, and the frame is not', async () => {
    const { one } = await pair();
    const socket = await welcomed(one);
    socket.end(frame(100, Uint8Array.of(1)));
    await vi.waitFor(() => expect(one.closings).toHaveLength(1), waiting);
    expect(one.closings).toEqual([['web2', { direction: 'incoming', reason: 'it ended within a frame' }]]);
    expect(one.frames).toEqual([]);
  });

  test('that stops within a frame is cut off', async () => {
    const { one } = await pair({ limits: { stallMs: 50 } });
    const socket = await welcomed(one);
    socket.write(frame(100, Uint8Array.of(1)));
    await closed(socket);
    expect(one.closings).toEqual([['web2', { direction: 'incoming', reason: 'it stopped within a frame' }]]);
    expect(one.frames).toEqual([]);
  });

  test('that connects anew takes the place of its earlier connection', async () => {
    const { one } = await pair();
    const first = await welcomed(one);
    const second = await welcomed(one);
    second.write(frame(1, Uint8Array.of(2)));
    await closed(first);
    await vi.waitFor(() => expect(one.frames).toEqual([['web2', Uint8Array.of(2)]]), waiting);
    expect(one.closings).toEqual([['web2', { direction: 'incoming', reason: 'the peer has connected anew' }]]);
  });

  test('that does not read what is sent to it is given up', async () => {
    const server = createTlsServer({ ...{ ca: web2.ca, cert: web2.certificate, key: web2.key }, requestCert: true });
    server.on('secureConnection', (socket) => {
      opened.push({ close: () => socket.destroy() });
      socket.on('error', () => {}).write(Uint8Array.of(welcome));
    });
    await once(server.listen(0, '127.0.0.1'), 'listening');
    opened.push(server);
    const port = (server.address() as { port: number }).port;
    const addresses = new Map([['web2', { address: '127.0.0.1', port }]]);
    const one = await start('web1', { tls: web1, addresses, limits: { stallMs: 200 } });
    const sending = [1, 2, 3].map(() => one.links.send('web2', new Uint8Array(20_000_000)));
    const outcomes = await Promise.allSettled(sending);
    expect(outcomes.at(-1)).toMatchObject({ reason: { message: 'no link to "web2": it took nothing for 200 ms' } });
  });
});

describe('frames', () => {
  test('are the same however they are cut', () => {
    const bytes = Buffer.concat([frame(3, Uint8Array.of(1, 2, 3)), frame(0), frame(1, Uint8Array.of(4)), frame(9)]);
    for (let size = 1; size <= bytes.length; size++) {
      const reader = frameReader(10);
      const frames: number[][] = [];
      for (let at = 0; at < bytes.length; at += size) {
        for (const each of reader.take(bytes.subarray(at, at + size))) frames.push(each.ok ? [...each.value] : []);
      }
      expect(frames).toEqual([[1, 2, 3], [], [4]]);
      expect(reader.isAmidFrame).toBe(true);
    }
  });
});
