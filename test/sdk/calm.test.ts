import { once } from 'node:events';
import { connect, createServer, type Socket } from 'node:net';
import { setImmediate } from 'node:timers/promises';
import { afterEach, expect, test } from 'vitest';
import { calm, endCalm, isBusy, letGoOn } from '../../src/sdk/calm.ts';
import { freeze } from '../../src/sdk/leaving.ts';
import type { TransferableServer } from '../../src/sdk/transferable-server.ts';
import { eventually } from './two-machines.ts';

type Kernel = Parameters<typeof calm>[1];

const mebibyte = 1024 * 1024;
const open: { destroy(): void; readonly close?: () => void }[] = [];
afterEach(() => {
  for (const each of open.splice(0)) each.destroy();
});

/** A connection whose application reads so much before each further look, of what its client has left: unread, and of the window. */
async function connection(unread: number, readsEach: number, windowMax: number, unacknowledged = 0) {
  const server = createServer().listen(0, '127.0.0.1');
  await once(server, 'listening');
  const client = connect((server.address() as { port: number }).port, '127.0.0.1');
  const [socket] = (await once(server, 'connection')) as [Socket];
  open.push(client, socket, { destroy: () => void server.close() });
  const seen = { unread, narrow: 0, shut: 0, unacknowledged, silence: 0 };
  let bytesRead = 0;
  Object.defineProperty(socket, 'bytesRead', { get: () => bytesRead });
  const kernel: Partial<Kernel> = {
    unreadBytes() {
      const before = seen.unread;
      seen.unread = Math.max(0, before - readsEach);
      bytesRead += before - seen.unread;
      return before;
    },
    unacknowledgedBytes: () => seen.unacknowledged,
    windowMax: () => windowMax,
    windowLeft: () => (seen.unread > 0 ? mebibyte : 0),
    silenceMs: () => seen.silence,
    narrowWindow() {
      seen.narrow++;
      return () => {
        seen.narrow--;
      };
    },
    shutWindow() {
      seen.shut++;
      return () => {
        seen.shut--;
      };
    },
  };
  return { client, seen, socket, kernel: kernel as Kernel };
}

test('a connection of which little is unread, and on which little ever came, is left alone', async () => {
  const { client, seen, socket, kernel } = await connection(1000, 0, 65_536);
  await calm([socket], kernel);
  expect(seen).toMatchObject({ unread: 1000, narrow: 0, shut: 0 });
  socket.write('said at once');
  expect(String((await once(client, 'data'))[0])).toBe('said at once');
});

test('one of which much is unread is read out, its window made narrow meanwhile and then shut', async () => {
  const { seen, socket, kernel } = await connection(8 * mebibyte, mebibyte, 16 * mebibyte);
  await calm([socket], kernel);
  expect(seen).toMatchObject({ unread: 0, narrow: 1, shut: 1 });
  endCalm(socket);
  endCalm(socket);
  expect(seen).toMatchObject({ narrow: 0, shut: 0 });
});

test('busy is one whose client said something just now, or on which much comes or waits', async () => {
  const { seen, socket, kernel } = await connection(0, 0, 65_536);
  expect(isBusy(socket, kernel)).toBe(true);
  seen.silence = 1000;
  expect(isBusy(socket, kernel)).toBe(false);
  seen.unread = mebibyte;
  expect(isBusy(socket, kernel)).toBe(true);
});

test('one whose client has not used up a large window is not waited for when it is silent', async () => {
  const { seen, socket, kernel } = await connection(1, 0, 16 * mebibyte);
  const calming = calm([socket], kernel);
  seen.silence = 1000;
  await calming;
  // What it was offered it may still send.
  expect(seen).toMatchObject({ unread: 1, narrow: 1, shut: 0 });
  endCalm(socket);
  // From the first it is left alone.
  await calm([socket], kernel);
  expect(seen).toMatchObject({ narrow: 0 });
});

test('one whose application does not read is not waited for', async () => {
  const { seen, socket, kernel } = await connection(mebibyte, 0, 16 * mebibyte);
  const begin = performance.now();
  await calm([socket], kernel);
  expect(seen).toMatchObject({ unread: mebibyte, narrow: 1 });
  // Less than an application gets that does read.
  expect(performance.now() - begin).toBeLessThan(800);
});

test('what is written once a connection stands still goes out when it goes on, after what was written before', async () => {
  const { client, seen, socket, kernel } = await connection(0, 0, 65_536, mebibyte);
  const read: string[] = [];
  client.on('data', (chunk) => read.push(String(chunk)));
  socket.write('before ');
  const calming = calm([socket], kernel);
  await once(client, 'data');
  socket.write('meanwhile ');
  seen.unacknowledged = 0;
  await calming;
  expect(read.join('')).toBe('before ');
  letGoOn(socket);
  socket.end('after');
  await once(client, 'end');
  expect(read.join('')).toBe('before meanwhile after');
});

test('an application that writes whenever it may does not begin again before whoever lets it go on is done', async () => {
  const { client, seen, socket, kernel } = await connection(0, 0, 65_536, mebibyte);
  client.resume();
  let writes = 0;
  const write = (): void => {
    writes++;
    if (!socket.write(Buffer.alloc(65_536)) && writes < 50) socket.once('drain', write);
  };
  const calming = calm([socket], kernel);
  await setImmediate();
  // It stands still: this is kept back.
  write();
  seen.unacknowledged = 0;
  await calming;
  const before = writes;
  letGoOn(socket);
  expect(writes).toBe(before);
  await once(socket, 'drain');
});

test('one whose client confirms nothing goes on, its window open', async () => {
  const { client, seen, socket, kernel } = await connection(0, 0, 16 * mebibyte, 1);
  await calm([socket], kernel);
  expect(seen).toMatchObject({ narrow: 0, shut: 0 });
  socket.write('on');
  expect(String((await once(client, 'data'))[0])).toBe('on');
});

test('one that is ending, or ends meanwhile, still says all of its answer', async () => {
  const answer = 8_000_000;
  for (const endsBefore of [true, false]) {
    const { client, socket, kernel } = await connection(8 * mebibyte, mebibyte, 16 * mebibyte);
    const errors: Error[] = [];
    socket.on('error', (error) => errors.push(error));
    let received = 0;
    client.on('data', (chunk) => {
      received += chunk.length;
    });
    client.pause();
    if (endsBefore) socket.end(Buffer.alloc(answer));
    const calming = calm([socket], kernel);
    if (!endsBefore) socket.end(Buffer.alloc(answer));
    await calming;
    client.resume();
    await once(client, 'close');
    expect({ received, errors }).toEqual({ received: answer, errors: [] });
  }
});

test('one that is frozen before it is calm stands still all the same', async () => {
  const { client, seen, socket, kernel } = await connection(100 * mebibyte, mebibyte, 16 * mebibyte);
  const read: string[] = [];
  client.on('data', (chunk) => read.push(String(chunk)));
  const server = { refusalOf: () => null, exportState: () => new Uint8Array() } as unknown as TransferableServer;
  const calming = calm([socket], kernel);
  socket.write('before ');
  const leaving = await freeze(server, socket, { ...kernel, isEstablished: () => true });
  if ('code' in leaving) throw new Error(leaving.reason);
  socket.write('meanwhile ');
  await calming;
  await eventually(() => read.length > 0);
  expect(read.join('')).toBe('before ');
  // Nobody shuts its window, or opens it, while it is away.
  expect(seen).toMatchObject({ narrow: 1, shut: 0 });
  endCalm(socket);
  leaving.thaw();
  socket.end('after');
  await once(client, 'end');
  expect(read.join('')).toBe('before meanwhile after');
});
