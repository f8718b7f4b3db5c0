import type { Socket } from 'node:net';

/** No question is longer: one of 512 bytes with EDNS options has room. */
const questionBytesMax = 4096;
/** Written and not read by the client. */
const waitingBytesMax = 256 * 1024;

export interface StreamOptions {
  readonly questionMs: number;
  /** Null when nothing is answered. */
  readonly answer: (question: Uint8Array) => Uint8Array | null;
}

/** Questions and answers, each behind its length as u16 (RFC 1035, section 4.2.2), until the client ends or takes too long. */
export function serveStream(socket: Socket, { questionMs, answer }: StreamOptions): void {
  let pending: Uint8Array = new Uint8Array(0);
  // From one whole question to the next: a client that sends a byte now and then holds no connection.
  const timer = setTimeout(() => socket.destroy(), questionMs);
  socket.once('close', () => clearTimeout(timer));
  // A client that breaks off is nobody to tell.
  socket.on('error', () => {});
  socket.on('data', (chunk: Uint8Array) => {
    pending = pending.length === 0 ? chunk : Buffer.concat([pending, chunk]);
    for (let length = lengthOf(pending); length !== null; length = lengthOf(pending)) {
      if (length > questionBytesMax) {
        socket.destroy();
        return;
      }
      if (pending.length < 2 + length) return;
      timer.refresh();
      const reply = answer(pending.subarray(2, 2 + length));
      pending = pending.subarray(2 + length);
      if (reply) socket.write(Buffer.concat([Uint8Array.of(reply.length >> 8, reply.length & 0xff), reply]));
      if (socket.writableLength > waitingBytesMax) socket.destroy();
      if (socket.destroyed) return;
    }
  });
}

function lengthOf(bytes: Uint8Array): number | null {
  const [high, low] = bytes;
  return high === undefined || low === undefined ? null : (high << 8) | low;
}
