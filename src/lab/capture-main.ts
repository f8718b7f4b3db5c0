import { formatIp, ipFromBytes } from '../base/address.ts';
import { captureFrames } from '../platform/frame-capture.ts';
import type { CapturedSegment } from './capture.ts';

// Runs in the switch's namespace: `capture-main SERVICE PORT…`; one line for each SYN, SYN-ACK and RST of the service that comes out of
// a port, and what was dropped as the last line when standard input ends.
const [service = '', ...ports] = process.argv.slice(2);
const ethernetTypeAt = 12;
const ipv4HeaderAt = 14;
const flagBits = { rst: 4, syn: 2, ack: 16 } as const;

/** For the kernel (classic BPF): first fragments of IPv4 that carry TCP with SYN or RST. Streams at full speed are none of this program's business. */
const openingsAndResets: Parameters<typeof captureFrames>[1] = [
  [0x28, 0, 0, ethernetTypeAt],
  [0x15, 0, 8, 0x0800],
  [0x30, 0, 0, ipv4HeaderAt + 9],
  [0x15, 0, 6, 6],
  [0x28, 0, 0, ipv4HeaderAt + 6],
  [0x45, 4, 0, 0x1fff],
  [0xb1, 0, 0, ipv4HeaderAt],
  [0x50, 0, 0, ipv4HeaderAt + 13],
  [0x45, 0, 1, flagBits.syn | flagBits.rst],
  [0x06, 0, 0, 0xffff],
  [0x06, 0, 0, 0],
];

const captures = ports.map((port) =>
  captureFrames(port, openingsAndResets, (at, frame) => {
    const segment = segmentOf(at, port, frame);
    if (segment) process.stdout.write(`${JSON.stringify(segment)}\n`);
  }),
);
process.stdout.write(`${JSON.stringify({ kind: 'started' })}\n`);
process.stdin.resume();
process.stdin.once('end', () => void end());

async function end(): Promise<void> {
  // Replicas before those that ask, as `captureAtSwitch` lists them: no answer is told whose question is not.
  const drops = captures.reduce((sum, capture) => sum + capture.drops(), 0);
  await Promise.all(captures.map((capture) => capture.close()));
  process.stdout.write(`${JSON.stringify({ kind: 'ended', drops })}\n`);
}

function segmentOf(at: number, port: string, frame: Uint8Array): CapturedSegment | null {
  const headerBytes = ((frame[ipv4HeaderAt] ?? 0) & 15) * 4;
  const tcpAt = ipv4HeaderAt + headerBytes;
  if (frame[ipv4HeaderAt + 9] !== 6 || frame.length < tcpAt + 20) return null;
  const flags = frame[tcpAt + 13] ?? 0;
  if ((flags & (flagBits.syn | flagBits.rst)) === 0) return null;
  const view = new DataView(frame.buffer, frame.byteOffset, frame.length);
  const source = formatIp(ipFromBytes(frame.slice(ipv4HeaderAt + 12, ipv4HeaderAt + 16)));
  const destination = formatIp(ipFromBytes(frame.slice(ipv4HeaderAt + 16, ipv4HeaderAt + 20)));
  const [sourcePort, destinationPort] = [view.getUint16(tcpAt), view.getUint16(tcpAt + 2)];
  if (destination === service) {
    if ((flags & flagBits.syn) === 0) return null;
    return { kind: 'syn', at, port, client: source, clientPort: sourcePort, sequence: view.getUint32(tcpAt + 4) };
  }
  if (source !== service) return null;
  const answered = { at, port, client: destination, clientPort: destinationPort };
  if (flags & flagBits.rst) return { kind: 'rst', ...answered, sequence: null };
  return { kind: 'syn-ack', ...answered, sequence: (view.getUint32(tcpAt + 8) - 1) >>> 0 };
}
