// Runs inside a network namespace of its own: changes elements of a set and a map; tells what stands after each change as one line of JSON.

import { openNftables } from '../../dist/platform/libnftables.js';
import { openElementChanges } from '../../dist/platform/nft-element-changes.js';

const run = openNftables();
const change = openElementChanges();
const mark = (number) => new Uint8Array(Uint32Array.of(number).buffer);
const address = Uint8Array.of(10, 9, 0, 1);
const of = (set, flush, add) => ({ family: 'netdev', table: 't', set, flush, add });

const withoutTable = attempt([of('m', true, null)]);
run(`table netdev t {
  set s { type mark; flags timeout; }
  map m { type ipv4_addr : mark; size 1; }
}`);
const first = attempt([
  of('m', true, { key: address, data: mark(7) }),
  of('s', false, { key: mark(7), timeoutMs: 3_600_000 }),
]);
// As an element is replaced, in a map that has room for one alone.
const second = attempt([of('m', true, { key: address, data: mark(8) })]);
const half = attempt([of('m', true, null), of('nothing', false, { key: mark(1) })]);
const last = attempt([of('m', true, null)]);
process.stdout.write(JSON.stringify({ withoutTable, first, second, half, last }));

function attempt(changes) {
  try {
    change(changes);
  } catch ({ code, message }) {
    return [code, message, ...standing()];
  }
  return standing();
}

function standing() {
  const { nftables } = JSON.parse(run('list ruleset'));
  return nftables.flatMap(({ map, set }) => (map ?? set)?.elem ?? []).map((each) => each.elem?.val ?? each);
}
