import { execFileSync } from 'node:child_process';
import { fileURLToPath } from 'node:url';
import { describe, expect, test } from 'vitest';

const host = fileURLToPath(new URL('packet-hold-host.mjs', import.meta.url));

/** What a case of the script says, run in network and mount namespaces of its own. */
function said(name: string, before = 'true'): unknown {
  const shell = `mount -t tmpfs tmpfs /run && ${before} && ip link set lo up && exec "$@"`;
  const command = ['-mn', '--propagation', 'private', 'sh', '-c', shell, 'sh', process.execPath, host, name];
  return JSON.parse(execFileSync('unshare', command, { encoding: 'utf8' }));
}

const refusal = (message: string, remedy: string) => ({
  code: 'packet-hold',
  message: `packet hold: ${message}`,
  remedy,
});

// Ordinary users may not open /dev/net/tun.
describe.runIf(process.getuid?.() === 0)('as root', () => {
  test('frames wait until they are let go on, and then arrive as they came, also where the host checks reverse paths', () => {
    const arrived = { drained: 5, early: 0, dropped: 0, exact: true, large: true };
    expect(said('held')).toEqual({
      '4': { ...arrived, heard: ['1400 10.8.0.2'] },
      '6': { ...arrived, heard: ['1400 fd00:8::2'] },
      '4 strict': { ...arrived, heard: ['1400 10.8.0.2'] },
      '6 strict': { ...arrived, heard: ['1400 fd00:8::2'] },
    });
  });

  test('20,000 frames wait; those over the bound are counted', () => {
    expect(said('many')).toEqual({ before: 0, refused: 50, drained: 20_000, again: 0 });
  });

  test('frames of flows that are kept wait on while others are let go on', () => {
    const one = { drained: 1, resets: 1 };
    const none = { drained: 0, resets: 0 };
    expect(said('kept')).toEqual([none, one, none, one]);
  });

  test('what the host itself says on the device does not come back, and the device ends once', () => {
    expect(said('chatter')).toEqual({ drained: 0, mtu: '65521', queue: '20000', after: false, closed: 0 });
  });

  test('a name that is taken or impossible is refused', () => {
    expect(said('errors')).toEqual([
      refusal('"mchold" exists already', 'is another agent running? Else: ip link del mchold'),
      { code: 'packet-hold', message: 'packet hold: "a-name-too-long-" is no name of 1 to 15 bytes' },
      refusal('"no/name" cannot be made: ioctl failed: EINVAL', 'is the name one of a device?'),
    ]);
  });

  test('a host without /dev/net/tun is told what to do', () => {
    const remedy = 'load the module "tun", or give the container the device';
    expect(said('refusal', 'mount -t tmpfs tmpfs /dev/net')).toEqual(refusal('this host has no /dev/net/tun', remedy));
  });

  test('root of a user namespace, which has no say over the network, is refused', () => {
    const text = execFileSync('unshare', ['-U', process.execPath, host, 'refusal'], { encoding: 'utf8' });
    expect(JSON.parse(text)).toEqual(refusal('this process may not make devices', 'it needs CAP_NET_ADMIN'));
  });
});

test('whoever may not open /dev/net/tun is told so', () => {
  const nobody = process.getuid?.() === 0 ? ['setpriv', '--reuid', '65534', '--clear-groups'] : ['env'];
  const [command = '', ...words] = [...nobody, process.execPath, host, 'refusal'];
  const refused = JSON.parse(execFileSync(command, words, { encoding: 'utf8' })) as { message: string };
  // Some systems let everybody open it, and refuse the device.
  expect(refused.message).toMatch(/^packet hold: this process may not (open \/dev\/net\/tun|make devices)$/);
});
