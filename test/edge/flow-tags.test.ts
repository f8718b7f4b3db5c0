import { expect, test } from 'vitest';
import { ipAddress } from '../../src/base/address.ts';
import { flowKey } from '../../src/base/tcp-flow.ts';
import { tagKey } from '../../src/dataplane/edge.ts';
import { createTagsOf, flowsOf } from '../../src/edge/flow-tags.ts';

const flow = { client: ipAddress(4, 0xc633_6407n), clientPort: 40_000, servicePort: 80 };
const address = ipAddress(4, 0x0a4d_000bn);
const flows = new Map([[flowKey(flow), { address, link: 'lan' }]]);
const hop = { address, device: 'lan' };

test('the tags of flows are those of the kernel, and back; datagrams are no connection', () => {
  const tags = createTagsOf()(flows);
  expect(tags).toEqual(new Map([[tagKey({ protocol: 'tcp', ...flow }), hop]]));
  expect(flowsOf(new Map([...tags, [tagKey({ protocol: 'udp', ...flow }), hop]]))).toEqual(flows);
});

test('the same flows have the same tags, and others have others', () => {
  const tagsOf = createTagsOf();
  const first = tagsOf(flows);
  expect(tagsOf(flows)).toBe(first);
  expect(tagsOf(new Map())).toEqual(new Map());
});
