import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { ipAddress } from '../../src/base/address.ts';
import { flowKey } from '../../src/base/tcp-flow.ts';
import {
  type AgentMessage,
  decodeAgentMessage,
  decodeApplicationMessage,
  encodeAgentMessage,
  lineReader,
  stateBytesMax,
} from '../../src/sdk/message.ts';

const port = fc.integer({ min: 1, max: 65_535 });
const address = fc.oneof(
  fc.bigInt({ min: 0n, max: 2n ** 32n - 1n }).map((value) => ipAddress(4, value)),
  fc.bigInt({ min: 0n, max: 2n ** 128n - 1n }).map((value) => ipAddress(6, value)),
);
const flow = fc.record({ client: address, clientPort: port, servicePort: port });
const adoption = fc.record({
  type: fc.constant('adopt' as const),
  id: fc.nat(),
  flow,
  state: fc.uint8Array({ maxLength: 100 }).map((bytes) => Buffer.from(bytes)),
  unread: fc.uint8Array({ maxLength: 100 }).map((bytes) => Buffer.from(bytes)),
  descriptor: fc.nat(),
});

test('a message is read as it was written, whatever is in it', () => {
  fc.assert(
    fc.property(adoption, (message: AgentMessage) => {
      const line = encodeAgentMessage(message);
      expect(line.indexOf('\n')).toBe(line.length - 1);
      expect(decodeAgentMessage(line)).toEqual({ ok: true, value: message });
    }),
  );
});

const client = fc.record({
  client: fc.bigInt({ min: 0n, max: 2n ** 32n - 1n }).map((value) => ipAddress(4, value)),
  clientPort: fc.integer({ min: 0, max: 65_535 }),
});
const filter = fc.record({ value: address, mask: address }).map(({ value, mask }) => {
  const bits = { family: value.family, value: mask.value & (2n ** (value.family === 4 ? 32n : 128n) - 1n) };
  return { value: { family: value.family, value: value.value & bits.value }, mask: bits };
});

test('what is said of datagrams is read as it was written', () => {
  const share = fc.record({
    type: fc.constant('share' as const),
    ...{ id: fc.nat(), port, by: fc.constantFrom('kernel' as const, 'application' as const, 'everybody' as const) },
    ...{ filters: fc.array(filter), kept: fc.array(client), foreign: fc.array(client), idleMs: fc.nat() },
  });
  const state = fc.uint8Array({ maxLength: 100 }).map((bytes) => Buffer.from(bytes));
  const sessions = fc.array(
    fc.record({ end: client, state }).map(({ end, ...rest }) => ({ ...end, ...rest })),
    { maxLength: 64 },
  );
  const imports = fc.record({ type: fc.constant('import' as const), id: fc.nat(), port, sessions });
  fc.assert(
    fc.property(fc.oneof(share, imports), (message: AgentMessage) => {
      expect(decodeAgentMessage(encodeAgentMessage(message))).toEqual({ ok: true, value: message });
    }),
  );
});

test.each([
  ['a client without a port', { type: 'gone', port: 7, clients: ['192.0.2.1'] }],
  ['a client of a port that there is not', { type: 'gone', port: 7, clients: ['192.0.2.1:65536'] }],
  ['a client of IPv6', { type: 'gone', port: 7, clients: ['[2001:db8::1]:1'] }],
  ['a value with bits that its mask has not', { ...shareLine(), filters: ['0.0.0.8/0.0.0.7'] }],
  ['a filter without a mask', { ...shareLine(), filters: ['0.0.0.1'] }],
  ['a state that is too long', { type: 'import', id: 1, port: 7, sessions: [sessionLine(32 * 1024 + 1)] }],
  ['more sessions than go together', { type: 'import', id: 1, port: 7, sessions: Array(65).fill(sessionLine(1)) }],
])('%s is refused', (_what, message) => {
  expect(decodeAgentMessage(JSON.stringify(message)).ok).toBe(false);
});

function shareLine() {
  return {
    type: 'share',
    id: 1,
    port: 7,
    by: 'kernel',
    filters: ['0.0.0.1/0.0.0.7'],
    kept: [],
    foreign: [],
    idleMs: 0,
  };
}

