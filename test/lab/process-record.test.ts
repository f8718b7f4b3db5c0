import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, describe, expect, test } from 'vitest';
import { endProcess, isAlive, spawnDetached } from '../../src/lab/process-record.ts';
import { until } from './lab-under-test.ts';

const directory = mkdtempSync(join(tmpdir(), 'manycast-test-'));
const log = join(directory, 'log');
afterAll(() => rmSync(directory, { recursive: true }));

const started = (shell: string): ReturnType<typeof spawnDetached> =>
  spawnDetached(['sh', '-c', shell], log, process.env);

/** As in /proc/PID/stat: a letter; nothing when there is no such process. */
function stateOf(pid: number): string {
  try {
    return readFileSync(`/proc/${pid}/stat`, 'utf8').replace(/^.*\) (.).*$/s, '$1');
  } catch {
    return '';
  }
}

describe('a process that outlives its starter', () => {
  test('is known to be alive, is ended on request, and its output is kept', async () => {
    const record = started('echo hello; exec sleep 60');
    await until(
      async () => readFileSync(log, 'utf8'),
      (text) => text === 'hello\n',
    );
    expect(isAlive(record)).toBe(true);
    await endProcess(record, 5000);
    expect(isAlive(record)).toBe(false);
  });

  test('that ignores the request is ended anyway, with all of its group', async () => {
    const record = started(
      'trap "" TERM; (echo stubborn; exec sleep 60) & echo "child $!"; while :; do sleep 60; done',
    );
    const said = await until(
      async () => readFileSync(log, 'utf8'),
      (text) => text.includes('stubborn') && /child \d+\n/.test(text),
    );
    const child = Number(/child (\d+)/.exec(said)?.[1]);
    expect(stateOf(child)).toMatch(/[RSD]/);
    await endProcess(record, 100);
    expect(isAlive(record)).toBe(false);
    // Signalled together with its parent, and gone as soon as it runs again.
    await until(
      async () => stateOf(child),
      (state) => state === '' || state === 'Z',
    );
  });

  test('is not mistaken for another that got its number', async () => {
    const record = started('exec sleep 60');
    const recycled = { ...record, startTime: '1' };
    expect(isAlive(recycled)).toBe(false);
    await endProcess(recycled, 100);
    expect(isAlive(record)).toBe(true);
    await endProcess(record, 5000);
  });

  test('that could not be started is not alive', () => {
    expect(isAlive(spawnDetached(['/no/such/program'], log, process.env))).toBe(false);
  });
});
