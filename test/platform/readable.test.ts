import { execFileSync } from 'node:child_process';
import { fileURLToPath } from 'node:url';
import { expect, test } from 'vitest';

const host = fileURLToPath(new URL('readable-host.mjs', import.meta.url));

test('many descriptors are waited for on one thread, which leaves the others to whoever else works', () => {
  const env = { ...process.env, UV_THREADPOOL_SIZE: '2' };
  expect(JSON.parse(execFileSync(process.execPath, [host], { encoding: 'utf8', env, timeout: 15_000 }))).toEqual({
    signedBefore: true,
    order: ['5 true', '1 true', '5 again true', '0 false', '2 false', '3 false', '4 false', 'closed false'],
  });
});
