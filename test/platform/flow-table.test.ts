import { execFileSync } from 'node:child_process';
import { fileURLToPath } from 'node:url';
import { expect, test } from 'vitest';

test('flows of a service are listed, found one by one and destroyed, whether its server listens on IPv4 or on both families', () => {
  const host = fileURLToPath(new URL('flow-table-host.mjs', import.meta.url));
  const flags = process.getuid?.() === 0 ? '-n' : '-Urn';
  const said = execFileSync('unshare', [flags, process.execPath, host], { encoding: 'utf8' });
  const wanted = {
    clients: [7, 8],
    clientEnds: 0,
    found: true,
    destroyed: 1,
    again: 0,
    first: 'ECONNRESET',
    secondAlive: true,
    left: 1,
  };
  expect(JSON.parse(said)).toEqual([
    { host: '0.0.0.0', ...wanted },
    { host: '::', ...wanted },
  ]);
});
