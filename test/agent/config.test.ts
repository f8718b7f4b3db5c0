import { X509Certificate } from 'node:crypto';
import { chmodSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, describe, expect, test } from 'vitest';
import { healthChecksOf, readAgentConfig, readCertificates, serviceOf } from '../../src/agent/config.ts';
import { revocationList } from '../../src/identity/revocation-list.ts';
import type { MemberFiles } from '../../src/platform/certificates.ts';
import { authorityUnderTest, keys, lifetime } from '../identity/authority-under-test.ts';

const directory = mkdtempSync(join(tmpdir(), 'manycast-test-'));
afterAll(() => rmSync(directory, { recursive: true }));

const good = `cluster: site1
node: web1
interface: eth0
service: { name: web, address: 203.0.113.10, ports: [80/tcp, 53/udp], group: 239.77.0.10 }
control:
  group: 239.77.0.1
  port: 7746
  peers: { web1: 203.0.113.11, web2: 203.0.113.12, web3: 203.0.113.13 }
  keyring: keyring.json
stateDir: /var/lib/manycast
socket: run/agent.sock
policy: ../policy.yaml
`;

function read(text: string): ReturnType<typeof readAgentConfig> {
  const file = join(directory, 'agent.yaml');
  writeFileSync(file, text);
  return readAgentConfig(file);
}

