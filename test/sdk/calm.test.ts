import type { Socket } from 'node:net';
import { expect, test } from 'vitest';
import { calm, endCalm } from '../../src/sdk/calm.ts';

type Kernel = Parameters<typeof calm>[1];

/** A connection whose application reads so much before each further look, of what its client has left. */
function connection(unread: number, readsEach: number, windowMax: number) {
  const seen = { unread, narrow: 0, looks: 0 };
  const socket = { bytesRead: 0, _handle: { fd: 5 } };
  const kernel = {
    unreadBytes: () => seen.unread,
    windowMax: () => windowMax,
    narrowWindow() {
      seen.narrow++;
      const reading = setInterval(() => {
        seen.looks++;
        const read = Math.min(readsEach, seen.unread);
        seen.unread -= read;
        socket.bytesRead += read;
        if (seen.looks > 500) clearInterval(reading);
      }, 0);
      reading.unref();
      return () => {
        seen.narrow--;
      };
    },
  };
  return { seen, socket: socket as unknown as Socket, kernel: kernel as unknown as Kernel };
}

const mebibyte = 1024 * 1024;

test('a connection of which little is unread, and on which little ever came, is left alone', async () => {
  const { seen, socket, kernel } = connection(1000, 0, 65_536);
  await calm(socket, kernel);
  expect(seen).toEqual({ unread: 1000, narrow: 0, looks: 0 });
});

test('one of which much is unread is read out, and its window made narrow meanwhile', async () => {
  const { seen, socket, kernel } = connection(8 * mebibyte, mebibyte, 16 * mebibyte);
  await calm(socket, kernel);
  expect(seen).toMatchObject({ unread: 0, narrow: 1 });
  endCalm(socket);
  endCalm(socket);
  expect(seen).toMatchObject({ narrow: 0 });
});

test('one on which much came has its window made narrow although nothing is unread just now', async () => {
  const { seen, socket, kernel } = connection(0, 0, 16 * mebibyte);
  await calm(socket, kernel);
  expect(seen).toMatchObject({ unread: 0, narrow: 1 });
});

test('one whose application does not read is not waited for', async () => {
  const { seen, socket, kernel } = connection(mebibyte, 0, 16 * mebibyte);
  const begin = performance.now();
  await calm(socket, kernel);
  expect(seen).toMatchObject({ unread: mebibyte, narrow: 1 });
  // Less than an application gets that does read.
  expect(performance.now() - begin).toBeLessThan(800);
});
