import { createHash, randomBytes } from 'node:crypto';
import { readFileSync, readlinkSync } from 'node:fs';

/** A number below 2^48 for this life of the machine, or of the network namespace: what was in its kernel is gone in the next. */
export function bootNumber(): number {
  const boot = readFileSync('/proc/sys/kernel/random/boot_id', 'utf8').trim();
  const digest = createHash('sha256')
    .update(`${boot} ${readlinkSync('/proc/self/ns/net')}`)
    .digest();
  return digest.readUIntBE(0, 6);
}

/** A number below 2^48 that nobody has had before. */
export function randomIncarnation(): number {
  return randomBytes(6).readUIntBE(0, 6);
}
