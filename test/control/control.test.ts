import { expect, test } from 'vitest';
import { VirtualNetwork } from './virtual-network.ts';

test('three agents started together share everything in the first map', () => {
  const net = new VirtualNetwork().start();
  const ms = net.runUntil(() => net.healthy(), 2000);
  console.log(ms, net.describe(), net.events.map((e) => `${e.at.toFixed(0)} ${e.node} ${JSON.stringify(e.event)}`));
  net.crash('r3');
  console.log(net.runUntil(() => net.healthy(), 3000));
  net.crash('r1');
  console.log(net.run(3000).describe());
  expect(ms).toBeLessThan(1200);
});
