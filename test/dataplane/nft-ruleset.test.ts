import { expect, test } from 'vitest';
import { divertedBy } from '../../src/dataplane/diversions.ts';
import { holdDeviceOf } from '../../src/dataplane/forwarding-table.ts';
import { addTransactions, divertTransaction } from '../../src/dataplane/nft-diversions.ts';
import {
  changeTransactions,
  fingerprintOf,
  installTransactions,
  removeTransaction,
} from '../../src/dataplane/nft-ruleset.ts';
import { serviceWith, tableOf } from '../contract/data-plane-contract.ts';
import { diverting, releasing } from '../contract/diversions-contract.ts';

const service = serviceWith('0.0.0.255', { name: 'my-web' });

test('the whole table, as installed', async () => {
  await expect(`${installTransactions(tableOf(service, [0, 7, 255])).join('\n---\n')}\n`).toMatchFileSnapshot(
    '../golden/install.nft',
  );
});

test('a change names only what changes, in one transaction', async () => {
  const [change, ...more] = changeTransactions(tableOf(service, [1, 2, 3]), tableOf(service, [3, 4]));
  expect(more).toEqual([]);
  await expect(`${change}\n`).toMatchFileSnapshot('../golden/change.nft');
});

test('no change needs no transaction', () => {
  expect(changeTransactions(tableOf(service, [1]), tableOf(service, [1]))).toEqual([]);
});

test('a change too large for one transaction gives slots up before it takes any', () => {
  const wide = serviceWith('0.0.255.255');
  const low = Array.from({ length: 5000 }, (_, slot) => slot);
  const high = low.map((slot) => slot + 5000);
  const verbs = changeTransactions(tableOf(wide, low), tableOf(wide, high)).map((transaction) =>
    transaction.split('\n').map((command) => command.split(' ', 4).slice(0, 4).join(' ')),
  );
  const kinds = verbs.map((commands) => [...new Set(commands.map((command) => command.split(' ')[0]))].join());
  expect(kinds).toEqual([...Array<string>(4).fill('delete'), 'delete,add', ...Array<string>(5).fill('add')]);
});

test('a table made by other rules, or for another service, is not taken for this one', () => {
  const others = [serviceWith('0.0.0.127'), serviceWith('0.0.0.255', { device: 'eth1' }), serviceWith('0.0.0.255')];
  const prints = [service, ...others].map(fingerprintOf);
  expect(new Set(prints.slice(0, 3)).size).toBe(3);
  // The name is the table's own.
  expect(prints[3]).toBe(prints[0]);
});

test('removal works whether the table is there or not', () => {
  expect(removeTransaction(service)).toBe(
    ['netdev', 'ip'].map((family) => `add table ${family} mc_my_web\ndelete table ${family} mc_my_web`).join('\n'),
  );
});

test('a flow that is diverted is one element, and the hold device is written anew with it', () => {
  const from = divertedBy(new Map(), [diverting('10.0.0.2'), diverting('10.0.0.3')]);
  const changes = [diverting('10.0.0.1'), releasing('10.0.0.2'), diverting('10.0.0.3'), releasing('10.0.0.4')];
  const to = divertedBy(from, changes);
  expect(divertTransaction(service, 'mc_my_web', { from, to, changes })).toBe(`flush map netdev mc_my_web hold_device
add element netdev mc_my_web hold_device { 10.77.0.100 : "mch-my-web" }
delete element netdev mc_my_web diverted { 10.0.0.2 . 40000 . 80 }
add element netdev mc_my_web diverted { 10.0.0.1 . 40000 . 80 }`);
  expect(divertTransaction(service, 'mc_my_web', { from: to, to, changes: [releasing('10.0.0.4')] })).toBe('');
  const rule = 'ip frag-off & 0x1fff == 0 ip saddr . tcp sport . tcp dport @diverted goto divert';
  const first = divertTransaction(service, 'mc_my_web', { from: new Map(), to: from, changes });
  expect(first).toContain(`\nadd rule netdev mc_my_web diverting ${rule}\n`);
  const last = divertTransaction(service, 'mc_my_web', { from, to: new Map(), changes });
  expect(last).toMatch(/\nflush chain netdev mc_my_web diverting$/);
  expect(addTransactions('mc_my_web', to)).toEqual([
    `add rule netdev mc_my_web diverting ${rule}\n` +
      'add element netdev mc_my_web diverted { 10.0.0.3 . 40000 . 80, 10.0.0.1 . 40000 . 80 }',
  ]);
});

test('the hold device is named for its service, as short as Linux wants it and unlike that of any other', () => {
  const names = ['web', 'eleven-char', 'production-web', 'production-api'].map((name) =>
    holdDeviceOf(serviceWith('0.0.0.255', { name })),
  );
  expect(names.slice(0, 2)).toEqual(['mch-web', 'mch-eleven-char']);
  expect(names[2]).toMatch(/^mch-prod-[0-9a-f]{6}$/);
  expect(new Set(names).size).toBe(4);
  expect(holdDeviceOf(serviceWith('0.0.0.255', { holdDevice: 'tap7' }))).toBe('tap7');
});
