import { timingSafeEqual } from 'node:crypto';
import { defined } from '../base/assert.ts';
import type { Result } from '../base/result.ts';
import { hmacSha256, type Keyring, sha256 } from '../platform/keyring.ts';
import type { StateStore } from '../ports/state-store.ts';
import { type Envelope, openEnvelope, sealEnvelope } from '../wire/envelope.ts';
import type { AgentConfig } from './config.ts';

const sessionRecord = 'session';

/** Seals what this agent says and opens what others say: only holders of the cluster's key are heard. */
export interface ControlChannel {
  /** Number of this life of the agent. */
  readonly session: number;
  seal(body: Uint8Array): Uint8Array;
  /** Another keyring from now on. */
  rekey(keyring: Keyring): void;
  /** Authenticates before anything inside is parsed. */
  open(datagram: Uint8Array): Result<Envelope>;
}

/**
 * Each life of an agent is a session with a number of its own, one higher than the last and on disk before the first datagram, so
 * that nothing recorded from an earlier life is taken for new. Where the disk forgot, the Unix time in seconds is higher.
 */
export function createControlChannel(config: AgentConfig, keyring: Keyring, store: StateStore): ControlChannel {
  const session = nextSession(store);
  const clusterId = clusterIdOf(config);
  let keys = keyring;
  const signing = (bytes: Uint8Array) => hmacSha256(defined(keys[0], 'the key that signs'), bytes);
  const verify = (bytes: Uint8Array, mac: Uint8Array) =>
    keys.some((key) => timingSafeEqual(hmacSha256(key, bytes), mac));
  let counter = 0;
  return {
    session,
    seal: (body) => sealEnvelope({ clusterId, sender: config.node, session, counter: counter++, body }, signing),
    rekey: (next) => {
      keys = next;
    },
    open: (datagram) => openEnvelope(datagram, { clusterId, verify }),
  };
}

/** What agents must agree on before they may hear each other. */
function clusterIdOf({ cluster, service }: AgentConfig): Uint8Array {
  const idle = service.udpIdle === undefined ? [] : [`udpIdle ${service.udpIdle}`];
  return sha256([cluster, service.name, service.address, service.partition, ...idle].join('\n')).slice(0, 8);
}

function nextSession(store: StateStore): number {
  const stored = store.read(sessionRecord);
  const last = stored ? Number(new TextDecoder().decode(stored)) : Number.NaN;
  const session = Math.max(Number.isSafeInteger(last) ? last + 1 : 0, Math.floor(Date.now() / 1000));
  store.write(sessionRecord, new TextEncoder().encode(String(session)));
  return session;
}
