import { readFileSync } from 'node:fs';
import { OperatingError } from '../base/operating-error.ts';

/** Gives up root for a user of this machine, and all groups but its own. Throws an OperatingError when there is no such user. */
export function becomeUser(name: string): void {
  const fields = readFileSync('/etc/passwd', 'utf8')
    .split('\n')
    .map((line) => line.split(':'))
    .find(([user]) => user === name);
  const [uid, gid] = [Number(fields?.[2]), Number(fields?.[3])];
  if (!fields || !Number.isInteger(uid) || !Number.isInteger(gid)) {
    throw new OperatingError('registry', `--user: there is no user "${name}"`);
  }
  if (process.getuid?.() !== 0) throw new OperatingError('registry', '--user: only root can become another user');
  // In this order: each step still needs what the next gives up.
  process.setgroups?.([gid]);
  process.setgid?.(gid);
  process.setuid?.(uid);
}