describe('agent.yaml', () => {
  test('is read with defaults, and with paths relative to the file', () => {
    expect(read(good)).toMatchObject({
      delivery: 'segment',
      service: { partition: '0.0.0.255' },
      control: { keyring: join(directory, 'keyring.json') },
      stateDir: '/var/lib/manycast',
      socket: join(directory, 'run/agent.sock'),
      policy: join(directory, '../policy.yaml'),
    });
  });

  test('tells the data plane what it needs', () => {
    expect(serviceOf(read(good), '02:00:00:00:00:0b')).toMatchObject({
      ports: [
        { protocol: 'tcp', port: 80 },
        { protocol: 'udp', port: 53 },
      ],
      partition: { slotCount: 256 },
      ownMac: '02:00:00:00:00:0b',
      groupMac: '01:00:5e:4d:00:0a',
    });
  });

  test('tells the data plane of a routed address that there is no group', () => {
    const routed = serviceOf(read(`${good}delivery: router\n`), '02:00:00:00:00:0b');
    expect(routed).toMatchObject({ delivery: 'router', groupMac: null });
    expect(serviceOf(read(good), '02:00:00:00:00:0b')).not.toHaveProperty('delivery');
  });

  test.each([
    ['203.0.113.10', '203.0.113.300', 'service.address: "203.0.113.300" is not allowed, allowed is an IPv4 address'],
    [
      '203.0.113.10',
      '"2001:db8::1"',
      'service.address: "2001:db8::1" is not allowed, allowed is an IPv4 address: IPv6 is not built yet',
    ],
    [
      '203.0.113.10',
      '239.1.1.1',
      'service.address: "239.1.1.1" is not allowed, allowed is a unicast address, 1.0.0.0 to 223.255.255.255',
    ],
    [
      '203.0.113.10',
      '0.0.0.0',
      'service.address: "0.0.0.0" is not allowed, allowed is a unicast address, 1.0.0.0 to 223.255.255.255',
    ],
    ['203.0.113.10', '203.0.113.12', 'control.peers.web2: 203.0.113.12 is also that of service.address'],
    ['web2: 203.0.113.12', 'web2: 203.0.113.11', 'control.peers.web2: 203.0.113.11 is also that of control.peers.web1'],
    [
      'web2: 203.0.113.12',
      'Web2: 203.0.113.12',
      'control.peers: the name "Web2" is not allowed, allowed is lower-case letters, digits and "-", at most 32',
    ],
    [
      '239.77.0.10',
      '10.0.0.1',
      'service.group: "10.0.0.1" is not allowed, allowed is a multicast address, 224.0.0.0 to 239.255.255.255',
    ],
    ['239.77.0.10', '239.77.0.1', 'control.group: must differ from service.group'],
    ['80/tcp', '80', 'service.ports[0]: 80 is not allowed, allowed is text'],
    ['80/tcp', '99999/tcp', 'service.ports[0]: "99999/tcp" is not allowed, allowed is a port of 1 to 65535'],
    ['node: web1', 'node: web9', 'control.peers: "web9", this node, is missing'],
    ['node: web1', 'node: constructor', 'control.peers: "constructor", this node, is missing'],
    ['interface: eth0', 'device: eth0', 'interface: missing, allowed is text'],
    [
      'cluster: site1',
      'cluster: site1\ncolour: red',
      'colour: unknown field, allowed are cluster, node, interface, service, control, routers, certificates, sdk, stateDir, socket, policy, delivery, health',
    ],
    [
      'group: 239.77.0.10 }',
      'group: 239.77.0.10, partition: 0.1.255.255 }',
      'service.partition: partition mask 0.1.255.255 has 17 bits, allowed are 0 to 16',
    ],
    [
      'policy: ../policy.yaml',
      'policy: ../policy.yaml\ndelivery: ecmp',
      'delivery: "ecmp" is not allowed, allowed are segment, router, group',
    ],
    [
      'policy: ../policy.yaml',
      'policy: ../policy.yaml\nrouters: { edge1: 10.77.0.1 }',
      'routers: are for delivery router or group',
    ],
    [
      'cluster: site1',
      'cluster: [',
      'not YAML: Flow sequence in block collection must be sufficiently indented and end with a ] at line 2, column 1',
    ],
    ['cluster: site1', '__proto__: {}', 'the key __proto__ at line 1, column 1 is not allowed'],
    ['cluster: site1', 'cluster: !name site1', 'not YAML: Unresolved tag: !name at line 1, column 10'],
  ])('%s → %s is refused in one line', (from, to, line) => {
    expect(() => read(good.replace(from, to))).toThrow(`${join(directory, 'agent.yaml')}: ${line}`);
  });

  const grouped = good
    .replace('address: 203.0.113.10, ports: [80/tcp, 53/udp]', 'ports: [53/udp]')
    .replace('policy: ../policy.yaml', 'policy: ../policy.yaml\ndelivery: group\nsdk: { socket: sdk.sock }');

  test('without a service address the group is what clients reach, in group delivery', () => {
    expect(read(grouped)).toMatchObject({ delivery: 'group', service: { address: '239.77.0.10' } });
  });

  test('routers of a public group need no certificates', () => {
    const routed = grouped.replace('delivery: group', 'delivery: group\nrouters: { edge1: 10.77.0.1 }');
    expect(read(routed)).toMatchObject({ delivery: 'group', routers: { edge1: '10.77.0.1' } });
    expect(() => read(routed.replace('group: 239.77.0.10 }', 'group: 239.77.0.10, udpIdle: 30s }'))).toThrow(
      'service.udpIdle: cannot be, a router sends every datagram of a group to the owner of its slot',
    );
  });

  test.each([
    [
      'name: web',
      'name: web, address: 203.0.113.10',
      'service.address: cannot be, in group delivery clients send to the group',
    ],
    ['delivery: group', 'delivery: segment', 'service.address: missing, segment delivery needs one'],
    ['sdk: { socket: sdk.sock }', '', 'sdk: missing, group delivery needs it'],
    ['53/udp', '53/udp, 80/tcp', 'service.ports[1]: 80/tcp cannot be, group delivery carries UDP alone'],
    [
      'delivery: group',
      'delivery: group\nhealth: [{ kind: tcp, port: 80 }]',
      'health[0].address: missing, as the service has no address',
    ],
  ])('in group delivery, %s → %s is refused in one line', (from, to, line) => {
    expect(() => read(grouped.replace(from, to))).toThrow(`${join(directory, 'agent.yaml')}: ${line}`);
  });

  test('that is not there is refused with its name', () => {
    expect(() => readAgentConfig(join(directory, 'none.yaml'))).toThrow(
      `no such file or directory, open '${directory}/none.yaml'`,
    );
  });
});

