import { verify, X509Certificate } from 'node:crypto';
import { OperatingError } from '../base/operating-error.ts';
import { ok, type Result, refuse } from '../base/result.ts';
import { readRevocationList } from '../identity/revocation-list.ts';
import { contentOf, watchFile } from './watched-file.ts';

/** The certificates that are not believed any more, as a file says that may change. */
export interface Revocations {
  /** By serial, in hexadecimal of either case. */
  has(serial: string): boolean;
  /** All of them, in lower case. */
  serials(): ReadonlySet<string>;
  close(): void;
}

export const noRevocations: Revocations = { has: () => false, serials: () => new Set(), close() {} };

/**
 * Follows a file of revocation lists. A saved list counts at once; one that is damaged, or signed by nobody known, is told of and changes
 * nothing, for the last good one revokes no less. Throws an OperatingError when the file is not good to begin with.
 */
export function watchRevocations(
  path: string,
  authorities: string,
  onProblem: (line: string) => void = () => {},
  onChange: () => void = () => {},
): Revocations {
  // Watched before it is read: what is saved in between is seen.
  let serials: ReadonlySet<string> = new Set();
  const watched = watchFile(path, (text) => {
    const read = serialsIn(text, authorities);
    if (!read.ok) return onProblem(`${path}: ${read.reason}; the last good list stays in force`);
    serials = read.value;
    onChange();
  });
  try {
    serials = readRevoked(path, authorities);
  } catch (error) {
    watched.close();
    throw error;
  }
  return {
    has: (serial) => serials.has(serial.toLowerCase()),
    serials: () => serials,
    close: () => watched.close(),
  };
}

/** Serials in a file, of lists that one of `authorities` (PEM) has signed; lower case. Throws an OperatingError when there is no such list. */
export function readRevoked(path: string, authorities: string): ReadonlySet<string> {
  const text = contentOf(path);
  const read = text === null ? refuse<ReadonlySet<string>>('no such file') : serialsIn(text, authorities);
  if (read.ok) return read.value;
  throw new OperatingError('certificates', `${path}: ${read.reason}`, {
    remedy: 'copy ca.crl from the directory of the authority',
  });
}

/** A list of an authority that is not known yet, or no more, counts for nothing: while the authority changes the file holds two. */
function serialsIn(text: string, authorities: string): Result<ReadonlySet<string>> {
  const keys = certificatesIn(authorities).map((pem) => new X509Certificate(pem).publicKey);
  const lists = text.match(/-----BEGIN X509 CRL-----[^-]*-----END X509 CRL-----/g) ?? [];
  if (lists.length === 0) return refuse('it holds no revocation list');
  const serials = new Set<string>();
  let isOfAuthority = false;
  for (const pem of lists) {
    const list = readRevocationList(pem);
    if (!list.ok) return list;
    const { signed, signature } = list.value;
    if (!keys.some((key) => verify('sha256', signed, key, signature))) continue;
    isOfAuthority = true;
    for (const serial of list.value.serials) serials.add(serial);
  }
  return isOfAuthority ? ok(serials) : refuse('no list in it is signed by the authority');
}

/** The one of `authorities` that has signed a certificate. */
export function issuerOf(
  certificate: X509Certificate,
  authorities: readonly X509Certificate[],
): X509Certificate | undefined {
  return authorities.find((each) => certificate.checkIssued(each) && certificate.verify(each.publicKey));
}

/** Each certificate of a PEM text, as PEM. */
export function certificatesIn(text: string): string[] {
  return text.match(/-----BEGIN CERTIFICATE-----[^-]*-----END CERTIFICATE-----\n?/g) ?? [];
}
