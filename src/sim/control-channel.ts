import type { DriverParts } from '../agent/driver.ts';
import { ok, type Result, refuse } from '../base/result.ts';
import { type ControlMessage, decodeMessage } from '../wire/control-message.ts';
import { datagramBytesMax, type Envelope } from '../wire/envelope.ts';

/** Where what stands in a simulated datagram: version, cluster, whether the HMAC would be right, sender, session, counter; then the body. */
export const layout = { version: 0, cluster: 1, authentic: 2, sender: 3, session: 4, counter: 8, body: 12 } as const;

const version = 1;
const cluster = 7;

/** By datagram, and by body: a multicast is the same bytes for all its receivers, and what they say is found out once. */
const envelopes = new WeakMap<Uint8Array, Envelope>();
const messages = new WeakMap<Uint8Array, Result<ControlMessage>>();

/** The message of a body that nobody changes any more. */
export function decodeOnce(body: Uint8Array): Result<ControlMessage> {
  let message = messages.get(body);
  if (!message) {
    message = decodeMessage(body);
    messages.set(body, message);
  }
  return message;
}

/** Refuses what the real channel refuses, without the cost of hashing: whether a datagram is authentic stands in it. */
export function createSimulatedChannel(
  names: readonly string[],
  node: string,
  session: number,
): DriverParts['channel'] {
  const sender = names.indexOf(node);
  let counter = 0;
  return {
    session,
    seal(body) {
      const datagram = new Uint8Array(layout.body + body.length);
      datagram.set([version, cluster, 1, sender]);
      writeU32(datagram, layout.session, session);
      writeU32(datagram, layout.counter, counter++);
      datagram.set(body, layout.body);
      return datagram;
    },
    rekey() {},
    open(datagram) {
      if (datagram.length > datagramBytesMax) return refuse('too long');
      if (datagram.length < layout.body) return refuse('too short');
      if (datagram[layout.version] !== version) return refuse('another version');
      if (datagram[layout.cluster] !== cluster) return refuse('another cluster');
      const name = names[datagram[layout.sender] ?? -1];
      if (datagram[layout.authentic] !== 1 || name === undefined) return refuse('not authentic');
      let envelope = envelopes.get(datagram);
      if (!envelope) {
        envelope = {
          sender: name,
          session: readU32(datagram, layout.session),
          counter: readU32(datagram, layout.counter),
          body: datagram.subarray(layout.body),
        };
        envelopes.set(datagram, envelope);
      }
      return ok(envelope);
    },
  };
}

function writeU32(bytes: Uint8Array, at: number, value: number): void {
  for (let i = 0; i < 4; i++) bytes[at + i] = value >>> (24 - 8 * i);
}

function readU32(bytes: Uint8Array, at: number): number {
  let value = 0;
  for (let i = 0; i < 4; i++) value = value * 256 + (bytes[at + i] ?? 0);
  return value;
}
