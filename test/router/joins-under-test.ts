import { createSign, randomBytes } from 'node:crypto';
import { type IpAddress, addressOf as ip, ipAddress } from '../../src/base/address.ts';
import { defined } from '../../src/base/assert.ts';
import { certificateBytes, joinCryptography } from '../../src/platform/join-signatures.ts';
import type { AcceptedJoin, Judgement } from '../../src/router/join-checks.ts';
import type { Admission, Instant, JoinPorts } from '../../src/router/ports.ts';
import { coverSlots } from '../../src/space/cover.ts';
import { type Partition, partitionOf } from '../../src/space/partition.ts';
import { encodeUnsignedJoin, type RecordType, withSignature } from '../../src/wire/igmp.ts';
import type { JoinFilters } from '../../src/wire/igmp-extension.ts';
import { encodeIgmpPacket } from '../../src/wire/igmp-packet.ts';
import { type AuthorityUnderTest, authorityUnderTest } from '../identity/authority-under-test.ts';

export { ip };

export const group = ip('239.1.9.9');
export const allRouters = ip('224.0.0.22');
export const bytePartition = partition('0.0.0.255');

export function partition(mask: string): Partition {
  const made = partitionOf(ip(mask));
  return defined(made.ok ? made.value : null, mask);
}

/** What a share of these slots says. */
export function share(...slots: number[]): JoinFilters {
  return { permit: coverSlots(bytePartition, slots), prohibit: [] };
}

export function instant(wallMs: number, monotonicMs = wallMs): Instant {
  return { wallMs, monotonicMs };
}

/** The whole of 10.77.0.0/24 is on "lan", of 10.78.0.0/24 on "other". */
export function portsUnderTest(admissions: readonly Admission[]): JoinPorts {
  return {
    ...joinCryptography,
    isServed: () => true,
    admission: (address) => admissions.find((each) => each.group.value === address.value) ?? null,
    isOnLink: (link, address) => address.value >> 8n === ip(link === 'lan' ? '10.77.0.0' : '10.78.0.0').value >> 8n,
  };
}

export interface SigningMember {
  readonly certificate: Uint8Array;
  readonly privateKey: string;
  readonly address: IpAddress;
}

export interface JoinOptions {
  readonly type?: RecordType;
  readonly group?: IpAddress;
  readonly filters?: JoinFilters;
  readonly requester?: IpAddress;
  readonly source?: IpAddress;
  readonly timeMs?: number;
  readonly randomKey?: Uint8Array;
  readonly epoch?: number;
  readonly certificate?: Uint8Array;
}

/** A group "site1" with two members, and everything that can be wrong with a join. */
export class PrivateGroup {
  readonly authority: AuthorityUnderTest;
  readonly admission: Admission;
  readonly web1: SigningMember;
  readonly web2: SigningMember;

  constructor(cluster = 'site1', address = group) {
    this.authority = authorityUnderTest(cluster);
    this.admission = {
      ...{ group: address, name: cluster, isPublic: false, authority: this.authority.certificate },
      revokedSerials: new Set(),
    };
    this.web1 = this.member('web1', '10.77.0.21');
    this.web2 = this.member('web2', '10.77.0.22');
  }

  member(replica: string, address: string, options: Parameters<AuthorityUnderTest['member']>[1] = {}): SigningMember {
    const { certificate, key } = this.authority.member(replica, options);
    return { certificate: certificateBytes(certificate), privateKey: key, address: ip(address) };
  }
}

/** A whole packet. */
export function joinPacket(member: SigningMember, options: JoinOptions = {}): Uint8Array {
  const message = joinMessage(member, options);
  return encodeIgmpPacket({
    source: options.source ?? options.requester ?? member.address,
    destination: allRouters,
    message,
  });
}

export function joinMessage(member: SigningMember, options: JoinOptions = {}): Uint8Array {
  const { type = 'to-exclude', filters = share(1, 2, 3), requester = member.address, timeMs = 0, epoch = 1 } = options;
  const { randomKey = randomBytes(16), certificate = member.certificate } = options;
  const credentials = { requester, timeMs, randomKey, epoch, certificate };
  const unsigned = encodeUnsignedJoin(type, options.group ?? group, filters, credentials);
  if (!unsigned.ok) throw new Error(unsigned.reason);
  return withSignature(unsigned.value, createSign('sha256').update(unsigned.value).sign(member.privateKey));
}

/** The reason, or the join that counts. */
export function outcome(judgement: Judgement): string | AcceptedJoin {
  if (judgement.kind === 'query') return 'query';
  return judgement.refusals[0]?.reason ?? judgement.joins[0] ?? 'nothing';
}

export function accepted(judgement: Judgement): AcceptedJoin {
  const result = outcome(judgement);
  if (typeof result === 'string') throw new Error(result);
  return result;
}

export function address(last: number): IpAddress {
  return ipAddress(4, ip('10.77.0.0').value + BigInt(last));
}
