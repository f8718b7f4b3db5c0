import type { KeyObject } from 'node:crypto';
import { z } from 'zod';
import { createReplayGuard } from '../control/replay.ts';
import { type Disbelief, KnownMembers } from '../identity/known-members.ts';
import type { MemberFiles } from '../platform/certificates.ts';
import {
  certificateReader,
  fingerprint,
  isSignedBy,
  type MemberSigning,
  memberSigning,
} from '../platform/member-signatures.ts';
import type { StateStore } from '../ports/state-store.ts';
import type { Opened } from '../wire/envelope.ts';
import { type MemberConfig, speakersOf } from './config.ts';
import type { SignatureStatus } from './signature-status.ts';

/** The members' certificates as they were shown to an earlier life: one that starts again within its lease hears the others at once. */
const membersRecord = 'members';
const membersSchema = z.array(z.tuple([z.string(), z.base64()]));

/** What is said in the name of a peer is told for so long. */
const latelyMs = 10_000;
const dayMs = 86_400_000;
/** The end of the own certificate is told this long before. */
const toldDays = 14;
const unknown: Disbelief = 'certificate not known';

export interface SignaturesOptions {
  readonly config: MemberConfig;
  /** As PEM. */
  readonly files: MemberFiles;
  readonly store: StateStore;
  /** Serial numbers that the authority has taken back, as node:crypto prints them. */
  readonly revokedSerials: () => ReadonlySet<string>;
  /** Who has no say any more, whenever that changes. */
  readonly onRevoked: (names: readonly string[]) => void;
  /** Unix milliseconds. */
  readonly now: () => number;
}

/** Whether what holders of the cluster's key say is signed by the member they speak for. */
export class Signatures {
  readonly signing: MemberSigning;
  readonly #options: SignaturesOptions;
  readonly #members: KnownMembers<KeyObject>;
  readonly #replay = createReplayGuard();
  /** Of peers alone, so there are few. */
  readonly #refused = new Map<string, { readonly reason: string; readonly at: number }>();
  readonly #unsigned = new Map<string, number>();
  #revoked: readonly string[] = [];

  /** Throws an OperatingError when the own key is of another kind than `manycast keys issue` makes. */
  constructor(options: SignaturesOptions) {
    const { config, files, store, revokedSerials, now } = options;
    this.#options = options;
    this.signing = memberSigning(files);
    this.#members = new KnownMembers<KeyObject>({
      ...{ cluster: config.cluster, peers: speakersOf(config), revokedSerials, now },
      read: certificateReader(files.ca),
      fingerprintOf,
    });
    remember(store, this.#members);
    this.#members.introduce(config.node, this.signing.certificate);
  }

  /** Why a message is not believed; null when it is. */
  objectionTo(opened: Opened): string | null {
    if (opened.signature === null) return this.#objectionToUnsigned(opened.sender);
    const { sender, session, counter, signature } = opened;
    // A recorded datagram, sent again and again by somebody without any key, must cost less than a signature; it says nothing about the peer.
    const stale = this.#replay.peek(sender, session, counter);
    if (stale !== null) return stale;
    const print = hexOf(signature.fingerprint);
    const key = this.#members.keyOf(sender, print);
    if (!key.ok) return this.#noted(sender, key.reason);
    if (!isSignedBy(key.value, signature.over, signature.bytes)) return this.#noted(sender, 'wrong signature');
    this.#members.used(sender, print);
    this.#replay.refusal(sender, session, counter);
    // It has shown its certificate now; anything else is worth telling, as somebody may speak for it beside it.
    if (this.#refused.get(sender)?.reason === unknown) this.#refused.delete(sender);
    this.#unsigned.delete(sender);
    return null;
  }

  /** Takes in the certificate that is shown for `sender`; why it is refused, or null. */
  introduce(sender: string, der: Uint8Array): string | null {
    const { version } = this.#members;
    const refusal = this.#members.introduce(sender, der);
    if (this.#members.version !== version) {
      this.#options.store.write(membersRecord, encoded(this.#members));
      this.look();
    }
    return refusal === null ? null : this.#noted(sender, refusal);
  }

  /** Looks again who is revoked: the list has changed, or time has passed. */
  look(): void {
    const names = this.#members.revokedNames();
    if (names.join() === this.#revoked.join()) return;
    this.#revoked = names;
    this.#options.onRevoked(names);
  }

  status(): Omit<SignatureStatus, 'rotation'> {
    const { config, now } = this.#options;
    const daysLeft = Math.floor((this.signing.notAfter - now()) / dayMs);
    const lately = (at: number): boolean => Math.abs(now() - at) < latelyMs;
    const refused = [...this.#refused].filter(([, { at }]) => lately(at));
    return {
      mode: config.control.signatures,
      unsigned: [...this.#unsigned].flatMap(([name, at]) => (lately(at) ? [name] : [])).sort(),
      refused: Object.fromEntries(refused.map(([name, { reason }]) => [name, reason])),
      revoked: this.#revoked,
      daysLeft: daysLeft <= toldDays ? Math.max(0, daysLeft) : null,
    };
  }

  #objectionToUnsigned(sender: string): string | null {
    if (this.#options.config.control.signatures === 'required') return this.#noted(sender, 'not signed');
    if (this.#revoked.includes(sender)) return this.#noted(sender, 'certificate revoked' satisfies Disbelief);
    if (this.#isPeer(sender)) this.#unsigned.set(sender, this.#options.now());
    return null;
  }

  #noted(sender: string, reason: string): string {
    if (this.#isPeer(sender)) this.#refused.set(sender, { reason, at: this.#options.now() });
    return reason;
  }

  #isPeer(name: string): boolean {
    return speakersOf(this.#options.config).includes(name);
  }
}

function fingerprintOf(der: Uint8Array): string {
  return hexOf(fingerprint(der));
}

function hexOf(bytes: Uint8Array): string {
  return Buffer.from(bytes).toString('hex');
}

function encoded(members: KnownMembers<KeyObject>): Uint8Array {
  const entries = members.all().map(({ name, der }) => [name, Buffer.from(der).toString('base64')]);
  return new TextEncoder().encode(JSON.stringify(entries));
}

/** Each is looked at as if it were shown now; what cannot be read is shown again soon. */
function remember(store: StateStore, members: KnownMembers<KeyObject>): void {
  const stored = store.read(membersRecord);
  const parsed = membersSchema.safeParse(stored && parseJson(new TextDecoder().decode(stored)));
  if (!parsed.success) return;
  for (const [name, der] of parsed.data) members.introduce(name, Buffer.from(der, 'base64'));
}

function parseJson(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    return null;
  }
}
