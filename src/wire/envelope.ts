import { assert } from '../base/assert.ts';
import { decode, type Reader, Writer } from '../base/bytes.ts';
import { type Result, refuse } from '../base/result.ts';
import { nameBytesMax, nodeName, u48 } from './field.ts';

/** How a datagram of the control channel came. */
export type Via = 'multicast' | 'unicast';

/** What every datagram of the control channel carries around its body. */
export interface Envelope {
  readonly sender: string;
  /** Number of the sender's start; grows with each. */
  readonly session: number;
  /** Number of the datagram within the session; grows with each. */
  readonly counter: number;
  readonly body: Uint8Array;
}

/** Fits every link of 1,500 bytes with room for tunnels: nothing is ever fragmented. */
export const datagramBytesMax = 1400;

const version = 1;
const clusterIdBytes = 8;
const macBytes = 32;
const headBytesMax = 1 + clusterIdBytes + 2 + nameBytesMax + 6 + 6;
const datagramBytesMin = headBytesMax - nameBytesMax + 1 + macBytes;

/** What is left for the body under the longest sender name. */
export const bodyBytesMax = datagramBytesMax - headBytesMax - macBytes;

/**
 * Version u8, cluster id 8 bytes, sender text, session u48, counter u48, body, then `hmac` (HMAC-SHA256, 32 bytes) over
 * all before it.
 */
export function sealEnvelope(
  envelope: Envelope & { readonly clusterId: Uint8Array },
  hmac: (bytes: Uint8Array) => Uint8Array,
): Uint8Array {
  assert(envelope.clusterId.length === clusterIdBytes, `a cluster id has ${clusterIdBytes} bytes`);
  assert(envelope.body.length <= bodyBytesMax, `a body has at most ${bodyBytesMax} bytes`);
  const writer = new Writer().u8(version).bytes(envelope.clusterId);
  nodeName.write(writer, envelope.sender);
  u48.write(writer, envelope.session);
  u48.write(writer, envelope.counter);
  const signed = writer.bytes(envelope.body).finish();
  const mac = hmac(signed);
  assert(mac.length === macBytes, `an authentication code has ${macBytes} bytes`);
  return new Writer().bytes(signed).bytes(mac).finish();
}

/**
 * The authenticated content of a datagram. Length, version and cluster id are looked at first because it is cheap;
 * nothing else is parsed before `verify` has accepted the authentication code.
 */
export function openEnvelope(
  datagram: Uint8Array,
  keys: {
    readonly clusterId: Uint8Array;
    readonly verify: (bytes: Uint8Array, mac: Uint8Array) => boolean;
  },
): Result<Envelope> {
  if (datagram.length > datagramBytesMax) return refuse(`too long: at most ${datagramBytesMax} bytes`);
  if (datagram.length < datagramBytesMin) return refuse(`too short: at least ${datagramBytesMin} bytes`);
  if (datagram[0] !== version) return refuse('another version');
  if (keys.clusterId.some((byte, i) => datagram[1 + i] !== byte)) return refuse('another cluster');
  const signed = datagram.subarray(0, -macBytes);
  if (!keys.verify(signed, datagram.subarray(-macBytes))) return refuse('not authentic');
  return decode(signed.subarray(1 + clusterIdBytes), readAuthentic);
}

function readAuthentic(reader: Reader): Envelope {
  return {
    sender: nodeName.read(reader, 'sender'),
    session: reader.u48('session'),
    counter: reader.u48('counter'),
    body: reader.bytes(reader.remaining, 'body'),
  };
}
