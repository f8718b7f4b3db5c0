import { ok, type Result, refuse } from '../base/result.ts';

/** Of clusters and replicas. */
export const namePattern = /^[a-z0-9]([a-z0-9-]{0,30}[a-z0-9])?$/;
export const nameRule = 'lower-case letters, digits and "-", at most 32';

/** Who a member certificate speaks for. */
export interface Member {
  readonly cluster: string;
  readonly replica: string;
}

/** The names that a certificate carries, as node:crypto prints them. */
export interface CertificateNames {
  /** Such as "CN=web1"; several attributes are on lines of their own. */
  readonly subject: string;
  /** Such as "URI:manycast://site1/web1"; several are separated by commas. */
  readonly subjectAltName?: string | undefined;
}

export function memberUri({ cluster, replica }: Member): string {
  return `manycast://${cluster}/${replica}`;
}

export function authorityUri(cluster: string): string {
  return `manycast://${cluster}`;
}

/** With a space, which no replica's name has: a member whose subject were that of its issuer would count as self-issued (RFC 5280, 6.1). */
export function authorityCommonName(cluster: string): string {
  return `manycast ${cluster}`;
}

/**
 * The member that a certificate names: one common name and one URI, which agree, and nothing else, so that no two readers can
 * find two names. Says nothing about who signed it.
 */
export function memberOf({ subject, subjectAltName = '' }: CertificateNames): Result<Member> {
  const [, cluster = '', replica = ''] = /^URI:manycast:\/\/([a-z0-9-]+)\/([a-z0-9-]+)$/.exec(subjectAltName) ?? [];
  if (!namePattern.test(cluster) || !namePattern.test(replica)) return refuse('it is not the certificate of a member');
  if (subject !== `CN=${replica}`) return refuse('its common name is not the replica of its URI');
  return ok({ cluster, replica });
}

/** The cluster whose authority a certificate names. Says nothing about who signed it. */
export function authorityOf({ subject, subjectAltName = '' }: CertificateNames): Result<string> {
  const [, cluster = ''] = /^URI:manycast:\/\/([a-z0-9-]+)$/.exec(subjectAltName) ?? [];
  if (!namePattern.test(cluster) || subject !== `CN=${authorityCommonName(cluster)}`) {
    return refuse('it is not the certificate of an authority');
  }
  return ok(cluster);
}
