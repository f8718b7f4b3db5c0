import { existsSync, readdirSync } from 'node:fs';
import { delimiter, join } from 'node:path';

/** Debian keeps the servers of each release of PostgreSQL in a folder of its own, which is in nobody's PATH. */
const postgresqlReleases = '/usr/lib/postgresql';

/** Where programs of a lab are looked for: also those that are not for every user's PATH. The newest PostgreSQL comes first. */
export function programFolders(): string[] {
  const releases = existsSync(postgresqlReleases) ? readdirSync(postgresqlReleases) : [];
  const newestFirst = releases.sort((a, b) => Number.parseFloat(b) - Number.parseFloat(a));
  const usual = (process.env.PATH ?? '').split(delimiter).filter(Boolean);
  return [...usual, '/usr/sbin', '/sbin', ...newestFirst.map((release) => join(postgresqlReleases, release, 'bin'))];
}
