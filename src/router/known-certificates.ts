import { ok, type Result, refuse } from '../base/result.ts';
import { type AuthorityCertificate, type MemberCertificate, objectionToAuthority } from '../identity/join.ts';
import type { Admission } from './ports.ts';
import { RecentMap } from './recent-map.ts';
import { type Rate, TokenBucket } from './token-bucket.ts';

/** A member's certificate of which the chain was checked. */
export interface KnownCertificate {
  readonly certificate: MemberCertificate;
  readonly authority: string;
  /** By link: what is forged there in the name of one member takes nothing from another, nor from that member elsewhere. */
  readonly budgets: Map<string, TokenBucket>;
}

/** Certificates are read and their chains checked once: that takes several times longer than the signature of a join. */
export class KnownCertificates {
  readonly #readAuthority: (pem: string) => AuthorityCertificate | null;
  readonly #authorities: RecentMap<string, AuthorityCertificate | 'unreadable'>;
  readonly #members: RecentMap<string, KnownCertificate>;
  readonly #rate: Rate;

  constructor(
    readAuthority: (pem: string) => AuthorityCertificate | null,
    bounds: { readonly authoritiesMax: number; readonly membersMax: number; readonly rate: Rate },
  ) {
    this.#readAuthority = readAuthority;
    this.#authorities = new RecentMap(bounds.authoritiesMax);
    this.#members = new RecentMap(bounds.membersMax);
    this.#rate = bounds.rate;
  }

  /** The authority of a group, if it is one, of that group, and in force. */
  authority(group: Admission, nowMs: number): Result<AuthorityCertificate> {
    let authority = this.#authorities.get(group.authority);
    if (authority === undefined) {
      authority = this.#readAuthority(group.authority) ?? 'unreadable';
      this.#authorities.set(group.authority, authority);
    }
    if (authority === 'unreadable') return refuse('the certificate of the authority cannot be read');
    const objection = objectionToAuthority(authority, { cluster: group.name, nowMs });
    return objection === null ? ok(authority) : refuse(objection);
  }

  /** Undefined unless its chain to this very authority was checked. */
  find(fingerprint: string, authority: string): KnownCertificate | undefined {
    const known = this.#members.get(fingerprint);
    return known?.authority === authority ? known : undefined;
  }

  remember(fingerprint: string, authority: string, certificate: MemberCertificate): void {
    this.#members.set(fingerprint, { certificate, authority, budgets: new Map() });
  }

  /** Whether another join that carries this certificate may be looked at on this link. */
  takes(known: KnownCertificate, link: string, nowMs: number): boolean {
    let budget = known.budgets.get(link);
    if (!budget) {
      budget = new TokenBucket(this.#rate, nowMs);
      known.budgets.set(link, budget);
    }
    return budget.take(nowMs);
  }
}
