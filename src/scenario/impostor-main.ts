import { randomBytes } from 'node:crypto';
import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join as joinPaths } from 'node:path';
import { createInterface } from 'node:readline';
import { setTimeout as delay } from 'node:timers/promises';
import { addressOf, type IpAddress } from '../base/address.ts';
import { assert, defined } from '../base/assert.ts';
import type { Result } from '../base/result.ts';
import { signedJoin } from '../identity/join.ts';
import { issueMember, makeAuthority, readAuthority, unlockAuthority } from '../platform/certificates.ts';
import { openIgmpSocket } from '../platform/igmp-socket.ts';
import { certificateBytes, joinSigner } from '../platform/join-signatures.ts';
import { decodeIgmp, encodeQuery, encodeReport } from '../wire/igmp.ts';
import { randomKeyBytes } from '../wire/igmp-extension.ts';
import {
  allHosts,
  allRouters,
  decodeIgmpPacket,
  encodeIgmpPacket,
  internetChecksum,
  writeChecksum,
} from '../wire/igmp-packet.ts';
import type { ImpostorTask, ImpostorWish } from './impostor.ts';

// Runs on a machine of the lab, and hears the joins of its link. One line in is a wish; when what it wants is on the wire, one line out says how many joins those were.
const task = JSON.parse(process.argv[2] ?? '') as ImpostorTask;
const group = addressOf(task.group);
const own = addressOf(task.own);
const zero = addressOf('0.0.0.0');
const everything = { permit: [{ value: zero, mask: zero }], prohibit: [] };
const checksumAt = 2;
const heardMax = 1024;
const hearMsMax = 5000;
const pollMs = 20;
/** What the kernel has taken is on the wire by then, and what was heard here the router has judged. */
const settleMs = 200;
/** Above that of every join of the lab. */
const epochAhead = 2 ** 40;

/** Signed joins as they were on the wire, oldest first. */
const heard: { readonly source: bigint; readonly packet: Uint8Array }[] = [];
const socket = openIgmpSocket('eth0', { listen: [allRouters] }, { onPacket: hear, onFailure: fail });
process.stdout.write('listening\n');
const wishes = createInterface({ input: process.stdin });
for await (const line of wishes) {
  const packets = await packetsOf(JSON.parse(line) as ImpostorWish);
  for (const packet of packets) socket.send(packet);
  await delay(settleMs);
  process.stdout.write(`${packets.length}\n`);
}
await socket.close();

function hear(packet: Uint8Array): void {
  const outer = decodeIgmpPacket(packet);
  const inner = outer.ok ? decodeIgmp(outer.value.message) : outer;
  if (!outer.ok || !inner.ok || inner.value.kind !== 'report' || !inner.value.extension?.authentication) return;
  heard.push({ source: outer.value.source.value, packet });
  if (heard.length > heardMax) heard.shift();
}

function fail(error: unknown): void {
  throw error;
}

async function packetsOf({ join, as }: ImpostorWish): Promise<Uint8Array[]> {
  const victim = addressOf(defined(task.members[as], 'a replica of the lab').address);
  switch (join) {
    case 'unsigned':
      return [packetFrom(own, encodeReport('to-exclude', group, everything))];
    case 'stale':
      return [await signed(as, victim, Date.now() - 60_000)];
    case 'copied':
      await newestOf(victim);
      return heard.map(({ packet }) => packet);
    case 'changed':
      return [changed(await newestOf(victim))];
    case 'other-link':
      return [await signed(as, victim, Date.now())];
    case 'other-cluster':
      return [await signedElsewhere(as)];
    case 'signed':
      return [await signed(as, own, Date.now())];
  }
}

/** Anybody may ask, and is answered. */
async function newestOf(victim: IpAddress): Promise<Uint8Array> {
  const query = { group, maxResponseMs: 100, suppress: false, robustness: 2, intervalMs: 125_000, sources: [] };
  const last = heard.at(-1);
  socket.send(encodeIgmpPacket({ source: own, destination: allHosts, message: encodeQuery(query) }));
  for (let waited = 0; waited < hearMsMax; waited += pollMs) {
    const newest = (last ? heard.slice(heard.indexOf(last) + 1) : heard).findLast(
      ({ source }) => source === victim.value,
    );
    await delay(newest ? settleMs : pollMs);
    if (newest) return newest.packet;
  }
  throw new Error(`no join to ${task.group} was heard`);
}

/** One bit of its random key is another, and its checksum is right. */
function changed(packet: Uint8Array): Uint8Array {
  const outer = decodeIgmpPacket(packet);
  const inner = outer.ok ? decodeIgmp(outer.value.message) : outer;
  assert(outer.ok && inner.ok && inner.value.kind === 'report', 'what was heard is a join');
  const { randomKey } = defined(inner.value.extension?.authentication, 'it is signed');
  const copy = Uint8Array.from(outer.value.message);
  const at = Buffer.from(copy).indexOf(Buffer.from(randomKey));
  copy[at] = (copy[at] ?? 0) ^ 1;
  writeChecksum(copy, checksumAt, 0);
  writeChecksum(copy, checksumAt, internetChecksum(copy));
  return encodeIgmpPacket({ source: outer.value.source, destination: allRouters, message: copy });
}

function signed(as: string, requester: IpAddress, timeMs: number): Promise<Uint8Array> {
  const { certificate, key } = defined(task.members[as], 'a replica of the lab');
  return signedWith(
    { certificate: readFileSync(certificate, 'utf8'), key: readFileSync(key, 'utf8') },
    requester,
    timeMs,
  );
}

async function signedElsewhere(as: string): Promise<Uint8Array> {
  const directory = mkdtempSync(joinPaths(tmpdir(), 'manycast-impostor-'));
  try {
    const passphrase = randomBytes(16).toString('hex');
    await makeAuthority(directory, 'elsewhere', passphrase);
    const authority = readAuthority(directory);
    await issueMember(authority, unlockAuthority(authority, passphrase), { replica: as, days: 1, out: directory });
    const read = (file: string): string => readFileSync(joinPaths(directory, file), 'utf8');
    return await signedWith({ certificate: read(`${as}.crt`), key: read(`${as}.key`) }, own, Date.now());
  } finally {
    rmSync(directory, { recursive: true });
  }
}

async function signedWith(
  { certificate, key }: { readonly certificate: string; readonly key: string },
  requester: IpAddress,
  timeMs: number,
): Promise<Uint8Array> {
  const credentials = {
    ...{ requester, timeMs, randomKey: Uint8Array.from(randomBytes(randomKeyBytes)), epoch: epochAhead },
    certificate: certificateBytes(certificate),
  };
  const join = { type: 'to-exclude', group, filters: everything } as const;
  return packetFrom(requester, await signedJoin(join, credentials, joinSigner(key)));
}

function packetFrom(source: IpAddress, message: Result<Uint8Array>): Uint8Array {
  return encodeIgmpPacket({
    ...{ source, destination: allRouters },
    message: defined(message.ok ? message.value : null, 'a join that fits'),
  });
}
