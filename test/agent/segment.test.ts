import { execFileSync } from 'node:child_process';
import { fileURLToPath } from 'node:url';
import { describe, expect, test } from 'vitest';

const host = fileURLToPath(new URL('segment-host.mjs', import.meta.url));
/** A send that never returns fails its test, and not the whole run. */
const runMsMax = 15_000;

/** What a case of the script says, run in a network of its own. */
function said(name: string): unknown {
  const flags = process.getuid?.() === 0 ? '-n' : '-Urn';
  const options = { encoding: 'utf8', timeout: runMsMax } as const;
  return JSON.parse(execFileSync('unshare', [flags, process.execPath, host, name], options));
}

describe('an agent on its segment', () => {
  test('outlives a device that goes down with a request unanswered, and answers when it is up again', () => {
    expect(said('down')).toEqual({ left: true, answers: 'again' });
  });

  test('begins on a device that is down, and answers when it is up', () => {
    expect(said('downAtStart')).toBe('answers');
  });

  test('does not wait for a device that sends nothing', () => {
    expect(said('full')).toEqual([]);
  });

  test('takes no silent peer for alive because there was no carrier when it began, but where nobody could answer', () => {
    expect(said('carrier')).toEqual({ silent: [], elsewhere: ['r2'] });
  });
});