function sessionLine(bytes: number) {
  return { client: '192.0.2.1:1', state: Buffer.alloc(bytes).toString('base64') };
}

test('a share is read', () => {
  expect(decodeAgentMessage(JSON.stringify(shareLine()))).toMatchObject({ ok: true, value: { by: 'kernel' } });
});

test('anything else is refused or read, and never thrown', () => {
  fc.assert(
    fc.property(
      fc.oneof(
        fc.string(),
        fc.json(),
        fc.jsonValue().map((value) => JSON.stringify(value)),
      ),
      (line) => {
        expect(typeof decodeApplicationMessage(line).ok).toBe('boolean');
      },
    ),
  );
});

test('fields of later versions are passed by', () => {
  const line = '{"type":"ports","ports":[80],"more":1}';
  expect(decodeApplicationMessage(line)).toEqual({ ok: true, value: { type: 'ports', ports: [80] } });
});

describe('a message is refused that has', () => {
  const frozen = {
    type: 'frozen',
    id: 1,
    flow: { client: '192.0.2.1', clientPort: 1, servicePort: 2 },
    state: '',
    unread: '',
    descriptor: 1,
  };
  test.each([
    ['no id', { id: undefined }, 'id'],
    ['an id that is no number', { id: '1' }, 'id'],
    ['a negative number', { descriptor: -1 }, 'descriptor'],
    ['no flow', { flow: null }, 'flow'],
    ['no address', { flow: { ...frozen.flow, client: 'localhost' } }, 'flow'],
    ['a port beyond the last', { flow: { ...frozen.flow, clientPort: 65_536 } }, 'flow'],
    ['a state that is not base64', { state: 'a b' }, 'state'],
    ['a state of more than 1 MiB', { state: Buffer.alloc(stateBytesMax + 1).toString('base64') }, 'state'],
  ])('%s', (_what, change, field) => {
    expect(decodeApplicationMessage(JSON.stringify({ ...frozen, ...change }))).toEqual({
      ok: false,
      reason: `frozen: ${field} is missing or not allowed`,
    });
    expect(decodeApplicationMessage(JSON.stringify(frozen)).ok).toBe(true);
  });
});

test('a state of 1 MiB is allowed', () => {
  const bytes = Buffer.alloc(stateBytesMax, 7);
  const message = {
    type: 'adopt',
    id: 1,
    flow: { client: ipAddress(4, 1n), clientPort: 1, servicePort: 2 },
    state: bytes,
    unread: bytes,
    descriptor: 1,
  } as const;
  const lines: string[] = [];
  expect(lineReader((line) => lines.push(line))(Buffer.from(encodeAgentMessage(message)))).toBe(true);
  const read = decodeAgentMessage(lines[0] ?? '');
  expect(
    read.ok && read.value.type === 'adopt' && bytes.equals(read.value.state) && bytes.equals(read.value.unread),
  ).toBe(true);
});

test('lines are the same however the stream is cut', () => {
  fc.assert(
    fc.property(
      fc.array(fc.string({ unit: 'grapheme' }).map((text) => text.replaceAll('\n', ''))),
      fc.integer({ min: 1, max: 7 }),
      (lines, size) => {
        const bytes = Buffer.from(lines.map((line) => `${line}\n`).join(''));
        const read: string[] = [];
        const reader = lineReader((line) => read.push(line));
        for (let at = 0; at < bytes.length; at += size) expect(reader(bytes.subarray(at, at + size))).toBe(true);
        expect(read).toEqual(lines);
      },
    ),
  );
});

test.each([
  ['with its end', '123456\n'],
  ['without one', '123456'],
])('a line that is too long, %s, is refused', (_what, text) => {
  const read: string[] = [];
  const reader = lineReader((line) => read.push(line), 5);
  expect(reader(Buffer.from('12345\n12'))).toBe(true);
  expect(reader(Buffer.from(text))).toBe(false);
  expect(read).toEqual(['12345']);
});

test('a flow has one name, however it was come by', () => {
  const named = decodeApplicationMessage(
    '{"type":"adopted","id":1,"flow":{"client":"2001:DB8::0:1","clientPort":5,"servicePort":80}}',
  );
  expect(named.ok && named.value.type === 'adopted' && flowKey(named.value.flow)).toBe('2001:db8::1 . 5 . 80');
});
