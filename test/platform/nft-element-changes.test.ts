import { execFileSync } from 'node:child_process';
import { fileURLToPath } from 'node:url';
import { expect, test } from 'vitest';

test('elements come, are replaced and go, all of a change or nothing of it', () => {
  const host = fileURLToPath(new URL('nft-element-changes-host.mjs', import.meta.url));
  const flags = process.getuid?.() === 0 ? '-n' : '-Urn';
  const refused = ['nftables', 'nftables refused a change of elements: error 2'];
  expect(JSON.parse(execFileSync('unshare', [flags, process.execPath, host], { encoding: 'utf8' }))).toEqual({
    withoutTable: refused,
    first: [7, ['10.9.0.1', 7]],
    second: [7, ['10.9.0.1', 8]],
    half: [...refused, 7, ['10.9.0.1', 8]],
    last: [7],
  });
});
