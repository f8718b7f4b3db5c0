import { once } from 'node:events';
import { connect, createServer, type Socket } from 'node:net';
import { afterEach, expect, test } from 'vitest';
import { holdWrites } from '../../src/sdk/held-socket.ts';
import { eventually } from './two-machines.ts';

const open: { destroy(): void }[] = [];
afterEach(() => {
  for (const each of open.splice(0)) each.destroy();
});

/** Both ends of a connection, and what the client has read. */
async function connection() {
  const server = createServer().listen(0, '127.0.0.1');
  await once(server, 'listening');
  const client = connect((server.address() as { port: number }).port, '127.0.0.1');
  const [socket] = (await once(server, 'connection')) as [Socket];
  open.push(client, socket, { destroy: () => void server.close() });
  const chunks: Buffer[] = [];
  client.on('data', (chunk: Buffer) => chunks.push(chunk)).pause();
  return { client, socket, read: () => Buffer.concat(chunks) };
}

/** More than the kernel takes for a client that does not read. */
const much = 32 * 1024 * 1024;

test('what is written during a hold that ends before the kernel has taken what came before goes out after that', async () => {
  const { client, socket, read } = await connection();
  const done: string[] = [];
  socket.write(Buffer.alloc(much, '0'), () => {
    client.pause();
    done.push('under way');
  });
  socket.write(Buffer.alloc(much, '1'), () => done.push('behind it'));
  const writes = holdWrites(socket);
  socket.write('held', () => done.push('held'));
  client.resume();
  // Node now hands over all the rest at once, the mark in its middle.
  await eventually(() => done.length > 0);
  expect(await writes.drained(20)).toBe(false);
  writes.release();
  socket.write(', and later', () => done.push('later'));
  client.resume();
  await eventually(() => read().subarray(-11).toString() === ', and later' && done.length === 4);
  expect(done).toEqual(['under way', 'behind it', 'held', 'later']);
  const expected = Buffer.concat([Buffer.alloc(much, '0'), Buffer.alloc(much, '1'), Buffer.from('held, and later')]);
  expect(read().equals(expected)).toBe(true);
});

test('writes that are held when their socket is destroyed fail, and those behind them', async () => {
  const { socket } = await connection();
  const writes = holdWrites(socket);
  expect(await writes.drained(1000)).toBe(true);
  const failed: (string | undefined)[] = [];
  const done = (error?: NodeJS.ErrnoException | null): void => void failed.push(error?.code);
  const errors: Error[] = [];
  socket.on('error', (error) => errors.push(error));
  socket.write('first', done);
  socket.write('second', done);
  socket.end('third', () => done());
  socket.destroy();
  await eventually(() => failed.length >= 2);
  writes.release();
  expect(failed.slice(0, 2)).toEqual(['ERR_STREAM_DESTROYED', 'ERR_STREAM_DESTROYED']);
  expect(errors).toEqual([]);
});

test('a socket that is ending is not held', async () => {
  const { client, socket, read } = await connection();
  const errors: Error[] = [];
  socket.on('error', (error) => errors.push(error));
  socket.end(Buffer.alloc(much));
  const writes = holdWrites(socket);
  expect(await writes.drained(1000)).toBe(false);
  writes.release();
  client.resume();
  await once(client, 'end');
  expect(read().length).toBe(much);
  expect(errors).toEqual([]);
});

test('one that ends while it is held ends once it is let go', async () => {
  const { client, socket, read } = await connection();
  const writes = holdWrites(socket);
  expect(await writes.drained(1000)).toBe(true);
  socket.end('the end');
  writes.release();
  writes.release();
  client.resume();
  await once(client, 'end');
  expect(read().toString()).toBe('the end');
});
