import type { Logger } from 'pino';
import { addressOf } from '../agent/config.ts';
import { readCertificates } from '../platform/certificates.ts';
import { noRevocations, type Revocations, watchRevocations } from '../platform/revocations.ts';
import type { GroupRecord } from '../router/ports.ts';
import type { RoutedService } from './config.ts';

/** Who may join the group of one service. */
export interface Access {
  /** As it is known now; null while it is not, and then nobody may join. */
  record(): GroupRecord | null;
  close(): void;
}

/** Throws an OperatingError when a file that it names is not good. */
export function openAccess({ cluster, service, access }: RoutedService, log: Logger): Access {
  const group = addressOf(service.group);
  if (access.kind === 'public') {
    const record: GroupRecord = { group, name: cluster, isPublic: true, authority: '', revokedSerials: [] };
    return { record: () => record, close() {} };
  }
  const authority = readCertificates(access.ca, 2).map(String).join('');
  const revocations: Revocations =
    access.revoked === undefined
      ? noRevocations
      : watchRevocations(access.revoked, authority, (line) => log.error(line));
  return {
    record: () => ({ group, name: cluster, isPublic: false, authority, revokedSerials: [...revocations.serials()] }),
    close: () => revocations.close(),
  };
}
