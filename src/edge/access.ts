import type { Logger } from 'pino';
import { addressOf, formatIp } from '../base/address.ts';
import { readAuthorityOf } from '../platform/certificates.ts';
import { type GroupLookup, type GroupStanding, groupLookup } from '../platform/group-lookup.ts';
import { noRevocations, type Revocations, watchRevocations } from '../platform/revocations.ts';
import type { Admission } from '../router/ports.ts';
import type { RoutedService, RouterConfig } from './config.ts';

/** Who may join the group of one service. */
export interface Access {
  /** As it is known now; null while it is not, and then nobody may join. */
  admission(): Admission | null;
  /** Why it is not known, or not known anew; null when all is well. */
  problem(): string | null;
  close(): void;
}

/** How often the registry is looked at; what it said last counts for as long as it says. */
const lookMs = 2000;
const none: ReadonlySet<string> = new Set();

/** Throws an OperatingError when a file that it names is not good. */
export function openAccess(config: RouterConfig, service: RoutedService, log: Logger): Access {
  const { access } = service;
  const { cluster } = service;
  const group = addressOf(service.service.group);
  switch (access.kind) {
    case 'public': {
      const admission: Admission = { group, name: cluster, isPublic: true, authority: '', revokedSerials: none };
      return { admission: () => admission, problem: () => null, close() {} };
    }
    case 'authority': {
      const authority = readAuthorityOf(access.ca, cluster).map(String).join('');
      const revocations: Revocations =
        access.revoked === undefined
          ? noRevocations
          : watchRevocations(access.revoked, authority, (line) => log.error(line));
      const known = { group, name: cluster, isPublic: false, authority };
      return {
        admission: () => ({ ...known, revokedSerials: revocations.serials() }),
        problem: () => null,
        close: () => revocations.close(),
      };
    }
    case 'registry': {
      const servers = config.registry.map(({ validating: isValidating, ...server }) => ({ ...server, isValidating }));
      const pins = new Map([[formatIp(group), access.fingerprints]]);
      return watchRegistry(groupLookup({ servers, pins }), { group, cluster }, log);
    }
  }
}

function watchRegistry(
  registry: GroupLookup,
  { group, cluster }: { readonly group: Admission['group']; readonly cluster: string },
  log: Logger,
): Access {
  let standing: GroupStanding = { kind: 'closed', problem: 'the registry has not answered yet' };
  let told: string | null = null;
  let timer: NodeJS.Timeout | null = null;
  let isOpen = true;
  const look = async (): Promise<void> => {
    standing = await registry.lookup(group);
    const { problem } = standing;
    if (problem !== told && problem !== null) log.warn(`registry: ${formatIp(group)}: ${problem}`);
    told = problem;
    if (isOpen) timer = setTimeout(look, lookMs);
  };
  void look();
  return {
    admission() {
      if (standing.kind === 'closed') return null;
      const { authorityCertificate: authority, revokedSerials } = standing.group;
      const isPublic = standing.kind === 'public';
      return { group, name: cluster, isPublic, authority, revokedSerials };
    },
    problem: () => standing.problem,
    close() {
      isOpen = false;
      if (timer) clearTimeout(timer);
    },
  };
}
