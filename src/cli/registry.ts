import { OperatingError } from '../base/operating-error.ts';
import { becomeUser } from '../dns/ordinary-user.ts';
import { openDnsServer } from '../dns/server.ts';
import { changeZoneFile, readZone, readZoneFile, type WrittenGroup } from '../dns/zone-file.ts';
import { authorityOf } from '../identity/member-name.ts';
import { readCertificates } from '../platform/certificates.ts';
import { readRevoked } from '../platform/revocations.ts';
import { watchFile } from '../platform/watched-file.ts';
import { type AnswerBook, answerBook } from '../registry/answer.ts';
import { zoneText } from '../registry/zone-text.ts';

interface AddOptions {
  readonly owner?: string;
  readonly ca?: string;
  readonly revoked?: string;
  readonly public?: boolean;
}

/** Answers until it is told to end; a file that is saved is taken at once, or told of when it is not good. */
export async function serve(
  path: string,
  { address, port, user }: { address: string; port: string; user?: string },
): Promise<void> {
  let book: AnswerBook = answerBook(readZoneFile(path).registry);
  const server = await openDnsServer({ address, port: portOf(port), book: () => book });
  try {
    if (user !== undefined) becomeUser(user);
    // Watched, then read, by who will have to read it later.
    const watched = watchFile(path, (text) => {
      const read = readZone(text);
      if (read.ok) book = answerBook(read.value.registry);
      process.stderr.write(
        read.ok
          ? `${path} read again: serial ${read.value.file.serial}\n`
          : `manycast: ${path}: ${read.reason}; the last good one stays in force\n`,
      );
    });
    book = answerBook(readZoneFile(path).registry);
    process.stdout.write(`answering on ${address} port ${server.port}, UDP and TCP\n`);
    await new Promise((resolve) => {
      for (const each of ['SIGTERM', 'SIGINT'] as const) process.once(each, resolve);
    });
    watched.close();
  } finally {
    await server.close();
  }
  const { answered, malformed, limited } = server.counts;
  process.stdout.write(`ended: ${answered} answered, ${malformed} malformed, ${limited} beyond the rate\n`);
}

export async function add(path: string, name: string, address: string, options: AddOptions): Promise<void> {
  const before = readZoneFile(path).file.groups[name];
  const owner = options.owner ?? before?.owner;
  if (owner === undefined) throw new OperatingError('registry', '--owner: missing, who answers for the group?');
  const group: WrittenGroup = {
    ...{ address, owner, access: options.public ? 'public' : 'private' },
    ...keysOf(options),
  };
  changeZoneFile(path, name, group);
  process.stdout.write(`${name} ${before ? 'changed' : 'added'}; a running registry serve has it at once\n`);
}

export async function list(path: string, { json }: { json?: boolean }): Promise<void> {
  const { origin, groups } = readZoneFile(path).file;
  for (const [name, { address, owner, access, revoked }] of Object.entries(groups)) {
    const line = json
      ? JSON.stringify({ name: `${name}.${origin}`, address, owner, access, revoked })
      : `${name}.${origin}  ${address}  ${access}  ${revoked.length} revoked  ${owner}`;
    process.stdout.write(`${line}\n`);
  }
}

export async function remove(path: string, name: string): Promise<void> {
  changeZoneFile(path, name, null);
  process.stdout.write(`${name} removed; who has asked before may know it for as long as \`ttl\` says\n`);
}

export async function exportZone(path: string, { zone }: { zone?: string }): Promise<void> {
  const { file, registry } = readZoneFile(path);
  const wanted = zone ?? file.origin;
  const found = registry.find(({ origin }) => origin === wanted);
  if (!found) {
    const origins = registry.map(({ origin }) => origin).join(', ');
    throw new OperatingError('registry', `${path} has no zone "${wanted}", allowed are ${origins}`);
  }
  process.stdout.write(zoneText(found));
}

function keysOf({ ca, revoked }: AddOptions): Pick<WrittenGroup, 'authority' | 'revoked'> {
  if (ca === undefined) {
    if (revoked === undefined) return {};
    throw new OperatingError('registry', '--revoked: whose list it is only --ca can tell');
  }
  const certificates = readCertificates(ca, 2);
  if (!certificates.every((certificate) => authorityOf(certificate).ok)) {
    throw new OperatingError('registry', `${ca}: it is not the certificate of an authority`);
  }
  const authority = certificates.map(String).join('');
  const serials = revoked === undefined ? [] : [...readRevoked(revoked, authority)];
  return { authority, ...(serials.length > 0 ? { revoked: serials } : {}) };
}

function portOf(text: string): number {
  const port = /^\d{1,5}$/.test(text) ? Number(text) : -1;
  if (port >= 0 && port <= 65_535) return port;
  throw new OperatingError('registry', `--port: "${text}" is not allowed, allowed are 0 to 65535`);
}
