import { fileURLToPath } from 'node:url';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { type NamespaceHost, openNamespaceHost } from '../contract/namespace-host.ts';

let host: NamespaceHost;
beforeEach(() => {
  host = openNamespaceHost(fileURLToPath(new URL('links-host.mjs', import.meta.url)));
});
afterEach(() => host.close());

describe('a router', () => {
  test('starts while the cable of a link is out, and asks on the others', async () => {
    await host.ask('startEdge');
    expect(await host.ask('next', ['lan', 'query'])).toBe('10.77.0.1');
    expect(await host.ask('said')).toEqual([]);
  });

  test('goes on when a link loses its address: says so once, and asks there when it is back', async () => {
    await host.ask('startEdge');
    await host.ask('ip', ['address flush dev lan']);
    // By then a query was due as well.
    await host.ask('looks', 2);
    expect(await host.ask('said')).toEqual(['joins on lan: "lan" is no device of this host with an IPv4 address']);
    await host.ask('listen', 'lan');
    await host.ask('ip', ['address add 10.77.0.2/24 dev lan']);
    expect(await host.ask('next', ['lan', 'query'])).toBe('10.77.0.2');
    expect(await host.ask('said')).toEqual([]);
  });

  test('asks and hears on a link whose device was made anew', async () => {
    await host.ask('startEdge');
    await host.ask('looks', 1);
    await host.ask('makeAnew', 'lan');
    expect(await host.ask('next', ['lan', 'query'])).toBe('10.77.0.1');
    await host.ask('report', 'lan');
  });

  test('has few lines for many joins of no use', async () => {
    await host.ask('startEdge');
    const [first, ...others] = (await host.ask('unusable', 200)) as string[];
    expect(first).toBe('group: unusable');
    expect(new Set(others)).toEqual(new Set(['group: more are unusable']));
    expect(others.length).toBeLessThan(5);
  });
});

describe('a replica', () => {
  test('answers the routers on a device that was made anew, from an address that is its own', async () => {
    await host.ask('listen', 'web');
    await host.ask('startJoins');
    expect(await host.ask('next', ['web', 'join'])).toBe('10.78.0.21');
    await host.ask('makeAnew', 'web');
    expect(await host.ask('answer', 'web')).toBe('10.78.0.21');
  });
});

describe('the subnets of links', () => {
  test('are asked of the system once a second, however many senders are judged by them', async () => {
    const isOnLink = (atMs: number, address = '10.78.5.9'): Promise<unknown> =>
      host.ask('isOnLink', [atMs, 'web', address]);
    expect(await isOnLink(0)).toBe(false);
    expect(await isOnLink(0, '10.78.0.9')).toBe(true);
    await host.ask('ip', ['address add 10.78.5.1/25 dev web']);
    expect(await isOnLink(999)).toBe(false);
    expect(await isOnLink(1000)).toBe(true);
    expect(await isOnLink(1000, '10.78.5.128')).toBe(false);
  });

  test('are asked for before that when they have been forgotten, and of a link without a carrier too', async () => {
    const isOnLink = (): Promise<unknown> => host.ask('isOnLink', [0, 'dark', '10.79.0.9']);
    expect(await isOnLink()).toBe(true);
    await host.ask('ip', ['address flush dev dark']);
    expect(await isOnLink()).toBe(true);
    await host.ask('forget');
    expect(await isOnLink()).toBe(false);
  });
});
