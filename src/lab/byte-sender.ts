import type { Socket } from 'node:net';
import { patternAt } from './byte-pattern.ts';

const chunkBytes = 32_768;
const paceMs = 5;

export interface ByteSender {
  /** Bytes handed to the socket. */
  readonly sent: number;
  /** Sends no more. */
  stop(): void;
}

/** Sends the pattern of `byte-pattern.ts` from byte `from` on, as fast as the socket takes it, or `bytesPerSecond` where that is not 0. */
export function sendPattern(socket: Socket, bytesPerSecond: number, from = 0): ByteSender {
  const begin = performance.now();
  let sent = from;
  let stopped = false;
  let timer: NodeJS.Timeout | undefined;
  const due = (): number =>
    bytesPerSecond === 0
      ? Number.POSITIVE_INFINITY
      : Math.floor(((performance.now() - begin) / 1000) * bytesPerSecond) + from - sent;
  const send = (): void => {
    while (!stopped) {
      const length = Math.min(chunkBytes, due());
      if (length <= 0) {
        timer = setTimeout(send, paceMs);
        return;
      }
      sent += length;
      if (!socket.write(patternAt(sent - length, length))) {
        socket.once('drain', send);
        return;
      }
    }
  };
  send();
  return {
    get sent() {
      return sent;
    },
    stop(): void {
      stopped = true;
      clearTimeout(timer);
    },
  };
}
