import type { Logger } from 'pino';
import type { ControlView, PeerState } from '../control/io.ts';
import { type Keyring, readKeyring } from '../platform/keyring.ts';
import { noRevocations, watchRevocations } from '../platform/revocations.ts';
import type { Clock } from '../ports/clock.ts';
import type { ControlNetwork } from '../ports/control-network.ts';
import type { StateStore } from '../ports/state-store.ts';
import { type MemberConfig, readCertificates, speakersOf } from './config.ts';
import { type ControlChannel, createControlChannel } from './control-channel.ts';
import { type Introductions, startIntroductions } from './introductions.ts';
import { KeyRotation, rotationRoundMs } from './key-rotation.ts';
import { noSignatures, revokedHere, type SignatureStatus } from './signature-status.ts';
import { Signatures } from './signatures.ts';

export interface MemberChannelParts {
  readonly keyring: Keyring;
  readonly store: StateStore;
  readonly network: ControlNetwork;
  readonly clock: Clock;
  /** Unix milliseconds. */
  readonly now: () => number;
  /** Serial numbers that the authority has taken back, hexadecimal in lower case. */
  readonly revokedSerials: () => ReadonlySet<string>;
  /** Null before there is any. */
  readonly view: () => ControlView | null;
  /** Of whom the certificate is revoked, whenever that changes. */
  readonly onRevoked: (names: readonly string[]) => void;
}

/** The control channel of an agent, signed where the configuration names certificates. */
export interface MemberChannel extends ControlChannel {
  signatures(): SignatureStatus;
  /** The list of revoked certificates has changed. */
  look(): void;
  close(): void;
}

/** Throws an OperatingError when there are certificates, and they cannot be used. */
export function openMemberChannel(config: MemberConfig, parts: MemberChannelParts, log: Logger): MemberChannel {
  const files = readCertificates(config);
  const { store, network, clock, view } = parts;
  const signatures: Signatures | null =
    files && new Signatures({ ...parts, config, files, onRevoked: (names) => revoked(names) });
  let introductions: Introductions | null = null;
  let rotation: KeyRotation | null = null;
  const path = config.control.keyring;
  const peers = speakersOf(config).filter((name) => name !== config.node);
  const channel = createControlChannel(config, parts.keyring, store, {
    signatures,
    onKeyring: (sender, body) => rotation?.hear(sender, body),
    onNewSession: (peer) => introductions?.greet(peer),
  });
  // Where unsigned messages are heard nobody is kept out by a key.
  if (signatures && config.control.signatures === 'required') {
    rotation = new KeyRotation({
      ...{ node: config.node, cluster: config.cluster, peers, path, store, clock, log },
      tellAll: tellingAll(peers, network, (body) => channel.sealKeyring(body)),
      tell: (peer, body, key) => network.unicast(peer, channel.sealKeyring(body, key)),
      introduce: (peer, key) => network.unicast(peer, channel.introduction(key)),
      reread: () => channel.rekey(readKeyring(path)),
      revoked: () => signatures.status().revoked,
      heard: () => thoseThere(config, view()),
      coordinates: () => view()?.coordinator === config.node,
    });
  }
  if (signatures) {
    introductions = startIntroductions({
      ...{ network, clock, peers, introduction: () => channel.introduction(), onRound: () => signatures.look() },
    });
  }
  const rounds = repeat(clock, () => rotation?.round());

  function revoked(names: readonly string[]): void {
    const others = names.filter((name) => name !== config.node);
    if (names.includes(config.node)) log.error(revokedHere);
    if (others.length > 0) {
      const remedy = rotation
        ? ''
        : '; the keyring is known there: change it everywhere else (manycast keyring add, use, remove)';
      log.warn(`certificate revoked: ${others.join(', ')}${remedy}`);
    }
    parts.onRevoked(names);
  }

  return {
    ...channel,
    signatures: () => (signatures ? { ...signatures.status(), rotation: rotation?.status() ?? null } : noSignatures),
    look: () => signatures?.look(),
    close() {
      introductions?.stop();
      rounds.stop();
    },
  };
}

/** To the group, and every second time to each peer by itself too: multicast may not reach it. */
function tellingAll(
  peers: readonly string[],
  network: ControlNetwork,
  seal: (body: Uint8Array) => Uint8Array,
): (body: Uint8Array) => void {
  let told = 0;
  return (body) => {
    network.multicast(seal(body));
    if (++told % 2 !== 0) return;
    const datagram = seal(body);
    for (const peer of peers) network.unicast(peer, datagram);
  };
}

/** Whether a router is there is not known, and it must have the key too. */
function thoseThere({ node, routers }: MemberConfig, view: ControlView | null): string[] {
  const peers = (view?.peers ?? []).flatMap(({ name, state }) => (isThere(state) ? [name] : []));
  return [...peers, ...Object.keys(routers).filter((name) => name !== node)];
}

function isThere(state: PeerState): boolean {
  return state === 'heard' || state === 'leaving';
}

function repeat(clock: Clock, round: () => void): { stop(): void } {
  let cancel = (): void => {};
  const next = (): void => {
    cancel = clock.wakeAt(clock.now() + rotationRoundMs, () => {
      round();
      next();
    });
  };
  next();
  return { stop: () => cancel() };
}

/** The same, with the list of revoked certificates that the configuration names. Throws an OperatingError also when that is not good. */
export function openWatchedChannel(
  config: MemberConfig,
  parts: Omit<MemberChannelParts, 'now' | 'revokedSerials'>,
  log: Logger,
): MemberChannel {
  const files = readCertificates(config);
  const revocations =
    files?.revoked === undefined
      ? noRevocations
      : watchRevocations(
          files.revoked,
          files.ca,
          (line) => log.error(line),
          () => channel.look(),
        );
  const revokedSerials = revocations.serials;
  let channel: MemberChannel;
  try {
    channel = openMemberChannel(config, { ...parts, revokedSerials, now: () => Date.now() }, log);
  } catch (error) {
    revocations.close();
    throw error;
  }
  return {
    ...channel,
    close(): void {
      channel.close();
      revocations.close();
    },
  };
}
