import { type IpAddress, ipBytes, ipFromBytes, isMulticast } from '../base/address.ts';
import { assert } from '../base/assert.ts';
import { decode, type Reader, Writer } from '../base/bytes.ts';
import { type Result, refuse } from '../base/result.ts';
import { checked, type Field, flag, record, u16, u32, type ValueOf } from '../wire/field.ts';

/** Most bytes of one queue of an image. Buffers grow to 4 MiB (tcp_wmem) and 6 MiB (tcp_rmem; 32 MiB since Linux 6.16) unless told otherwise. */
export const queueBytesMax = 8 * 1024 * 1024;

/** Fields, two queues, and what describes them. */
export const imageBytesMax = 2 * queueBytesMax + 256;

const version = 1;
/** RFC 7323, section 2.3. */
const scaleMax = 14;
/** The kernel's least MSS of what it sends (TCP_MIN_SND_MSS). */
const mssMin = 48;

/** 4 or 6, then the address in network byte order. */
const address: Field<IpAddress> = {
  read(reader: Reader, name: string): IpAddress {
    const family = reader.u8(name);
    if (family !== 4 && family !== 6) return reader.refuse(`${name}: family ${family}`);
    const value = ipFromBytes(reader.bytes(family === 4 ? 4 : 16, name));
    const names = value.value !== 0n && !isMulticast(value);
    return names ? value : reader.refuse(`${name}: not the address of one host`);
  },
  write: (writer, value) => writer.u8(value.family).bytes(ipBytes(value)),
};

const port = checked(u16, (value) => (value === 0 ? 'not a port' : null));

const scale: Field<number> = {
  read(reader: Reader, name: string): number {
    const value = reader.u8(name);
    return value > scaleMax ? reader.refuse(`${name}: ${value}, at most ${scaleMax}`) : value;
  },
  write: (writer, value) => writer.u8(value),
};

const timestamp: Field<number | null> = {
  read: (reader, name) => (flag.read(reader, name) ? u32.read(reader, name) : null),
  write(writer: Writer, value: number | null): void {
    flag.write(writer, value !== null);
    if (value !== null) u32.write(writer, value);
  },
};

/** Bytes behind a 32-bit length. */
const queue: Field<Uint8Array> = {
  read(reader: Reader, name: string): Uint8Array {
    const length = reader.u32(name);
    return length > queueBytesMax
      ? reader.refuse(`${name}: ${length} bytes, at most ${queueBytesMax}`)
      : reader.bytes(length, name);
  },
  write(writer: Writer, value: Uint8Array): void {
    assert(value.length <= queueBytesMax, `a queue has at most ${queueBytesMax} bytes`);
    writer.u32(value.length).bytes(value);
  },
};

const image = record({
  local: address,
  localPort: port,
  remote: address,
  remotePort: port,
  /** Of the first byte of `sendQueue`, or of the next byte to be written when it is empty. */
  sendSequence: u32,
  /** Bytes that the peer has not acknowledged. */
  sendQueue: queue,
  /** How many bytes at the end of `sendQueue` were never sent. */
  unsentBytes: u32,
  /** Of the first byte of `receiveQueue`, or of the next byte to arrive when it is empty. */
  receiveSequence: u32,
  /** Bytes acknowledged to the peer and not yet read by the application. */
  receiveQueue: queue,
  /** What the peer said it takes, without options (RFC 9293, section 3.7.1). */
  mss: checked(u16, (value) => (value < mssMin ? `${value}, at least ${mssMin}` : null)),
  /** Shift of the windows the peer announces; 0 also without the option (RFC 7323, section 2). */
  sendScale: scale,
  /** Shift of the windows announced to the peer. */
  receiveScale: scale,
  /** Whether both ends agreed on selective acknowledgements (RFC 2018). */
  selectiveAcks: flag,
  /** The next timestamp to be sent, as TCP_TIMESTAMP tells it; null without the option. */
  timestamp,
  /** Those of struct tcp_repair_window, in bytes and sequence numbers. */
  window: record({
    /** snd_wl1: the segment that announced `send`. */
    sendUpdate: u32,
    /** snd_wnd, from the first byte of `sendQueue` on. */
    send: u32,
    /** max_window: the largest `send` so far. */
    sendMax: u32,
    /** rcv_wnd, from `receiveUpdate` on. */
    receive: u32,
    /** rcv_wup: what was acknowledged when `receive` was announced. */
    receiveUpdate: u32,
  }),
});

/** A live TCP connection in state ESTABLISHED as one end's kernel holds it. Sequence numbers wrap at 2^32. */
export type SocketImage = ValueOf<typeof image>;

/** Version u8, then the fields in the order above. */
export function encodeSocketImage(value: SocketImage): Uint8Array {
  const complaint = inconsistency(value);
  assert(complaint === null, complaint ?? '');
  const writer = new Writer().u8(version);
  image.write(writer, value);
  return writer.finish();
}

/** What it accepts has the limits the kernel demands of an import. */
export function decodeSocketImage(bytes: Uint8Array): Result<SocketImage> {
  if (bytes.length > imageBytesMax) return refuse(`${bytes.length} bytes, at most ${imageBytesMax}`);
  return decode(bytes, (reader) => {
    if (reader.u8('version') !== version) reader.refuse('version: another one');
    const value = image.read(reader, 'image');
    const complaint = inconsistency(value);
    return complaint === null ? value : reader.refuse(complaint);
  });
}

/** The next byte that the peer is to send. */
export function nextReceived({ receiveSequence, receiveQueue }: SocketImage): number {
  return (receiveSequence + receiveQueue.length) >>> 0;
}

/** The same comparisons as the kernel's tcp_repair_set_window(), and those of this record. */
function inconsistency(value: SocketImage): string | null {
  const { window } = value;
  if (value.local.family !== value.remote.family) return 'local and remote: of two families';
  if (value.unsentBytes > value.sendQueue.length) return 'unsentBytes: more than the send queue';
  if (window.sendMax < window.send) return 'window: send exceeds sendMax';
  if (isAfter(window.sendUpdate, nextReceived(value) + window.receive)) return 'window: sendUpdate has not arrived';
  if (isAfter(window.receiveUpdate, nextReceived(value))) return 'window: receiveUpdate has not arrived';
  return null;
}

/** RFC 9293, section 3.4: sequence numbers are compared on a circle. */
function isAfter(a: number, b: number): boolean {
  return ((b - a) | 0) < 0;
}
