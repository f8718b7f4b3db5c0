import { execFileSync } from 'node:child_process';
import { messageOf, OperatingError } from '../base/operating-error.ts';
import type { RunIp } from '../dataplane/edge-routes.ts';

/** ip(8) as a process: 2 ms, and about 0.1 ms for each command of a batch. */
export const runIp: RunIp = (args, commands = []) => {
  const isBatch = commands.length > 0;
  const all = isBatch ? [...args, '-force', '-batch', '-'] : args;
  try {
    const input = isBatch ? { input: `${commands.join('\n')}\n` } : {};
    return execFileSync('ip', all, {
      encoding: 'utf8',
      ...input,
      stdio: [isBatch ? 'pipe' : 'ignore', 'pipe', 'pipe'],
    });
  } catch (cause) {
    const missing = (cause as NodeJS.ErrnoException).code === 'ENOENT';
    const said = String((cause as { stderr?: unknown }).stderr ?? messageOf(cause))
      .trim()
      .replaceAll('\n', '; ');
    throw new OperatingError('ip', missing ? 'the command "ip" is not installed' : `ip ${args.join(' ')}: ${said}`, {
      cause,
      ...(missing ? { remedy: 'install it: apt-get install iproute2' } : {}),
    });
  }
};
