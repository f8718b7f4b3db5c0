import { z } from 'zod';
import { isMulticast, parseIp } from '../base/address.ts';
import { namePattern, nameRule } from '../identity/member-name.ts';
import { revokedMax } from '../identity/revocation-list.ts';
import { isName } from '../wire/dns-name.ts';

const domainName = z
  .string()
  .max(150)
  .regex(/^[a-z0-9_-]+(\.[a-z0-9_-]+)*$/, 'a domain name in lower case, without a dot at its end')
  .refine((text) => isName(text), 'a domain name');

const ipv4 = z.string().refine((text) => !text.includes(':') && parseIp(text).ok, {
  error: 'an IPv4 address: IPv6 is not built yet',
  abort: true,
});

const seconds = z.number().int().min(0).max(86_400);

/** Text on one line, which fits one string of a TXT record with its key. */
const line = z
  .string()
  .min(1)
  .max(200)
  .regex(/^[^\p{Cc}]*$/u, 'text on one line')
  .refine((text) => new TextEncoder().encode(text).length <= 200, 'at most 200 bytes');

const serial = z.string().regex(/^[0-9a-f]{2,40}$/, 'a serial in hexadecimal, lower case');

const group = z
  .strictObject({
    address: ipv4
      .refine((text) => {
        const address = parseIp(text);
        return address.ok && isMulticast(address.value);
      }, 'a multicast address, 224.0.0.0 to 239.255.255.255')
      .describe('Multicast address of the group, unlike that of any other.'),
    owner: line.describe('Who answers for it, such as `Example Ltd <ops@example.org>`.'),
    access: z
      .enum(['private', 'public'])
      .default('private')
      .describe('`private`: only members of the authority may join. `public`: everybody.'),
    authority: z
      .string()
      .max(16_384)
      .regex(/^(-----BEGIN CERTIFICATE-----[^-]*-----END CERTIFICATE-----\n?){1,2}$/, 'one certificate as PEM, or two')
      .optional()
      .describe("Certificate of the group's authority as PEM; two of them while its key is changed."),
    revoked: z
      .array(serial)
      .max(revokedMax)
      .default([])
      .describe('Serials of the member certificates that are not to be believed any more, quoted.'),
  })
  .describe('One group.');

/** `zone.yaml`, field by field: check, default, documentation. */
export const zoneSchema = z.strictObject({
  origin: domainName.describe('Name of the zone; a group `web` is `web.ORIGIN`.'),
  reverse: z
    .array(domainName.regex(/^((0|[1-9]\d{0,2})\.){1,4}in-addr\.arpa$/, 'a name such as "239.in-addr.arpa"'))
    .min(1)
    .max(16)
    .default(['239.in-addr.arpa'])
    .describe('Zones of the reverse names of the addresses, such as `77.239.in-addr.arpa`; every group needs one.'),
  nameservers: z
    .array(
      z.strictObject({
        name: domainName.describe('Name of the server.'),
        address: ipv4.optional().describe('Its address, when its name is in the zone.'),
      }),
    )
    .min(1)
    .max(8)
    .describe('Servers that answer for the zones; the first is where they are changed.'),
  contact: z
    .string()
    .max(100)
    .regex(/^[a-z0-9._+-]+@[a-z0-9-]+(\.[a-z0-9-]+)*$/, 'a mail address in lower case')
    .describe('Mail address of whoever is responsible for the zones.'),
  serial: z
    .number()
    .int()
    .min(1)
    .max(0xffffffff)
    .default(1)
    .describe('Grows with every change; `manycast registry add` and `remove` see to it.'),
  ttl: seconds.default(300).describe('Seconds for which an answer may be kept.'),
  negativeTtl: seconds.default(60).describe('Seconds for which it may be kept that something is not there.'),
  groups: z
    .record(z.string().regex(namePattern, nameRule), group)
    .default({})
    .describe('Groups by name: `manycast registry add` writes them.'),
});

/** `zone.yaml` as read. */
export type ZoneFile = z.output<typeof zoneSchema>;
