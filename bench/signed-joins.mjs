// Signed joins of members, as their agents send them, and what it costs a router to check them.
import { createPrivateKey, generateKeyPairSync, randomBytes, sign, verify, X509Certificate } from 'node:crypto';
import { parseIp } from '../dist/base/address.js';
import { authorityCertificate, memberCertificate } from '../dist/identity/certificate.js';
import { joinCryptography } from '../dist/platform/join-signatures.js';
import { JoinChecks, joinChecksDefaults } from '../dist/router/join-checks.js';
import { Memberships } from '../dist/router/memberships.js';
import { coverSlots, partitionOf } from '../dist/space/index.js';
import { encodeUnsignedJoin, withSignature } from '../dist/wire/igmp.js';
import { encodeIgmpPacket } from '../dist/wire/igmp-packet.js';

export const ip = (text) => parseIp(text).value;
export const allRouters = ip('224.0.0.22');
const group = ip('239.1.9.9');
const subnet = ip('10.77.0.0');
const partition = partitionOf(ip('0.0.0.255')).value;
/** A quarter of all clients. */
const share = coverSlots(partition, Array(64).keys());

/**
 * Joins that a router checks in a second of processor time, certificates known, and takes into account; and bare RSA verifications of the same joins in the same rounds, so that both have the same machine.
 * Each round is a router that has heard none of the joins. V8 compiles through the first two, which are left out.
 * @param {ReturnType<typeof authority>} site
 * @param {Member[]} members
 * @param {number} count joins of a round
 * @param {number} rounds
 * @returns {{ joins: number, bare: number }[]} of each round
 * @typedef {{ text: string, address: object, privateKey: string, certificate: Uint8Array }} Member
 */
export function checkedPerSecond(site, members, count, rounds) {
  const wallMs = Date.now();
  const joins = Array.from({ length: count }, (_, i) => packet(members[i % members.length], { timeMs: wallMs }));
  const key = new X509Certificate(members[0].certificate).publicKey;
  const own = joins
    .filter((_, i) => i % members.length === 0)
    .map((each) => ({ signed: unchecked(each.subarray(24)), signature: each.subarray(-256) }));
  const round = () => {
    const bare = perSecond(count, () => {
      for (let i = 0; i < count; i++) {
        const { signed, signature } = own[i % own.length];
        if (!verify('sha256', signed, key, signature)) throw new Error('a good join was refused');
      }
    });
    return { joins: perSecond(count, () => checkAll(joins, site, wallMs)), bare };
  };
  return Array.from({ length: compilingRounds + rounds }, round).slice(compilingRounds);
}

const compilingRounds = 2;

function checkAll(joins, site, wallMs) {
  const plenty = { perSecond: 1e9, burst: 1e9 };
  const checks = new JoinChecks(ports(site), { ...joinChecksDefaults, known: plenty, unknown: plenty, keysMax: 1e7 });
  const state = new Memberships({ links: [], groups: [{ address: group, partition }] }, 0);
  for (const join of joins) {
    const judgement = checks.receive(join, 'lan', { wallMs, monotonicMs: wallMs });
    if (judgement.joins?.length !== 1) throw new Error(`a good join was refused: ${JSON.stringify(judgement)}`);
    state.joined(judgement.joins[0], wallMs);
  }
}

/** An authority of a private group, which certifies members: `authority('site1').member('web1', '10.77.0.21')`. */
export function authority(cluster) {
  const lifetime = { notBefore: new Date(Date.now() - 3_600_000), notAfter: new Date(Date.now() + 3_600_000) };
  const own = keys();
  const certificate = authorityCertificate({ cluster, ...own, serial: serial(), lifetime });
  return {
    certificate,
    member(replica, text) {
      const { publicKey, privateKey } = keys();
      const member = { cluster, replica };
      const signer = { certificate, privateKey: own.privateKey };
      const pem = memberCertificate({ member, authority: signer, publicKey, serial: serial(), lifetime });
      return { text, address: ip(text), privateKey, certificate: Uint8Array.from(new X509Certificate(pem).raw) };
    },
  };
}

/** What a router knows of the group of `site`. */
export function ports(site) {
  const admission = { group, name: 'site1', isPublic: false, authority: site.certificate, revokedSerials: new Set() };
  return {
    ...joinCryptography,
    isServed: () => true,
    admission: () => admission,
    isOnLink: (_link, { value }) => value >> 8n === subnet.value >> 8n,
  };
}

/** A whole IGMP packet; `signature` for one that is forged. */
export function packet(member, { timeMs, epoch = 1, signature }) {
  const filters = { permit: share, prohibit: [] };
  const credentials = {
    requester: member.address,
    timeMs,
    randomKey: randomBytes(16),
    epoch,
    certificate: member.certificate,
  };
  const unsigned = encodeUnsignedJoin('is-exclude', group, filters, credentials).value;
  const signed = signature ?? sign('sha256', unsigned, keyOf(member));
  return encodeIgmpPacket({
    source: member.address,
    destination: allRouters,
    message: withSignature(unsigned, signed),
  });
}

function perSecond(count, work) {
  const before = process.cpuUsage();
  work();
  const { user, system } = process.cpuUsage(before);
  return (count * 1e6) / (user + system);
}

/** Read once: that takes longer than to sign. */
function keyOf(member) {
  member.key ??= createPrivateKey(member.privateKey);
  return member.key;
}

function unchecked(message) {
  const signed = Uint8Array.from(message.subarray(0, -256));
  signed.set([0, 0], 2);
  return signed;
}

function keys() {
  return generateKeyPairSync('rsa', {
    modulusLength: 2048,
    publicKeyEncoding: { type: 'spki', format: 'pem' },
    privateKeyEncoding: { type: 'pkcs8', format: 'pem' },
  });
}

function serial() {
  return Uint8Array.of(1, ...randomBytes(15));
}
