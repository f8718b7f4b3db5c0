import { formatIp, type IpAddress, ipBytes, parseIp } from '../base/address.ts';
import { defined } from '../base/assert.ts';
import { ok, type Result, refuse } from '../base/result.ts';
import { certificateDer, certificateFingerprint } from '../identity/certificate-bytes.ts';
import { classInternet, type DnsRecord } from '../wire/dns.ts';
import { addressData, certificateData, nameData, recordType, startData } from '../wire/dns-data.ts';
import { isWithin } from '../wire/dns-name.ts';
import { groupTextData } from './group-record.ts';
import type { ZoneFile } from './schema.ts';

/** Everything that the servers of the registry tell: zones, each with the records at and below its origin, the SOA first. */
export type Registry = readonly Zone[];

export interface Zone {
  /** Folded. */
  readonly origin: string;
  readonly records: readonly DnsRecord[];
  /** Seconds for which it may be remembered that something is not there. */
  readonly negativeTtl: number;
}

/** RFC 1912, section 2.2, for zones that change seldom and of which few have copies. */
const refreshTimes = { refresh: 3600, retry: 900, expire: 1_209_600 };

/** The zones of a checked file. Refused in one line: what no single field shows. */
export function registryOf(file: ZoneFile): Result<Registry> {
  const complaint = disagreement(file);
  if (complaint !== null) return refuse(complaint);
  const zones = [file.origin, ...file.reverse].map((origin) => ({ origin, negativeTtl: file.negativeTtl }));
  const groups = groupsOf(file);
  return ok(
    zones.map(({ origin, negativeTtl }) => {
      const names = groups.flatMap(({ name, reverse, records }) =>
        [name, reverse].filter((each) => zoneOf(file, each) === origin).map((owner) => ({ owner, records })),
      );
      const own = (name: string) => (record: Data) => ({ name, class: classInternet, ttl: file.ttl, ...record });
      const records = [
        ...apexOf(file).map(own(origin)),
        ...(origin === file.origin ? gluesOf(file).map(({ name, ...glue }) => own(name)(glue)) : []),
        ...names.flatMap(({ owner, records: ofGroup }) => ofGroup.map(own(owner))),
      ];
      return { origin, records, negativeTtl };
    }),
  );
}

/** Such as 10.0.77.239.in-addr.arpa (RFC 1035, section 3.5). */
export function reverseName(address: IpAddress): string {
  return `${[...ipBytes(address)].reverse().join('.')}.in-addr.arpa`;
}

type Data = Pick<DnsRecord, 'type' | 'data'>;

/** The records of each group, which are the same at both of its names: whichever is asked, the whole is answered (figure 4). */
function groupsOf(file: ZoneFile): { name: string; reverse: string; records: Data[] }[] {
  return Object.entries(file.groups).map(([label, group]) => {
    const name = `${label}.${file.origin}`;
    const address = addressOf(group.address);
    const certificates = authoritiesOf(group.authority);
    const text = groupTextData({
      ...{ name, address, owner: group.owner, isPublic: group.access === 'public' },
      ...{ authorities: certificates.map(certificateFingerprint), revokedSerials: new Set(group.revoked) },
    });
    const records = [
      { type: recordType.A, data: addressData(address) },
      { type: recordType.PTR, data: nameData(name) },
      { type: recordType.TXT, data: text },
      ...certificates.map((der) => ({ type: recordType.CERT, data: certificateData(der) })),
    ];
    return { name, reverse: reverseName(address), records };
  });
}

function apexOf({ nameservers, contact, serial, negativeTtl }: ZoneFile): Data[] {
  const [user = '', domain = ''] = contact.split('@');
  const server = nameservers[0]?.name ?? '';
  const start = { server, contact: `${labelText(user)}.${domain}`, serial, ...refreshTimes, minimum: negativeTtl };
  return [
    { type: recordType.SOA, data: startData(start) },
    ...nameservers.map(({ name }) => ({ type: recordType.NS, data: nameData(name) })),
  ];
}

function gluesOf({ nameservers, origin }: ZoneFile): (Data & { readonly name: string })[] {
  return nameservers.flatMap(({ name, address }) =>
    address !== undefined && isWithin(name, origin)
      ? [{ name, type: recordType.A, data: addressData(addressOf(address)) }]
      : [],
  );
}

/** As one label (RFC 1035, section 8): other characters than a label's are escaped. */
function labelText(text: string): string {
  return text.replace(/[^a-z0-9_-]/g, (each) => `\\${each.charCodeAt(0).toString().padStart(3, '0')}`);
}

function authoritiesOf(pem: string | undefined): Uint8Array[] {
  const blocks = (pem ?? '').match(/-----BEGIN CERTIFICATE-----[^-]*-----END CERTIFICATE-----/g) ?? [];
  return blocks.map(certificateDer);
}

function addressOf(text: string): IpAddress {
  const parsed = parseIp(text);
  return defined(parsed.ok ? parsed.value : null, 'a checked address');
}

/** No zone is within another. */
function zoneOf({ origin, reverse }: ZoneFile, name: string): string | undefined {
  return [origin, ...reverse].find((zone) => isWithin(name, zone));
}

function disagreement(file: ZoneFile): string | null {
  const { origin, reverse, nameservers, groups } = file;
  const owners = new Map<string, string>();
  for (const [i, { name, address }] of nameservers.entries()) {
    if (isWithin(name, origin) && address === undefined)
      return `nameservers[${i}]: ${name} is in the zone and needs an address`;
    if (Object.keys(groups).some((label) => `${label}.${origin}` === name))
      return `nameservers[${i}]: ${name} is a group too`;
  }
  const zones = [origin, ...reverse];
  const inner = zones.find((zone, i) => zones.some((other, j) => i !== j && isWithin(zone, other)));
  if (inner !== undefined) return `reverse: the zone ${inner} is within another, or named twice`;
  for (const [label, group] of Object.entries(groups)) {
    const address = addressOf(group.address);
    const other = owners.get(group.address);
    if (other !== undefined) return `groups.${label}.address: ${group.address} is that of "${other}"`;
    owners.set(group.address, label);
    if (zoneOf(file, reverseName(address)) === undefined)
      return `groups.${label}.address: no zone of \`reverse\` has ${formatIp(address)}`;
    if (group.access === 'private' && group.authority === undefined)
      return `groups.${label}.authority: missing, a private group needs one`;
    if (authoritiesOf(group.authority).some((der) => der.length === 0))
      return `groups.${label}.authority: it is no certificate`;
  }
  return null;
}
