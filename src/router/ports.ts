import type { IpAddress } from '../base/address.ts';
import type { AuthorityCertificate } from '../identity/join.ts';

/** Who may join a group. */
export interface Admission {
  readonly group: IpAddress;
  /** Name of the cluster whose members may join, as their certificates carry it. */
  readonly name: string;
  /** Everybody may join. */
  readonly isPublic: boolean;
  /** The certificate of the group's authority, PEM; two while it is changed. */
  readonly authority: string;
  /** Serials of certificates that do not count any more, hexadecimal; another set when others are revoked. */
  readonly revokedSerials: ReadonlySet<string>;
}

/** What the checks need from outside; every answer is there at once. */
export interface JoinPorts {
  /** Of other groups nothing is judged, and nothing counted: hosts join them for reasons of their own. */
  readonly isServed: (group: IpAddress) => boolean;
  /** As it is known now: from the registry, its last proven answer. Null when it is not known, and then nobody may join. */
  readonly admission: (group: IpAddress) => Admission | null;
  /** Whether an address belongs to a link of this router: one of its subnets holds it. */
  readonly isOnLink: (link: string, address: IpAddress) => boolean;
  /** SHA-256, as text. */
  readonly fingerprint: (bytes: Uint8Array) => string;
  /** An authority from PEM, which is two certificates while it is changed, each signed by itself; null when it is none. */
  readonly readAuthority: (pem: string) => AuthorityCertificate | null;
}

/** When something came: by the clock of the day, since 1970, and by one that only goes forward. Milliseconds. */
export interface Instant {
  readonly wallMs: number;
  readonly monotonicMs: number;
}
