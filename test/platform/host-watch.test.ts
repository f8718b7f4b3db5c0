import { execFileSync } from 'node:child_process';
import { fileURLToPath } from 'node:url';
import { describe, expect, test } from 'vitest';

const host = fileURLToPath(new URL('host-watch-host.mjs', import.meta.url));

/** What one list of steps tells, in namespaces that end with it. */
function stepsOf(name: string, flags = '-n'): unknown {
  const user = process.getuid?.() === 0 ? [] : ['-Ur'];
  return JSON.parse(
    execFileSync('unshare', [...user, ...flags.split(' '), process.execPath, host, name], { encoding: 'utf8' }),
  );
}

describe('a watch of the kernel', () => {
  test("tells another program's transactions by its name, and none of this process", () => {
    expect(stepsOf('rulesets')).toEqual({ own: [], others: ['nft', 'nft'] });
  });

  test('knows its own transactions in a container, where its process id is another', () => {
    expect(stepsOf('rulesets', '-n -p --fork')).toEqual({ own: [], others: ['nft', 'nft'] });
  });

  test('tells addresses that come and go, and links that go down, lose their carrier or vanish', () => {
    expect(stepsOf('addresses')).toEqual({
      raised: ['address add', 'address delete', 'link set', 'link set', 'link delete'],
      rulesets: [],
    });
  });

  test('tells routes and rules that come and go to whoever asks for them, and no addresses with them', () => {
    const raised = ['route add', 'rule add', 'rule delete', 'route delete'];
    expect(stepsOf('routes')).toEqual({ raised, addresses: 0 });
  });

  test('tells 500 transactions in a few calls at least 20 ms apart, the last of them after the last transaction', () => {
    expect(stepsOf('flooded')).toEqual({ seen: 500, few: true, apart: true });
  });

  test('tells that the kernel dropped notices, and whatever changes after that', () => {
    expect(stepsOf('overrun')).toEqual({ first: null, last: 'nft' });
  });
});

test('what other programs undo of a host set up for a service is put back, only that, and undone with the rest', () => {
  const drop = 'sysctl net.ipv4.conf.eth0.drop_unicast_in_l2_multicast';
  const [ignore, announce] = ['sysctl net.ipv4.conf.all.arp_ignore', 'sysctl net.ipv4.conf.all.arp_announce'];
  const [group, service] = ['group address on eth0', 'service address on lo'];
  const untouched = { sysctls: ['0', '0', '0'], addresses: ['10.77.0.11 eth0', '127.0.0.1 lo'], joined: false };
  const prepared = {
    sysctls: ['1', '2', '1'],
    addresses: ['10.77.0.11 eth0', '10.77.0.7 lo', '127.0.0.1 lo', '239.7.1.7 eth0'],
    joined: true,
  };
  expect(stepsOf('repairs')).toEqual({
    unprepared: [],
    put: {
      nothing: [],
      'arp_ignore 0': [ignore],
      'arp_ignore 8': [],
      'arp_ignore 3': [ignore],
      'arp_announce 1': [announce],
      'drop_unicast 0': [drop],
      'group gone': [group],
      'group not joined': [group],
      'service gone': [service],
      'device down': [],
      'device up': [],
      'lo flushed': [service],
      'device gone': [],
      'device back': [drop, group],
      everything: [ignore, announce, group, service],
    },
    again: [],
    before: untouched,
    prepared,
    repaired: prepared,
    after: untouched,
  });
});

test('of a service that is set up, no datagram to the group is taken while there are no rules', () => {
  expect(stepsOf('unruled')).toEqual(['to this host']);
});

test('of two agents that share the sysctls, the second puts them back when the first stops, to be undone after its addresses', () => {
  const untouched = { sysctls: ['0', '0', '0'], addresses: ['10.77.0.11 eth0', '127.0.0.1 lo'], joined: false };
  expect(stepsOf('shared')).toEqual({
    put: ['all.arp_ignore', 'all.arp_announce', 'eth0.drop_unicast_in_l2_multicast'].map(
      (each) => `sysctl net.ipv4.conf.${each}`,
    ),
    recorded: ['sysctl', 'sysctl', 'sysctl', 'address', 'address'],
    sysctls: ['1', '2', '1'],
    before: untouched,
    after: untouched,
  });
});

test('of a service address that is routed, what lets in marked packets alone is put back, and undone', () => {
  const untouched = {
    ...{ sysctls: ['0', '0', '0'], addresses: ['10.77.0.11 eth0', '127.0.0.1 lo'], joined: false },
    ...{ bind: '0', rules: 0, routes: [] },
  };
  const prepared = {
    ...{ sysctls: ['1', '2', '0'], addresses: ['10.77.0.11 eth0', '10.77.0.7 lo', '127.0.0.1 lo'], joined: false },
    ...{ bind: '1', rules: 4, routes: ['local 10.77.0.7 dev lo table 1835270145 scope host'] },
  };
  const routing = ['routing of marked packets'];
  expect(stepsOf('routed')).toEqual({
    put: {
      nothing: [],
      'rules flushed': routing,
      'one rule gone': routing,
      'the address made anew': ['local route'],
      'service gone': ['service address on lo'],
      'local to all': ['local route'],
      'routes gone': routing,
      'bind refused': ['sysctl net.ipv4.ip_nonlocal_bind'],
    },
    again: [],
    before: untouched,
    prepared,
    repaired: prepared,
    after: untouched,
  });
});
