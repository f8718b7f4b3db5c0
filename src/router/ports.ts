import type { IpAddress } from '../base/address.ts';
import type { AuthorityCertificate } from '../identity/join.ts';

/** What the registry says of a group. */
export interface GroupRecord {
  readonly group: IpAddress;
  /** Name of the cluster whose members may join, as their certificates carry it. */
  readonly name: string;
  /** Everybody may join. */
  readonly isPublic: boolean;
  /** The certificate of the group's authority, PEM; two while it is changed. */
  readonly authority: string;
  /** Serials of certificates that do not count any more, hexadecimal. */
  readonly revokedSerials: readonly string[];
}

/** What the checks need from outside; every answer is there at once. */
export interface JoinPorts {
  /** Of other groups nothing is judged, and nothing counted: hosts join them for reasons of their own. */
  readonly isServed: (group: IpAddress) => boolean;
  /** The registry's last proven answer about a group; null when there is none, and then nobody may join. */
  readonly groupRecord: (group: IpAddress) => GroupRecord | null;
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
