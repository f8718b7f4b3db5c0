import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, describe, expect, test } from 'vitest';
import { stringify } from 'yaml';
import { readRouterConfig } from '../../src/edge/config.ts';

const directory = mkdtempSync(join(tmpdir(), 'mc-edge-config-'));
const path = join(directory, 'router.yaml');
afterAll(() => rmSync(directory, { recursive: true }));

const web = {
  cluster: 'site1',
  service: { name: 'web', address: '203.0.113.10', ports: ['80/tcp'], group: '239.77.0.10' },
  access: { kind: 'authority', ca: 'ca.crt', revoked: 'ca.crl' },
  control: { group: '239.77.0.1', port: 7746, peers: { web1: '198.51.100.1' }, keyring: 'keyring.json' },
  routers: { edge1: '198.51.100.250' },
  certificates: { ca: 'ca.crt', certificate: 'edge1.crt', key: 'edge1.key', revoked: 'ca.crl' },
};
const good = { node: 'edge1', links: ['eth0'], services: [web], stateDir: 'state', socket: '/run/router.sock' };
const registry = [{ address: '192.0.2.53' }];

const read = (content: unknown): ReturnType<typeof readRouterConfig> => {
  writeFileSync(path, typeof content === 'string' ? content : stringify(content, { aliasDuplicateObjects: false }));
  return readRouterConfig(path);
};
const withService = (part: object): object => ({ ...good, services: [{ ...web, ...part }] });
const withField = (part: object): object => withService({ service: { ...web.service, ...part } });

describe('router.yaml', () => {
  test('names files relative to itself', () => {
    const here = (file: string): string => join(directory, file);
    expect(read(good)).toMatchObject({
      stateDir: here('state'),
      socket: '/run/router.sock',
      registry: [],
      services: [
        {
          access: { kind: 'authority', ca: here('ca.crt'), revoked: here('ca.crl') },
          control: { keyring: here('keyring.json'), port: 7746 },
          certificates: {
            ...{ ca: here('ca.crt'), certificate: here('edge1.crt'), key: here('edge1.key'), revoked: here('ca.crl') },
          },
          service: { partition: '0.0.0.255' },
        },
      ],
    });
  });

  test('may leave out what nobody is to be told, and asks DNS at port 53, unverified', () => {
    const { control, certificates, routers, ...alone } = web;
    const config = read({ ...good, registry, services: [{ ...alone, access: { kind: 'registry' } }] });
    expect(config.registry).toEqual([{ address: '192.0.2.53', port: 53, validating: false }]);
    expect(config.services[0]).toMatchObject({ access: { kind: 'registry', fingerprints: [] }, routers: {} });
    expect(config.services[0]).not.toHaveProperty('control');
  });

  /** A service whose clients send to the group. */
  const ofGroup = (part: object, service: object = {}): object => ({
    ...{ ...good, clients: ['eth1'] },
    services: [
      { ...web, delivery: 'group', service: { name: 'news', ports: ['7007/udp'], group: '239.77.0.12', ...service } },
    ],
    ...part,
  });

  test('what clients reach without a service address is the group', () => {
    const { clients, services } = read(ofGroup({}));
    expect([clients, services[0]?.service.address]).toEqual([['eth1'], '239.77.0.12']);
    expect(read(good)).toMatchObject({ clients: [], services: [{ delivery: 'router' }] });
  });

  const other = { ...web, service: { name: 'dns', address: '203.0.113.11', ports: ['53/udp'], group: '239.77.0.11' } };
  test.each([
    ['no YAML', 'node: [', expect.stringMatching(/^[^\n]+$/)],
    ['nothing', {}, 'node: missing, allowed is text'],
    ['no link', { ...good, links: [] }, /^links: /],
    ['no service', { ...good, services: [] }, /^services: /],
    ['a field that there is not', { ...good, link: 'eth0' }, /link/],
    ['an unknown kind of access', withService({ access: { kind: 'open' } }), /^services\[0\]\.access/],
    [
      'no file of the authority',
      withService({ access: { kind: 'authority' } }),
      'services[0].access.ca: missing, allowed is text',
    ],
    [
      'no service address',
      withField({ address: undefined }),
      'services[0].service.address: missing, router delivery needs one',
    ],
    ['a group that is none', withField({ group: '203.0.113.9' }), /^services\[0\]\.service\.group: .*multicast/],
    [
      'a fingerprint that is none',
      { ...withService({ access: { kind: 'registry', fingerprints: ['abc'] } }), registry },
      /^services\[0\]\.access\.fingerprints\[0\]: .*SHA-256/,
    ],
    [
      'a fingerprint of which a digit is missing',
      { ...withService({ access: { kind: 'registry', fingerprints: ['ab:'.repeat(31).concat('a')] } }), registry },
      /^services\[0\]\.access\.fingerprints\[0\]: .*SHA-256/,
    ],
    [
      'no DNS server to ask',
      withService({ access: { kind: 'registry' } }),
      'registry: missing, services[0].access needs it',
    ],
    [
      'a partition of too many bits',
      withField({ partition: '255.255.255.255' }),
      /^services\[0\]\.service\.partition: /,
    ],
    [
      'this router among others that are told of',
      withService({ routers: { edge2: '198.51.100.251' } }),
      'services[0].routers: "edge1", this router, is missing',
    ],
    [
      'a router of the address of a replica',
      withService({ routers: { edge1: '198.51.100.1' } }),
      'services[0].routers.edge1: 198.51.100.1 is also that of control.peers.web1',
    ],
    [
      'agents that talk on the group of the service',
      withField({ group: '239.77.0.1' }),
      'services[0].control.group: must differ from service.group',
    ],
    [
      'two services of one name',
      { ...good, services: [web, { ...other, service: { ...other.service, name: 'web' } }] },
      'services[1].service.name: is also that of services[0]',
    ],
    [
      'two services of one address',
      { ...good, services: [web, { ...other, service: { ...other.service, address: '203.0.113.10' } }] },
      'services[1].service.address: is also that of services[0]',
    ],
    [
      'two services of one group',
      { ...good, services: [web, { ...other, service: { ...other.service, group: '239.77.0.10' } }] },
      'services[1].service.group: is also that of services[0]',
    ],
    [
      'a service address that a group has not',
      ofGroup({}, { address: '203.0.113.10' }),
      /^services\[0\]\.service\.address: /,
    ],
    ['UDP flows that stay, of a group', ofGroup({}, { udpIdle: '30s' }), /^services\[0\]\.service\.udpIdle: cannot be/],
    ['TCP to a group', ofGroup({}, { ports: ['80/tcp'] }), /^services\[0\]\.service\.ports\[0\]: 80\/tcp cannot be/],
    ['no device of clients of a group', ofGroup({ clients: [] }), 'clients: missing, services[0] needs it'],
    ['a device of both', ofGroup({ clients: ['eth0'] }), 'clients: "eth0" is also in links'],
  ])('with %s is refused in one line', (_what, content, said) => {
    let message = '';
    try {
      read(content);
    } catch (error) {
      message = (error as Error).message;
    }
    expect(message.startsWith(`${path}: `)).toBe(true);
    const line = message.slice(path.length + 2);
    expect(line).not.toContain('\n');
    if (said instanceof RegExp) expect(line).toMatch(said);
    else expect(line).toEqual(said);
  });

  test('that is not there is said in one line', () => {
    expect(() => readRouterConfig(join(directory, 'none.yaml'))).toThrow(/none\.yaml: .*ENOENT/);
  });
});
