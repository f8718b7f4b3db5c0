import { ok, type Result, refuse } from '../base/result.ts';
import type { Member } from './member-name.ts';

/** A member's certificate whose signature by the authority was verified. Times are Unix milliseconds. */
export interface MemberCertificate<Key> {
  readonly member: Member;
  /** Upper-case hexadecimal, as node:crypto prints it. */
  readonly serial: string;
  readonly notBefore: number;
  readonly notAfter: number;
  /** Verifies what the member signs. */
  readonly key: Key;
}

/** Why a certificate, or what was signed with it, is not believed; a bounded set, as each is counted. */
export type Disbelief =
  | 'certificate not known'
  | 'certificate malformed'
  | 'certificate of another authority'
  | 'certificate of another cluster'
  | 'certificate of another name'
  | 'certificate not in force yet'
  | 'certificate expired'
  | 'certificate revoked'
  | 'certificate of no peer'
  | 'too many certificates';

export interface KnownMembersConfig<Key> {
  readonly cluster: string;
  /** Only certificates of these names are kept. */
  readonly peers: readonly string[];
  /** Reads a certificate (DER) and verifies that the authority has signed it. */
  read(der: Uint8Array): Result<MemberCertificate<Key>>;
  /** Tells two certificates apart: a prefix of the SHA-256 of the DER, as text. */
  fingerprintOf(der: Uint8Array): string;
  /** Serial numbers that the authority has taken back. */
  revokedSerials(): ReadonlySet<string>;
  /** Unix milliseconds. */
  now(): number;
}

/** Certificates of one name that are kept: the one in use, and those before and after it. */
const ofNameMax = 4;
/** Certificates that are looked at in a second, each some 200 µs; more where the names of all together may have more. */
const readPerSecondMax = 64;
/** Certificates that were refused are not read again for so long, */
const refusedMs = 1000;
/** and so many at a time. */
const refusedMax = 64;

interface Entry<Key> {
  readonly fingerprint: string;
  readonly der: Uint8Array;
  readonly certificate: MemberCertificate<Key>;
}

/**
 * The members' certificates that this agent was shown, each believed for as long as it is in force and not revoked. Bounded by the names in the
 * configuration; of one name those that are used stay.
 */
export class KnownMembers<Key> {
  readonly #config: KnownMembersConfig<Key>;
  /** By name; the one used last is the last. */
  readonly #known = new Map<string, Entry<Key>[]>();
  readonly #refused = new Map<string, { readonly reason: string; readonly until: number }>();
  #version = 0;
  #read = { since: Number.NEGATIVE_INFINITY, count: 0 };

  constructor(config: KnownMembersConfig<Key>) {
    this.#config = config;
  }

  /** Grows whenever `all` changes. */
  get version(): number {
    return this.#version;
  }

  /** Somebody shows the certificate of `sender`: why it is not believed, or null. */
  introduce(sender: string, der: Uint8Array): string | null {
    const fingerprint = this.#config.fingerprintOf(der);
    const entries = this.#known.get(sender) ?? [];
    const known = entries.find((entry) => entry.fingerprint === fingerprint);
    if (known) return this.#doubt(known.certificate);
    const certificate = this.#readBounded(sender, fingerprint, der);
    if (!certificate.ok) return certificate.reason;
    // What is revoked is kept too: it names who has no say any more. No number of others pushes out the one that is used.
    const entry = { fingerprint, der, certificate: certificate.value };
    this.#known.set(sender, [...entries.slice(0, -1), entry, ...entries.slice(-1)].slice(-ofNameMax));
    this.#version++;
    return this.#doubt(certificate.value);
  }

  /** The key of that certificate of `sender`, or why it verifies nothing. */
  keyOf(sender: string, fingerprint: string): Result<Key> {
    const entries = this.#known.get(sender);
    const entry = entries?.find((each) => each.fingerprint === fingerprint);
    if (!entries || !entry) return refuse('certificate not known' satisfies Disbelief);
    const doubt = this.#doubt(entry.certificate);
    return doubt ? refuse(doubt) : ok(entry.certificate.key);
  }

  /** It has verified something: of several of one name it is the last to be forgotten. */
  used(sender: string, fingerprint: string): void {
    const entries = this.#known.get(sender);
    if (!entries || entries.at(-1)?.fingerprint === fingerprint) return;
    entries.sort((a, b) => Number(a.fingerprint === fingerprint) - Number(b.fingerprint === fingerprint));
  }

  /** Names of which a certificate is revoked, and no other is good, sorted. */
  revokedNames(): readonly string[] {
    const isRevoked = ({ certificate }: Entry<Key>): boolean => this.#doubt(certificate) === 'certificate revoked';
    const isGood = ({ certificate }: Entry<Key>): boolean => this.#doubt(certificate) === null;
    return [...this.#known]
      .filter(([, entries]) => entries.some(isRevoked) && !entries.some(isGood))
      .map(([name]) => name)
      .sort();
  }

  /** All that is known, for whoever remembers it. */
  all(): readonly { readonly name: string; readonly der: Uint8Array }[] {
    return [...this.#known].flatMap(([name, entries]) => entries.map(({ der }) => ({ name, der })));
  }

  #readBounded(sender: string, fingerprint: string, der: Uint8Array): Result<MemberCertificate<Key>> {
    const { now, read, cluster, peers } = this.#config;
    if (!peers.includes(sender)) return refuse('certificate of no peer' satisfies Disbelief);
    const at = now();
    const id = `${sender} ${fingerprint}`;
    const before = this.#refused.get(id);
    if (before && at < before.until && at >= before.until - refusedMs) return refuse(before.reason);
    if (Math.abs(at - this.#read.since) >= 1000) this.#read = { since: at, count: 0 };
    if (++this.#read.count > Math.max(readPerSecondMax, ofNameMax * peers.length))
      return refuse('too many certificates' satisfies Disbelief);
    const certificate = read(der);
    const reason = certificate.ok
      ? misnamed(certificate.value.member, { cluster, replica: sender })
      : certificate.reason;
    if (reason === null) return certificate;
    if (this.#refused.size >= refusedMax) this.#refused.clear();
    this.#refused.set(id, { reason, until: at + refusedMs });
    return refuse(reason);
  }

  #doubt({ serial, notBefore, notAfter }: MemberCertificate<Key>): Disbelief | null {
    const now = this.#config.now();
    if (this.#config.revokedSerials().has(serial.toLowerCase())) return 'certificate revoked';
    if (now > notAfter) return 'certificate expired';
    return now < notBefore ? 'certificate not in force yet' : null;
  }
}

function misnamed(named: Member, meant: Member): Disbelief | null {
  if (named.cluster !== meant.cluster) return 'certificate of another cluster';
  return named.replica === meant.replica ? null : 'certificate of another name';
}
