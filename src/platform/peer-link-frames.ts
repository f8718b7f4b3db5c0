import type { TLSSocket } from 'node:tls';
import { ok, type Result, refuse } from '../base/result.ts';

/**
 * One byte from the accepting side once it knows the name of the other: under TLS 1.3 the connecting side would otherwise not learn that it
 * is refused. Also the version of what follows.
 */
export const welcome = 2;

const headerBytes = 4;
/** Written as one piece: the more, the fewer calls; the fewer, the sooner a peer that does not read is noticed. */
const pieceBytes = 256 * 1024;

/** Puts frames together from chunks, however they were cut. A frame is its length as u32, then so many bytes. */
export interface FrameReader {
  /** Something of a frame has come, and not all of it. */
  readonly isAmidFrame: boolean;
  /** The frames that the chunk completes; a refusal is the last. */
  take(chunk: Uint8Array): Generator<Result<Uint8Array>>;
}

/** No frame of more than `bytesMax` is read, nor is memory taken for one. */
export function frameReader(bytesMax: number): FrameReader {
  const header = new Uint8Array(headerBytes);
  let headerFilled = 0;
  let body = new Uint8Array(0);
  let bodyFilled = 0;

  function fillHeader(chunk: Uint8Array): number {
    const part = chunk.subarray(0, headerBytes - headerFilled);
    header.set(part, headerFilled);
    headerFilled += part.length;
    return part.length;
  }

  function fillBody(chunk: Uint8Array): number {
    const part = chunk.subarray(0, body.length - bodyFilled);
    body.set(part, bodyFilled);
    bodyFilled += part.length;
    return part.length;
  }

  return {
    get isAmidFrame() {
      return headerFilled > 0;
    },
    *take(chunk) {
      let at = 0;
      while (at < chunk.length) {
        if (headerFilled < headerBytes) {
          at += fillHeader(chunk.subarray(at));
          if (headerFilled < headerBytes) return;
          const length = new DataView(header.buffer).getUint32(0);
          if (length > bytesMax) return yield refuse(`a frame of ${length} bytes, allowed are ${bytesMax}`);
          body = new Uint8Array(length);
          bodyFilled = 0;
        }
        at += fillBody(chunk.subarray(at));
        if (bodyFilled < body.length) return;
        headerFilled = 0;
        yield ok(body);
      }
    },
  };
}

/** Resolves when the kernel has taken all of the frame; rejects when the connection ends before. */
export async function writeFrame(socket: TLSSocket, bytes: Uint8Array): Promise<void> {
  const header = new Uint8Array(headerBytes);
  new DataView(header.buffer).setUint32(0, bytes.length);
  const first = bytes.subarray(0, pieceBytes);
  socket.cork();
  const headerWritten = written(socket, header);
  const firstWritten = written(socket, first);
  socket.uncork();
  await Promise.all([headerWritten, firstWritten]);
  for (let at = first.length; at < bytes.length; at += pieceBytes) {
    await written(socket, bytes.subarray(at, at + pieceBytes));
  }
}

function written(socket: TLSSocket, bytes: Uint8Array): Promise<void> {
  return new Promise((resolve, reject) => {
    socket.write(bytes, (error) => (error ? reject(error) : resolve()));
  });
}
