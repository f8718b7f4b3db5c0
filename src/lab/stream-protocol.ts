// How a stream begins and ends; between, both sides send the pattern of `byte-pattern.ts`. The client begins with a rate; the server with its name. When the
// client has ended its side, the server stops where it is and tells its counts.

/** Not one of a service that a machine may have already. */
export const streamPort = 5001;

export const rateBytes = 4;
export const greetingBytes = 32;
export const trailerBytes = 24;

/** What a server has seen of a stream, in bytes. */
export interface StreamCounts {
  readonly sent: number;
  readonly received: number;
  readonly wrong: number;
}

/** Bytes per second each way; 0 for as fast as it goes. */
export function rateHeader(bytesPerSecond: number): Buffer {
  const header = Buffer.alloc(rateBytes);
  header.writeUInt32BE(bytesPerSecond);
  return header;
}

export function rateOf(header: Buffer): number {
  return header.readUInt32BE(0);
}

export function greetingOf(node: string): Buffer {
  const greeting = Buffer.alloc(greetingBytes);
  greeting.write(node, 'latin1');
  return greeting;
}

export function nodeOf(greeting: Buffer): string {
  return greeting.toString('latin1').replaceAll('\0', '');
}

export function trailerOf({ sent, received, wrong }: StreamCounts): Buffer {
  const trailer = Buffer.alloc(trailerBytes);
  for (const [i, count] of [sent, received, wrong].entries()) trailer.writeBigUInt64BE(BigInt(count), i * 8);
  return trailer;
}

export function countsOf(trailer: Buffer): StreamCounts {
  const [sent, received, wrong] = [0, 8, 16].map((at) => Number(trailer.readBigUInt64BE(at)));
  return { sent: sent ?? 0, received: received ?? 0, wrong: wrong ?? 0 };
}
