import { assert } from '../base/assert.ts';
import { decode, type Reader, Writer } from '../base/bytes.ts';
import { type Result, refuse } from '../base/result.ts';
import { nameBytesMax, nodeName, oneOf, u48 } from './field.ts';

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

/** A signature is made with an RSA key of 2,048 bits: it has 256 bytes. */
export const signatureBytes = 256;
/** Of the SHA-256 of a certificate (DER): which of the sender's it is. */
export const fingerprintBytes = 8;

/**
 * What a datagram is: an `introduction` has the sender's certificate (DER) for its body, which needs no signature besides its own; `keyring` is about the cluster's keys, and
 * signed.
 */
export type Form = 'unsigned' | 'signed' | 'introduction' | 'keyring';
const form = oneOf(['unsigned', 'signed', 'introduction', 'keyring']);

/** The member's word for a datagram, to be verified by the certificate of `fingerprint`. */
export interface Signature {
  readonly fingerprint: Uint8Array;
  /** All that is signed. */
  readonly over: Uint8Array;
  readonly bytes: Uint8Array;
}

/** The content of a datagram whose authentication code is right. */
export type Opened = Envelope & { readonly form: Form; readonly signature: Signature | null };

/** Fits every link of 1,500 bytes with room for tunnels: nothing is ever fragmented. */
export const datagramBytesMax = 1400;

const version = 2;
const clusterIdBytes = 8;
const macBytes = 32;
const headBytesMax = 1 + clusterIdBytes + 2 + nameBytesMax + 6 + 6 + 1;
const datagramBytesMin = headBytesMax - nameBytesMax + 1 + macBytes;
const trailerBytes = fingerprintBytes + signatureBytes;

/** Of a certificate (DER) that can be introduced under the longest sender name. */
export const certificateBytesMax = datagramBytesMax - headBytesMax - macBytes;
/** What is left for the body of a message under the longest sender name; the same with a signature and without. */
export const bodyBytesMax = certificateBytesMax - trailerBytes;

/** With what a sender signs. */
export interface Signing {
  readonly fingerprint: Uint8Array;
  sign(bytes: Uint8Array): Uint8Array;
}

type Sealed = Envelope & { readonly clusterId: Uint8Array };
type Hmac = (bytes: Uint8Array) => Uint8Array;

/**
 * Version u8, cluster id 8 bytes, sender text, session u48, counter u48, form u8, body; when it is signed the fingerprint of the sender's
 * certificate (8 bytes) and its signature (256 bytes) over all before it; then `hmac` (HMAC-SHA256, 32 bytes) over all before it.
 */
export function sealEnvelope(
  envelope: Sealed,
  hmac: Hmac,
  signing: Signing | null,
  signed: 'signed' | 'keyring' = 'signed',
): Uint8Array {
  assert(envelope.body.length <= bodyBytesMax, `a body has at most ${bodyBytesMax} bytes`);
  const writer = headed(envelope, signing ? signed : 'unsigned').bytes(envelope.body);
  if (!signing) return authenticated(writer, hmac);
  const over = writer.bytes(signing.fingerprint).finish();
  const signature = signing.sign(over);
  assert(signature.length === signatureBytes, `a signature has ${signatureBytes} bytes`);
  return authenticated(new Writer().bytes(over).bytes(signature), hmac);
}

/** A datagram that carries the sender's certificate, as DER. */
export function sealIntroduction(envelope: Sealed, hmac: Hmac): Uint8Array {
  assert(envelope.body.length <= certificateBytesMax, `a certificate has at most ${certificateBytesMax} bytes`);
  return authenticated(headed(envelope, 'introduction').bytes(envelope.body), hmac);
}

function headed({ clusterId, sender, session, counter }: Sealed, what: Form): Writer {
  assert(clusterId.length === clusterIdBytes, `a cluster id has ${clusterIdBytes} bytes`);
  const writer = new Writer().u8(version).bytes(clusterId);
  nodeName.write(writer, sender);
  u48.write(writer, session);
  u48.write(writer, counter);
  form.write(writer, what);
  return writer;
}

function authenticated(writer: Writer, hmac: Hmac): Uint8Array {
  const content = writer.finish();
  const mac = hmac(content);
  assert(mac.length === macBytes, `an authentication code has ${macBytes} bytes`);
  return new Writer().bytes(content).bytes(mac).finish();
}

/**
 * The content of a datagram that a holder of the cluster's key has sealed; its signature is still to be verified. Length, version and
 * cluster id are looked at first because it is cheap; nothing else is parsed before `verify` has accepted the authentication code.
 */
export function openEnvelope(
  datagram: Uint8Array,
  keys: {
    readonly clusterId: Uint8Array;
    readonly verify: (bytes: Uint8Array, mac: Uint8Array) => boolean;
  },
): Result<Opened> {
  if (datagram.length > datagramBytesMax) return refuse(`too long: at most ${datagramBytesMax} bytes`);
  if (datagram.length < datagramBytesMin) return refuse(`too short: at least ${datagramBytesMin} bytes`);
  if (datagram[0] !== version) return refuse('another version');
  if (keys.clusterId.some((byte, i) => datagram[1 + i] !== byte)) return refuse('another cluster');
  const content = datagram.subarray(0, -macBytes);
  if (!keys.verify(content, datagram.subarray(-macBytes))) return refuse('not authentic');
  return decode(content.subarray(1 + clusterIdBytes), (reader) => readAuthentic(reader, content));
}

function readAuthentic(reader: Reader, content: Uint8Array): Opened {
  const head = {
    sender: nodeName.read(reader, 'sender'),
    session: reader.u48('session'),
    counter: reader.u48('counter'),
    form: form.read(reader, 'form'),
  };
  if (head.form !== 'signed' && head.form !== 'keyring')
    return { ...head, body: reader.bytes(reader.remaining, 'body'), signature: null };
  if (reader.remaining < trailerBytes) return reader.refuse('signature: cut short');
  return {
    ...head,
    body: reader.bytes(reader.remaining - trailerBytes, 'body'),
    signature: {
      fingerprint: reader.bytes(fingerprintBytes, 'fingerprint'),
      bytes: reader.bytes(signatureBytes, 'signature'),
      over: content.subarray(0, -signatureBytes),
    },
  };
}
