import type { Logger } from 'pino';
import type { Keyring } from '../platform/keyring.ts';
import { noRevocations, watchRevocations } from '../platform/revocations.ts';
import type { Clock } from '../ports/clock.ts';
import type { ControlNetwork } from '../ports/control-network.ts';
import type { StateStore } from '../ports/state-store.ts';
import { type MemberConfig, readCertificates } from './config.ts';
import { type ControlChannel, createControlChannel } from './control-channel.ts';
import { type Introductions, startIntroductions } from './introductions.ts';
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
  const { keyring, store, network, clock } = parts;
  const signatures: Signatures | null =
    files && new Signatures({ ...parts, config, files, onRevoked: (names) => revoked(names) });
  let introductions: Introductions | null = null;
  const channel = createControlChannel(config, keyring, store, {
    signatures,
    onNewSession: (peer) => introductions?.greet(peer),
  });
  if (signatures) {
    introductions = startIntroductions({
      ...{ network, clock, introduction: channel.introduction, onRound: () => signatures.look() },
      peers: Object.keys(config.control.peers).filter((name) => name !== config.node),
    });
  }

  function revoked(names: readonly string[]): void {
    const others = names.filter((name) => name !== config.node);
    if (names.includes(config.node)) log.error(revokedHere);
    if (others.length > 0) {
      log.warn(
        `certificate revoked: ${others.join(', ')}; the keyring is known there: change it everywhere else (manycast keyring add, use, remove)`,
      );
    }
    parts.onRevoked(names);
  }

  return {
    ...channel,
    signatures: () => signatures?.status() ?? noSignatures,
    look: () => signatures?.look(),
    close: () => introductions?.stop(),
  };
}

/** The same, with the list of revoked certificates that the configuration names. Throws an OperatingError also when that is not good. */
export function openWatchedChannel(
  config: MemberConfig,
  parts: Omit<MemberChannelParts, 'now' | 'revokedSerials'>,
  log: Logger,
): MemberChannel {
  const files = readCertificates(config);
  const revocations =
    files?.revoked === undefined ? noRevocations : watchRevocations(files.revoked, files.ca, (line) => log.error(line));
  const revokedSerials = revocations.serials;
  const channel = openMemberChannel(config, { ...parts, revokedSerials, now: () => Date.now() }, log);
  return {
    ...channel,
    close(): void {
      channel.close();
      revocations.close();
    },
  };
}
