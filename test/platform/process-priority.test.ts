import { execFileSync } from 'node:child_process';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { describe, expect, test } from 'vitest';

const host = fileURLToPath(new URL('process-priority-host.mjs', import.meta.url));

interface Raised {
  readonly said: string;
  readonly again: string;
  readonly own: { readonly nice: number; readonly policy: number };
  readonly child: { readonly nice: number; readonly policy: number };
}

function raised(...before: string[]): Raised {
  const [command = '', ...words] = [...before, process.execPath, host];
  return JSON.parse(execFileSync(command, words, { encoding: 'utf8' })) as Raised;
}

const normal = { nice: 0, policy: 0 };

test('the words are what the kernel does, twice said the same, and programs that the agent starts stay normal', () => {
  const { said, again, own, child } = raised();
  const kernels: Readonly<Record<number, string>> = {
    0: own.nice < 0 ? `nice ${own.nice}` : 'normal: not permitted',
    2: 'real-time',
  };
  expect([said, again]).toEqual([kernels[own.policy], said]);
  expect(child).toEqual(normal);
});

test('a process that may not raise itself stays as it is and says so', () => {
  // Root of a user namespace of its own has no say over the machine's processors.
  expect(raised('unshare', '-Ur', 'prlimit', '--rtprio=0:0', '--nice=0:0')).toEqual({
    said: 'normal: not permitted',
    again: 'normal: not permitted',
    own: normal,
    child: normal,
  });
});

describe.runIf(process.getuid?.() === 0)('as root', () => {
  test('a better nice value than the agent may choose is kept', () => {
    const { said, own, child } = raised('nice', '-n', '-12', 'unshare', '-Ur', 'prlimit', '--rtprio=0:0');
    expect({ said, own, child }).toEqual({ said: 'nice -12', own: { nice: -12, policy: 0 }, child: normal });
  });

  test('where the kernel does not bound real-time threads, nice is raised instead', () => {
    const directory = mkdtempSync(join(tmpdir(), 'manycast-priority-'));
    try {
      const unbounded = join(directory, 'unbounded');
      writeFileSync(unbounded, '-1\n');
      const mount = `mount --bind ${unbounded} /proc/sys/kernel/sched_rt_runtime_us && exec "$@"`;
      const { said, own, child } = raised('unshare', '-m', 'sh', '-c', mount, 'sh');
      expect({ said, own, child }).toEqual({ said: 'nice -20', own: { nice: -20, policy: 0 }, child: normal });
    } finally {
      rmSync(directory, { recursive: true });
    }
  });
});
