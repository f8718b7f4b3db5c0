import { execFile, execFileSync } from 'node:child_process';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { afterAll, describe, expect, test } from 'vitest';
import { issueMember, makeAuthority, readAuthority, unlockAuthority } from '../../src/platform/certificates.ts';
import { newKeyring } from '../../src/platform/keyring.ts';
import { command } from '../lab/lab-under-test.ts';

const directory = mkdtempSync(join(tmpdir(), 'manycast-test-'));
afterAll(() => rmSync(directory, { recursive: true }));
const file = (name: string): string => join(directory, name);
const host = fileURLToPath(new URL('failed-start-host.mjs', import.meta.url));
const flags = process.getuid?.() === 0 ? '-n' : '-Urn';
/** What does not end by itself fails its test, and not the whole run. */
const runMsMax = 15_000;

newKeyring(file('keyring.json'));
writeFileSync(file('policy.yaml'), 'strategy: equal\n');
const plain = `cluster: site1
node: r1
interface: eth0
service: { name: web, address: 10.77.0.100, ports: [80/tcp], group: 239.77.0.1 }
control: { group: 239.77.0.2, port: 7746, peers: { r1: 10.77.0.11, r2: 10.77.0.12 }, keyring: keyring.json }
stateDir: state
socket: agent.sock
policy: policy.yaml
`;

/** What a case of the script comes to in a network of its own, without a capability: its exit code, and what it says. */
function ended(
  capability: string,
  ...words: readonly string[]
): Promise<{ readonly code: unknown; readonly said: string }> {
  const without = ['setpriv', `--bounding-set=-${capability}`, `--inh-caps=-${capability}`];
  const args = [flags, ...without, process.execPath, host, ...words];
  return new Promise((resolve) => {
    execFile('unshare', args, { timeout: runMsMax }, (error, said) => resolve({ code: error ? error.code : 0, said }));
  });
}

test('an agent that cannot begin ends, and leaves its host as it was', () => {
  const config = file('agent.yaml');
  writeFileSync(config, plain);
  const state = 'cat /proc/sys/net/ipv4/conf/all/arp_ignore; ip -brief -4 address; nft list tables';
  // It sets up its host, and may then not answer ARP.
  const script = `ip link add eth0 type veth peer name cable
    ip address add 10.77.0.11/16 dev eth0; ip link set cable up; ip link set eth0 up; ip link set lo up
    before=$(${state})
    setpriv --bounding-set=-net_raw --inh-caps=-net_raw "$@" >&2; code=$?
    after=$(${state})
    [ "$before" = "$after" ] && echo "$code, as it was" || echo "$code, $after"`;
  const args = [flags, 'sh', '-c', script, 'sh', process.execPath, command, 'agent', '-c', config];
  const said = execFileSync('unshare', args, {
    encoding: 'utf8',
    timeout: runMsMax,
    stdio: ['ignore', 'pipe', 'pipe'],
  });
  expect(said).toBe('1, as it was\n');
});

test('what a killed agent left is undone by the next, whose service has another name or who serves nothing', () => {
  const config = file('agent.yaml');
  writeFileSync(config, plain);
  const script = `ip link add eth0 type veth peer name cable
    ip address add 10.77.0.11/16 dev eth0; ip link set cable up; ip link set eth0 up; ip link set lo up
    state() { cat /proc/sys/net/ipv4/conf/all/arp_ignore; ip -brief -4 address show dev lo; nft list tables; }
    show() { echo "$1: $(state | grep -oE 'mc_[a-z]+|10.77.0.100|^[01]$' | sort | uniq | tr '\\n' ' ')"; }
    began() { "$@" >&2 & agent=$!; for i in $(seq 300); do [ -S ${file('agent.sock')} ] && return; sleep 0.05; done; exit 1; }
    killed() { kill -9 $agent; wait $agent; rm -f ${file('agent.sock')}; } 2>/dev/null
    show before
    began "$@" agent -c ${config}; show web; killed; show killed
    sed -i 's/name: web/name: shop/' ${config}
    began "$@" agent -c ${config}; show shop; killed
    began "$@" witness -c ${config}; show witness; killed`;
  const said = execFileSync('unshare', [flags, 'bash', '-c', script, 'bash', process.execPath, command], {
    encoding: 'utf8',
    timeout: 2 * runMsMax,
    stdio: ['ignore', 'pipe', 'pipe'],
  });
  expect(
    said
      .trim()
      .split('\n')
      .map((line) => line.trim()),
  ).toEqual([
    'before: 0',
    'web: 1 10.77.0.100 mc_web',
    'killed: 1 10.77.0.100 mc_web',
    'shop: 1 10.77.0.100 mc_shop',
    'witness: 0',
  ]);
}, 60_000);

describe('nothing goes on', () => {
  test('of a watch of the host that may not hear the kernel', async () => {
    expect(await ended('net_admin', 'watch')).toEqual({
      code: 0,
      said: 'the kernel does not tell who changes its nftables rules',
    });
  });

  test('of a start that failed, whatever it has left open', async () => {
    expect(await ended('net_admin', 'leaking')).toEqual({ code: 1, said: 'no such device' });
  });

  test('of a list of revoked certificates whose channel cannot be opened', async () => {
    const authorityPath = file('authority');
    await makeAuthority(authorityPath, 'site1', 'passphrase');
    const authority = readAuthority(authorityPath);
    await issueMember(authority, unlockAuthority(authority, 'passphrase'), {
      ...{ replica: 'r1', days: 1, out: authorityPath },
    });
    const paths = ['ca: ca.crt', 'certificate: r1.crt', 'key: r1.key', 'revoked: ca.crl'];
    writeFileSync(
      file('certified.yaml'),
      `${plain}certificates: { ${paths.map((each) => each.replace(' ', ' authority/')).join(', ')} }\n`,
    );
    expect(await ended('net_admin', 'channel', file('certified.yaml'))).toEqual({
      code: 0,
      said: expect.stringMatching('ENOENT'),
    });
  });
});
