import { timingSafeEqual } from 'node:crypto';
import { defined } from '../base/assert.ts';
import { ok, type Result, refuse } from '../base/result.ts';
import { hmacSha256, type Keyring, sha256 } from '../platform/keyring.ts';
import type { MemberSigning } from '../platform/member-signatures.ts';
import type { StateStore } from '../ports/state-store.ts';
import { type Envelope, openEnvelope, sealEnvelope, sealIntroduction } from '../wire/envelope.ts';
import { type MemberConfig, speakersOf } from './config.ts';
import type { Signatures } from './signatures.ts';

const sessionRecord = 'session';

/** Seals what this agent says and opens what others say: only holders of the cluster's key are heard, and, with certificates, members. */
export interface ControlChannel {
  /** Number of this life of the agent. */
  readonly session: number;
  seal(body: Uint8Array): Uint8Array;
  /** Another keyring from now on. */
  rekey(keyring: Keyring): void;
  /** Authenticates before anything inside is parsed. Null when nothing is said to the agent: the datagram shows a certificate. */
  open(datagram: Uint8Array): Result<Envelope | null>;
}

export interface ControlChannelOptions {
  /** Null without certificates: then only the keyring says who is heard. */
  readonly signatures?: Signatures | null;
  /** A member whose signature was verified says something about the keyring. */
  readonly onKeyring?: (sender: string, body: Uint8Array) => void;
  /** A holder of the cluster's key speaks for another agent, in a life of it that was not heard before. */
  readonly onNewSession?: (sender: string) => void;
}

/** What an agent with certificates can say besides, under the key in use or another one of the cluster. */
export interface SigningChannel extends ControlChannel {
  /** A datagram that shows the own certificate. */
  introduction(key?: Uint8Array): Uint8Array;
  /** A datagram about the keyring. */
  sealKeyring(body: Uint8Array, key?: Uint8Array): Uint8Array;
}

/**
 * Each life of an agent is a session with a number of its own, one higher than the last and on disk before the first datagram, so
 * that nothing recorded from an earlier life is taken for new. Where the disk forgot, the Unix time in seconds is higher.
 */
export function createControlChannel(
  config: MemberConfig,
  keyring: Keyring,
  store: StateStore,
  { signatures = null, onNewSession = () => {}, onKeyring = () => {} }: ControlChannelOptions = {},
): SigningChannel {
  const session = nextSession(store);
  const clusterId = clusterIdOf(config);
  let keys = keyring;
  const hmacBy =
    (key = defined(keys[0], 'the key that signs')) =>
    (bytes: Uint8Array) =>
      hmacSha256(key, bytes);
  const signing = (): MemberSigning => defined(signatures, 'a certificate').signing;
  const verify = (bytes: Uint8Array, mac: Uint8Array) =>
    keys.some((key) => timingSafeEqual(hmacSha256(key, bytes), mac));
  const sessions = new Map<string, number>();
  let counter = 0;
  const enveloped = (body: Uint8Array) => ({ clusterId, sender: config.node, session, counter: counter++, body });

  function note(sender: string, itsSession: number): void {
    if (sender === config.node || sessions.get(sender) === itsSession || !isPeer(config, sender)) return;
    sessions.set(sender, itsSession);
    onNewSession(sender);
  }

  return {
    session,
    seal: (body) => sealEnvelope(enveloped(body), hmacBy(), signatures?.signing ?? null),
    introduction: (key) => sealIntroduction(enveloped(signing().certificate), hmacBy(key)),
    sealKeyring: (body, key) => sealEnvelope(enveloped(body), hmacBy(key), signing(), 'keyring'),
    rekey: (next) => {
      keys = next;
    },
    open(datagram) {
      const opened = openEnvelope(datagram, { clusterId, verify });
      if (!opened.ok) return opened;
      const { sender } = opened.value;
      note(sender, opened.value.session);
      if (opened.value.form === 'introduction') {
        const refusal = signatures?.introduce(sender, opened.value.body) ?? null;
        return refusal === null ? ok(null) : refuse(refusal);
      }
      const refusal = signatures?.objectionTo(opened.value) ?? null;
      if (refusal !== null) return refuse(refusal);
      if (opened.value.form !== 'keyring') return opened;
      if (signatures) onKeyring(sender, opened.value.body);
      return ok(null);
    },
  };
}

function isPeer(config: MemberConfig, name: string): boolean {
  return speakersOf(config).includes(name);
}

/** What agents must agree on before they may hear each other. */
function clusterIdOf({ cluster, service, delivery }: MemberConfig): Uint8Array {
  const idle = service.udpIdle === undefined ? [] : [`udpIdle ${service.udpIdle}`];
  const routed = delivery === 'segment' ? [] : [`delivery ${delivery}`];
  return sha256([cluster, service.name, service.address, service.partition, ...idle, ...routed].join('\n')).slice(0, 8);
}

function nextSession(store: StateStore): number {
  const stored = store.read(sessionRecord);
  const last = stored ? Number(new TextDecoder().decode(stored)) : Number.NaN;
  const session = Math.max(Number.isSafeInteger(last) ? last + 1 : 0, Math.floor(Date.now() / 1000));
  store.write(sessionRecord, new TextEncoder().encode(String(session)));
  return session;
}
