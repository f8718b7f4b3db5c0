import {
  closeSync,
  fstatSync,
  mkdtempSync,
  openSync,
  readdirSync,
  readFileSync,
  readSync,
  rmSync,
  writeFileSync,
} from 'node:fs';
import { connect, createServer, type Server, type Socket } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, expect, test } from 'vitest';
import { formatIp } from '../../src/base/address.ts';
import {
  connectDescriptorChannel,
  type DescriptorChannel,
  descriptorChannel,
  duplicate,
  isEstablished,
  isInRepair,
  tcpEndsOf,
} from '../../src/platform/descriptor-passing.ts';

let directory = '';
let server: Server;
let near: DescriptorChannel;
let far: DescriptorChannel;
/** The far end, also as a socket of Node. */
let farSocket: Socket;

beforeEach(async () => {
  directory = mkdtempSync(join(tmpdir(), 'manycast-test-'));
  const path = join(directory, 'socket');
  const accepted = new Promise<Socket>((resolve) => {
    server = createServer({ pauseOnConnect: true }, resolve);
  });
  await new Promise<void>((resolve) => server.listen(path, resolve));
  near = connectDescriptorChannel(path, new Uint8Array());
  farSocket = await accepted;
  far = descriptorChannel(duplicate(descriptorOf(farSocket)));
});

afterEach(() => {
  near.close();
  far.close();
  farSocket.destroy();
  server.close();
  rmSync(directory, { recursive: true, force: true });
});

function descriptorOf(socket: Socket): number {
  return (socket as unknown as { _handle: { fd: number } })._handle.fd;
}

function openCount(): number {
  return readdirSync('/proc/self/fd').length;
}

/** A new open file of this text. */
function fileOf(text: string): number {
  const path = join(directory, text);
  writeFileSync(path, text);
  return openSync(path, 'r');
}

function firstByteOf(descriptor: number): string {
  const byte = Buffer.alloc(1);
  readSync(descriptor, byte, 0, 1, 0);
  closeSync(descriptor);
  return byte.toString();
}

async function passFile(text: string): Promise<number> {
  const file = fileOf(text);
  const passing = near.pass(file);
  closeSync(file);
  return passing;
}

test('a descriptor arrives as another name of the same open file, close-on-exec', async () => {
  const taken = far.take(await passFile('a'));
  // O_CLOEXEC of the flags of proc_pid_fdinfo(5).
  expect(
    Number.parseInt(/flags:\s*(\d+)/.exec(readFileSync(`/proc/self/fdinfo/${taken}`, 'utf8'))?.[1] ?? '', 8) &
      0o2000000,
  ).toBe(0o2000000);
  expect(firstByteOf(taken)).toBe('a');
});

test('descriptors are taken by their numbers, in any order', async () => {
  const numbers = [await passFile('a'), await passFile('b'), await passFile('c')];
  expect(new Set(numbers).size).toBe(3);
  expect([2, 0, 1].map((i) => firstByteOf(far.take(numbers[i] ?? 0)))).toEqual(['c', 'a', 'b']);
});

test('nothing is waited for: a descriptor that was not passed is an error', async () => {
  expect(() => far.take(1)).toThrow('no descriptor 1 was passed');
  const number = await passFile('a');
  expect(() => far.take(number + 1)).toThrow(`no descriptor ${number + 1} was passed`);
  expect(firstByteOf(far.take(number))).toBe('a');
});

test('who passes faster than the other side takes waits, and what it passed may be closed meanwhile', async () => {
  const passing: Promise<number>[] = [];
  let waiting = 0;
  for (let i = 0; i < 4000 && waiting < 3; i++) {
    const file = fileOf(String.fromCharCode(97 + (i % 26)));
    passing.push(near.pass(file));
    closeSync(file);
    waiting = (await Promise.race([passing.at(-1), Promise.resolve('waiting')])) === 'waiting' ? waiting + 1 : 0;
  }
  expect(waiting).toBe(3);
  for (const [i, number] of passing.entries()) {
    expect(firstByteOf(far.take(await number))).toBe(String.fromCharCode(97 + (i % 26)));
  }
});

test('a side that takes none for a second is given up', async () => {
  const file = fileOf('a');
  const before = openCount();
  let outcome: unknown = 0;
  while (typeof outcome === 'number') outcome = await near.pass(file).catch((error: Error) => error.message);
  expect(outcome).toBe('the other side took no descriptor for 1000 ms');
  closeSync(file);
  expect(openCount()).toBe(before - 1);
});

test('what was passed and not taken is closed with the channel', async () => {
  const before = openCount();
  const numbers = [await passFile('a'), await passFile('b')];
  expect(() => far.take(Math.max(...numbers) + 1)).toThrow();
  expect(openCount()).toBe(before + 2);
  far.close();
  expect(openCount()).toBe(before - 1);
  farSocket.destroy();
  expect(() => far.take(1)).toThrow('gone');
  await expect(passFile('c')).rejects.toThrow('sendmsg failed: EPIPE');
});

test('an end of the other side is an error', () => {
  near.close();
  expect(() => far.take(1)).toThrow('the other side of the descriptor channel is gone');
});

test('bytes without a descriptor are an error', async () => {
  farSocket.write('12345678');
  await new Promise<void>((resolve) => farSocket.write('', () => resolve()));
  expect(() => near.take(1)).toThrow('something else than one descriptor with its number was sent');
});

test.each(['127.0.0.1', '::1', '::ffff:127.0.0.1'])('the ends of a TCP connection to %s are told', async (host) => {
  const listening = createServer({ allowHalfOpen: true });
  const accepted = new Promise<Socket>((resolve) => listening.once('connection', resolve));
  await new Promise<void>((resolve) => listening.listen({ port: 0, host: '::' }, resolve));
  const { port } = listening.address() as { port: number };
  const client = connect(port, host);
  const socket = await accepted;
  const ends = tcpEndsOf(descriptorOf(socket));
  const address = host === '::1' ? '::1' : '127.0.0.1';
  expect(ends && { ...ends, client: formatIp(ends.client), service: formatIp(ends.service) }).toEqual({
    client: address,
    clientPort: client.localPort,
    service: address,
    servicePort: port,
  });
  expect(isEstablished(descriptorOf(socket))).toBe(true);
  expect(isInRepair(descriptorOf(socket))).toBe(false);
  client.end();
  socket.resume();
  await new Promise((resolve) => socket.once('end', resolve));
  expect(isEstablished(descriptorOf(socket))).toBe(false);
  socket.destroy();
  listening.close();
});

test('what is no TCP connection has no ends', () => {
  const file = fileOf('a');
  expect(fstatSync(file).isFile()).toBe(true);
  expect([file, descriptorOf(farSocket), -1].map(tcpEndsOf)).toEqual([null, null, null]);
  expect(isEstablished(file)).toBe(false);
  closeSync(file);
});