describe('health in agent.yaml', () => {
  const withHealth = (checks: string): ReturnType<typeof read> => read(`${good}health: ${checks}\n`);

  test('is no check by default', () => {
    expect(healthChecksOf(read(good))).toEqual([]);
  });

  test('asks the service address twice a second by default', () => {
    const often = { address: '203.0.113.10', port: 80, intervalMs: 500, timeoutMs: 1000, rise: 2, fall: 3 };
    expect(healthChecksOf(withHealth('[{ kind: tcp, port: 80 }, { kind: http, port: 80 }]'))).toEqual([
      { ...often, kind: 'tcp', name: 'tcp 203.0.113.10:80' },
      {
        ...often,
        ...{ kind: 'http', name: 'http 203.0.113.10:80/', path: '/', host: '203.0.113.10', expect: [200, 399] },
      },
    ]);
  });

  test('asks what it is told to, on another address also another port', () => {
    const told =
      '[{ kind: http, port: 8081, address: 127.0.0.1, path: /ready?deep=1, host: "web.example:80", expect: "204", ' +
      'intervalMs: 50, timeoutMs: 10, rise: 1, fall: 1 }]';
    expect(healthChecksOf(withHealth(told))).toEqual([
      {
        ...{ kind: 'http', name: 'http 127.0.0.1:8081/ready?deep=1', address: '127.0.0.1', port: 8081 },
        ...{ path: '/ready?deep=1', host: 'web.example:80', expect: [204, 204] },
        ...{ intervalMs: 50, timeoutMs: 10, rise: 1, fall: 1 },
      },
    ]);
  });

  const http = (more: string): string => `[{ kind: http, port: 80, ${more} }]`;
  test.each([
    ['80', 'health: 80 is not allowed, allowed is a list'],
    ['[{ kind: icmp }]', 'health[0].kind: "icmp" is not allowed, allowed are tcp, http'],
    ['[{ kind: tcp }]', 'health[0].port: missing, allowed is a number'],
    ['[{ kind: tcp, port: 65536 }]', 'health[0].port: 65536 is not allowed, allowed is at most 65535'],
    [
      '[{ kind: tcp, port: 80, path: / }]',
      'health[0].path: unknown field, allowed are kind, port, address, intervalMs, timeoutMs, rise, fall',
    ],
    [
      '[{ kind: tcp, port: 80 }, { kind: tcp, port: 53 }]',
      'health[1].port: 53 is no TCP port of service.ports (80), and needs an address',
    ],
    [
      '[{ kind: tcp, port: 80, address: 239.1.1.1 }]',
      'health[0].address: "239.1.1.1" is not allowed, allowed is a unicast address',
    ],
    [http('intervalMs: 10'), 'health[0].intervalMs: 10 is not allowed, allowed is at least 50'],
    [http('timeoutMs: 60001'), 'health[0].timeoutMs: 60001 is not allowed, allowed is at most 60000'],
    [http('rise: 0'), 'health[0].rise: 0 is not allowed, allowed is at least 1'],
    [http('fall: 101'), 'health[0].fall: 101 is not allowed, allowed is at most 100'],
    [
      http('path: ready'),
      'health[0].path: "ready" is not allowed, allowed is a path that begins with "/", without spaces',
    ],
    [
      http('path: "/a b"'),
      'health[0].path: "/a b" is not allowed, allowed is a path that begins with "/", without spaces',
    ],
    [
      http('host: "a\\r\\nb"'),
      'health[0].host: "a\\r\\nb" is not allowed, allowed is a host name or address, with a port or without',
    ],
    [http('expect: 204'), 'health[0].expect: 204 is not allowed, allowed is text such as "200-399" or "204"'],
    [
      http('expect: 2xx'),
      'health[0].expect: "2xx" is not allowed, allowed is a status or a range of them, such as "200-399"',
    ],
    [http('expect: 399-200'), 'health[0].expect: "399-200" is not allowed, allowed is a range from low to high'],
  ])('%s is refused in one line', (checks, line) => {
    expect(() => withHealth(checks)).toThrow(`${join(directory, 'agent.yaml')}: ${line}`);
  });

  test('is at most 8 checks', () => {
    const checks = (count: number): string => `[${Array(count).fill('{ kind: tcp, port: 80 }').join(', ')}]`;
    expect(withHealth(checks(8)).health).toHaveLength(8);
    expect(() => withHealth(checks(9))).toThrow('allowed is a list of at most 8');
  });
});

