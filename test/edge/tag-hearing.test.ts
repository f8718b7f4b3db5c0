import { expect, test } from 'vitest';
import { ipAddress } from '../../src/base/address.ts';
import { partsOf } from '../../src/control/transfer.ts';
import { createTagHearing, type OnTags } from '../../src/edge/tag-hearing.ts';
import { encodeMessage } from '../../src/wire/control-message.ts';
import { encodeTags, taggedMax, tagsBytesMax } from '../../src/wire/tagged-flows.ts';

const flows = Array.from({ length: 300 }, (_, i) => ({
  client: ipAddress(4, BigInt(i)),
  clientPort: 40_000,
  servicePort: 80,
}));
const said = { number: 3, isWhole: true, flows };
const bodies = partsOf('tags', 1, encodeTags(said));

function listening() {
  const heard: Parameters<OnTags>[] = [];
  const hear = createTagHearing(['r1', 'r2'], (...each) => heard.push(each));
  return { hear, heard };
}

test('what replicas say in parts is heard once it is whole, each by itself and in any order', () => {
  const { hear, heard } = listening();
  expect(bodies).toHaveLength(3);
  for (const [counter, body] of [...bodies].reverse().entries()) {
    expect(heard).toEqual([]);
    hear({ sender: 'r1', session: 7, counter, body });
    if (counter === 0) hear({ sender: 'r2', session: 7, counter, body });
  }
  expect(heard).toEqual([['r1', 7, said]]);
});

test('a stranger, a recorded datagram, another message and one that is too long are not heard', () => {
  const { hear, heard } = listening();
  const [same = new Uint8Array()] = partsOf('tags', 2, encodeTags({ number: 3, isWhole: false, flows: [] }));
  hear({ sender: 'r9', session: 7, counter: 0, body: same });
  hear({ sender: 'r1', session: 7, counter: 0, body: same });
  hear({ sender: 'r1', session: 7, counter: 0, body: same });
  hear({ sender: 'r1', session: 6, counter: 1, body: same });
  hear({ sender: 'r1', session: 7, counter: 1, body: encodeMessage({ kind: 'tagged', session: 1, number: 1 }) });
  hear({ sender: 'r1', session: 7, counter: 2, body: Uint8Array.of(99) });
  const [kept = new Uint8Array()] = partsOf('kept', 3, encodeTags(said));
  hear({ sender: 'r1', session: 7, counter: 3, body: kept });
  for (const [i, body] of partsOf('tags', 4, new Uint8Array(tagsBytesMax + 1)).entries()) {
    hear({ sender: 'r1', session: 7, counter: 4 + i, body });
  }
  expect(heard).toEqual([['r1', 7, { number: 3, isWhole: false, flows: [] }]]);
});

test('as many flows as one replica may name are heard', () => {
  const { hear, heard } = listening();
  const most = { ...said, flows: Array.from({ length: taggedMax }, () => ({ ...flows[0], clientPort: 1 })) };
  const parts = partsOf('tags', 1, encodeTags(most as typeof said));
  for (const [counter, body] of parts.entries()) hear({ sender: 'r1', session: 7, counter, body });
  expect(heard.map(([, , { flows }]) => flows.length)).toEqual([taggedMax]);
});
