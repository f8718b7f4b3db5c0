import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, describe, expect, test } from 'vitest';
import { readAgentConfig, serviceOf } from '../../src/agent/config.ts';

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
voters: [web1, web2, web3]
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
    expect(serviceOf(read(good))).toMatchObject({
      ports: [
        { protocol: 'tcp', port: 80 },
        { protocol: 'udp', port: 53 },
      ],
      partition: { slotCount: 256 },
      groupMac: '01:00:5e:4d:00:0a',
    });
  });

  test.each([
    ['203.0.113.10', '203.0.113.300', 'service.address: "203.0.113.300" is not allowed, allowed is an IPv4 address'],
    [
      '203.0.113.10',
      '"2001:db8::1"',
      'service.address: "2001:db8::1" is not allowed, allowed is an IPv4 address: IPv6 is not built yet',
    ],
    ['203.0.113.10', '239.1.1.1', 'service.address: "239.1.1.1" is not allowed, allowed is a unicast address'],
    ['203.0.113.10', '203.0.113.12', 'service.address: is also a replica in control.peers'],
    [
      '239.77.0.10',
      '10.0.0.1',
      'service.group: "10.0.0.1" is not allowed, allowed is a multicast address, 224.0.0.0 to 239.255.255.255',
    ],
    ['239.77.0.10', '239.77.0.1', 'control.group: must differ from service.group'],
    ['80/tcp', '80', 'service.ports[0]: 80 is not allowed, allowed is text'],
    ['80/tcp', '99999/tcp', 'service.ports[0]: "99999/tcp" is not allowed, allowed is a port of 1 to 65535'],
    ['node: web1', 'node: web9', 'control.peers: "web9", this node, is missing'],
    [
      'voters: [web1, web2, web3]',
      'voters: [web1, web9]',
      'voters: "web9" is not in control.peers, allowed are web1, web2, web3',
    ],
    ['voters: [web1, web2, web3]', 'voters: [web1, web1]', 'voters: a name stands twice'],
    ['voters: [web1, web2, web3]', 'voters: []', 'voters: [] is not allowed, allowed is a list of at least 1'],
    ['interface: eth0', 'device: eth0', 'interface: missing, allowed is text'],
    [
      'cluster: site1',
      'cluster: site1\ncolour: red',
      'colour: unknown field, allowed are cluster, node, interface, service, control, voters, stateDir, socket, policy, delivery',
    ],
    [
      'group: 239.77.0.10 }',
      'group: 239.77.0.10, partition: 0.1.255.255 }',
      'service.partition: partition mask 0.1.255.255 has 17 bits, allowed are 0 to 16',
    ],
    [
      'policy: ../policy.yaml',
      'policy: ../policy.yaml\ndelivery: router',
      'delivery: "router" is not allowed, allowed is segment',
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

  test('that is not there is refused with its name', () => {
    expect(() => readAgentConfig(join(directory, 'none.yaml'))).toThrow(
      `no such file or directory, open '${directory}/none.yaml'`,
    );
  });
});