describe('certificates in agent.yaml', () => {
  const site = authorityUnderTest('site1');
  const web1 = site.member('web1');
  const files = {
    ca: join(directory, 'ca.crt'),
    certificate: join(directory, 'web1.crt'),
    key: join(directory, 'web1.key'),
  };

  /** What is read when the files hold these; `mode` is that of the key. */
  function certificates(pem: Partial<MemberFiles> = {}, mode = 0o600): ReturnType<typeof readCertificates> {
    for (const [which, text] of Object.entries({ ...web1, ...pem })) {
      rmSync(files[which as keyof typeof files], { force: true });
      writeFileSync(files[which as keyof typeof files], text ?? '');
    }
    chmodSync(files.key, mode);
    return readCertificates(read(`${good}certificates: { ca: ca.crt, certificate: ./web1.crt, key: ${files.key} }\n`));
  }

  test('may be left out', () => {
    expect(readCertificates(read(good))).toBe(null);
  });

  test('are read from beside the file', () => {
    expect(certificates()).toEqual(web1);
  });

  test('are all three or none', () => {
    expect(() => read(`${good}certificates: { ca: ca.crt }\n`)).toThrow(
      'certificates.certificate: missing, allowed is text',
    );
  });

  test.each([0o640, 0o604])('whose key others may read (mode %o) are refused', (mode) => {
    expect(() => certificates({}, mode)).toThrow(`${files.key} can be read by others`);
  });

  const foreign = authorityUnderTest('site1');
  const elsewhere = authorityUnderTest('site2');
  test.each<[string, Partial<MemberFiles>, keyof typeof files, string]>([
    ['with the key of another', { key: keys().privateKey }, 'key', `: it is not the key of ${files.certificate}`],
    ['with no key', { key: 'secret' }, 'key', ': it holds no private key, or an encrypted one'],
    ['with no certificate', { certificate: web1.key }, 'certificate', ' holds no certificate'],
    [
      'with two certificates',
      { certificate: web1.certificate + web1.certificate },
      'certificate',
      ' holds 2 certificates, allowed is one',
    ],
    [
      'with three authorities',
      { ca: web1.ca + foreign.certificate.repeat(2) },
      'ca',
      ' holds 3 certificates, allowed are two',
    ],
    [
      'with a second authority that is none',
      { ca: web1.ca + web1.certificate },
      'ca',
      ': it is not the certificate of an authority',
    ],
    [
      'with a damaged certificate',
      { certificate: web1.certificate.replace(/\n.{20}/, '\n') },
      'certificate',
      ' holds a damaged certificate',
    ],
    ['whose authority is no authority', { ca: web1.certificate }, 'ca', ': it is not the certificate of an authority'],
    [
      'whose authority is of another cluster',
      elsewhere.member('web1'),
      'ca',
      ': it is the authority of cluster "site2", not of "site1"',
    ],
    ['of another authority', { ca: foreign.certificate }, 'certificate', `: it is not signed by ${files.ca}`],
    [
      'of another replica',
      site.member('web2'),
      'certificate',
      ': it is for "web2" of "site1", not for "web1" of "site1"',
    ],
    [
      'of another cluster',
      site.member('web1', { cluster: 'site2' }),
      'certificate',
      ': it is for "web1" of "site2", not for "web1" of "site1"',
    ],
    ['that have expired', site.member('web1', { lifetime: lifetime(-2, -1) }), 'certificate', ' expired on '],
    ['that are not good yet', site.member('web1', { lifetime: lifetime(1, 2) }), 'certificate', ' is good from '],
    ['whose authority has expired', authorityUnderTest('site1', lifetime(-2, -1)).member('web1'), 'ca', ' expired on '],
  ])('%s are refused in one line', (_what, pem, which, complaint) => {
    expect(() => certificates(pem)).toThrow(`${files[which]}${complaint}`);
  });

  test('are good with a list that revokes others, whose path they keep, and refused by one that revokes them', () => {
    certificates();
    const list = join(directory, 'ca.crl');
    const text = `${good}certificates: { ca: ca.crt, certificate: web1.crt, key: web1.key, revoked: ./ca.crl }\n`;
    rmSync(list, { force: true });
    expect(() => readCertificates(read(text))).toThrow(`${list}: no such file`);
    const revoking = ({ certificate }: MemberFiles): void => {
      const serial = new X509Certificate(certificate).serialNumber.toLowerCase();
      const revoked = [{ serial, at: new Date() }];
      writeFileSync(list, revocationList({ authority: site, revoked, now: new Date() }));
    };
    revoking(site.member('web2'));
    expect(readCertificates(read(text))).toEqual({ ...web1, revoked: list });
    revoking(web1);
    expect(() => readCertificates(read(text))).toThrow(`${files.certificate}: it is revoked by ${list}`);
  });

  test('are believed by either of two authorities', () => {
    expect(certificates({ ca: foreign.certificate + web1.ca })?.ca).toBe(foreign.certificate + web1.ca);
  });

  test('that are not there are refused with their names', () => {
    certificates();
    rmSync(files.certificate);
    expect(() =>
      readCertificates(read(`${good}certificates: { ca: ca.crt, certificate: web1.crt, key: web1.key }\n`)),
    ).toThrow(`no such file or directory, open '${files.certificate}'`);
  });
});
