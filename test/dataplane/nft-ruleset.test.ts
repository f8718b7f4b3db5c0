import { expect, test } from 'vitest';
import { changeTransactions, installTransactions, removeTransaction } from '../../src/dataplane/nft-ruleset.ts';
import { serviceWith, tableOf } from '../contract/data-plane-contract.ts';

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
  const verbs = changeTransactions(tableOf(wide, low), tableOf(wide, high)).map(
    (transaction) => transaction.split(' ')[0],
  );
  expect(verbs).toEqual(['delete', 'delete', 'add', 'add']);
});

test('removal works whether the table is there or not', () => {
  expect(removeTransaction(service)).toBe('add table netdev mc_my_web\ndelete table netdev mc_my_web');
});
