import { closeSync } from 'node:fs';
import type { Socket } from 'node:net';
import { afterEach, describe, expect, test } from 'vitest';
import { ioctl, setsockopt } from '../../src/platform/libc.ts';
import {
  codeOf,
  descriptorCount,
  eventually,
  type Frozen,
  type Machine,
  received,
  type TwoMachines,
  twoMachines,
} from './two-machines.ts';

const IPPROTO_TCP = 6;
const TCP_REPAIR = 19;
const FIONREAD = 0x541b;

let machines: TwoMachines | null = null;

async function serving(kind = 'lines', env: Readonly<Record<string, string>> = {}): Promise<TwoMachines> {
  machines = await twoMachines(kind, env);
  return machines;
}

afterEach(async () => {
  await machines?.close();
  machines = null;
});

/** A client whose application has read a line, and the unfinished line after it. */
async function clientWith({ connect }: TwoMachines, unfinished: string | Buffer) {
  const client = await connect();
  const answers = received(client);
  client.write(Buffer.concat([Buffer.from('one\n'), Buffer.from(unfinished)]));
  await answers.until('a 1 one\n');
  return { client, answers };
}

async function frozen({ a, flowOf }: TwoMachines, client: Socket): Promise<Extract<Frozen, { ok: true }>['value']> {
  const [outcome] = await a.endpoint.freeze([flowOf(client)]);
  if (!outcome?.ok) throw new Error(codeOf(outcome));
  return outcome.value;
}

describe('a connection with state', () => {
  test('goes on in another process, whose listener does not greet it again', async () => {
    const { a, connect, flowOf, move } = await serving();
    const client = await connect();
    const answers = received(client);
    client.write('one\ntwo\n');
    await answers.until('a 2 two\n');
    expect(await move(flowOf(client))).toBe('moved');
    client.write('three\n');
    expect(await answers.until('three\n')).toBe('welcome\na 1 one\na 2 two\nb 3 three\n');
    await eventually(() => a.said.includes('close'));
    expect(a.said.slice(1)).toEqual(['moved', 'close']);
    client.destroy();
  });

  test('comes back, and moves again', async () => {
    const { a, b, connect, flowOf, move } = await serving();
    const client = await connect();
    const answers = received(client);
    const flow = flowOf(client);
    client.write('one\n');
    await answers.until('a 1 one\n');
    expect(await move(flow)).toBe('moved');
    const [back] = await b.endpoint.freeze([flow]);
    if (!back?.ok) throw new Error(codeOf(back));
    expect(await a.endpoint.adopt({ flow, ...back.value })).toEqual({ ok: true, value: undefined });
    closeSync(back.value.descriptor);
    expect([b.endpoint.moved(flow), a.endpoint.go(flow)]).toEqual([true, true]);
    client.write('two\n');
    await answers.until('a 2 two\n');
    expect(await move(flow)).toBe('moved');
    client.write('three\n');
    await answers.until('b 3 three\n');
    client.destroy();
  });

  test('takes along what the application has not read', async () => {
    const two = await serving();
    const { client, answers } = await clientWith(two, 'pause\n');
    // Node reads on while the application does not.
    client.write('un');
    await new Promise((resolve) => client.write('read\n', resolve));
    const { unread, state, descriptor } = await eventuallyUnread(two, client, 'unread\n');
    const flow = two.flowOf(client);
    expect(Buffer.from(unread).toString()).toBe('unread\n');
    expect(await two.b.endpoint.adopt({ flow, state, unread, descriptor })).toMatchObject({ ok: true });
    two.a.endpoint.moved(flow);
    two.b.endpoint.go(flow);
    closeSync(descriptor);
    await answers.until('b 2 unread\n');
    client.destroy();
  });

  test('takes along the bytes of a character that is not whole', async () => {
    const two = await serving('lines', { ENCODING: 'utf8' });
    const { client, answers } = await clientWith(two, Buffer.from('€').subarray(0, 2));
    expect(await two.move(two.flowOf(client))).toBe('moved');
    client.write(Buffer.from('€\n').subarray(2));
    await answers.until('b 2 €\n');
    client.destroy();
  });

  test('has its unread bytes again when it stays', async () => {
    const two = await serving();
    const { client, answers } = await clientWith(two, 'pause\n');
    await new Promise((resolve) => client.write('unread\n', resolve));
    const { descriptor } = await eventuallyUnread(two, client, 'unread\n');
    closeSync(descriptor);
    two.a.endpoint.thaw(two.flowOf(client));
    two.a.process.kill('SIGUSR2');
    await answers.until('a 2 unread\n');
    client.destroy();
  });

  test('sends what was written before the export ended, and the rest only if it stays', async () => {
    const two = await serving();
    const stays = await clientWith(two, 'write');
    closeSync((await frozen(two, stays.client)).descriptor);
    await stays.answers.until('exporting\n');
    expect(stays.answers.text()).not.toContain('later');
    two.a.endpoint.thaw(two.flowOf(stays.client));
    await stays.answers.until('exporting\nlater\n');

    const moves = await clientWith(two, 'write');
    expect(await two.move(two.flowOf(moves.client))).toBe('moved');
    moves.client.write('\n');
    expect(await moves.answers.until('b 2 write\n')).toBe('welcome\na 1 one\nexporting\nb 2 write\n');
    stays.client.destroy();
    moves.client.destroy();
  });

  test('reads nothing while it stands still, and all of it afterwards', async () => {
    const two = await serving();
    const { client, answers } = await clientWith(two, '');
    const { descriptor } = await frozen(two, client);
    client.write('two\n');
    await turnOf(two.a);
    expect(unreadByNode(descriptor)).toBe(4);
    two.a.endpoint.thaw(two.flowOf(client));
    closeSync(descriptor);
    await answers.until('a 2 two\n');
    client.destroy();
  });

  test('reads nothing either when the application reads again meanwhile', async () => {
    const two = await serving();
    const { client, answers } = await clientWith(two, 'pause\n');
    // More than Node reads ahead.
    const line = 'x'.repeat(100_000);
    await new Promise((resolve) => client.write(line, resolve));
    const { descriptor, unread } = await eventuallyUnread(two, client, line.slice(0, 65_536));
    const arrived = (): number => unread.length + unreadByNode(descriptor);
    await eventually(() => arrived() === line.length);
    await turnOf(two.a);
    client.write('\n');
    await turnOf(two.a);
    expect(arrived()).toBe(line.length + 1);
    two.a.endpoint.thaw(two.flowOf(client));
    closeSync(descriptor);
    await answers.until(`a 2 ${line}\n`);
    client.destroy();
  });

  test('loses and doubles nothing in the middle of a stream at full speed', async () => {
    const two = await serving('stream');
    const client = await two.connect();
    const sums = followStream(client);
    await eventually(() => sums.lines > 1000);
    expect(await two.move(two.flowOf(client))).toBe('moved');
    const atMove = sums.lines;
    await eventually(() => sums.lines > atMove + 1000);
    expect(sums.wrong).toBe('');
    client.destroy();
  });
});

describe('a connection stays, and goes on, when', () => {
  test.each([
    ['the application says no', 'keep', 'application: the application keeps it for now'],
    ['the application throws', 'throw', 'application: exportState: not now'],
    ['its state is too large', 'large', 'too-large: state of 1048577 bytes, at most 1048576'],
    ['the other application refuses it', 'refuse', 'application: no room'],
  ])('%s', async (_why, unfinished, reason) => {
    const two = await serving();
    const { client, answers } = await clientWith(two, unfinished);
    expect(await two.move(two.flowOf(client))).toBe(reason);
    client.write('\n');
    await answers.until(`a 2 ${unfinished}\n`);
    client.destroy();
  });

  test('its client takes nothing', async () => {
    const two = await serving('stream');
    const stuck = async () => {
      const client = await two.connect();
      const sums = followStream(client);
      client.pause();
      await eventually(() => client.readableLength > 0);
      return { client, sums, outcome: await two.move(two.flowOf(client)) };
    };
    // One whose queues were not full yet has moved.
    let last = await stuck();
    for (let i = 0; i < 20 && !last.outcome.startsWith('busy: written data'); i++) {
      last.client.destroy();
      last = await stuck();
    }
    const { client, sums, outcome } = last;
    expect(outcome).toMatch(/^busy: written data/);
    client.resume();
    await eventually(() => sums.lines > 1000);
    expect(sums.wrong).toBe('');
    client.destroy();
  });

  test('its client has closed its direction', async () => {
    const two = await serving();
    const { client } = await clientWith(two, '');
    client.end();
    await eventuallyAsync(async () => /^(closing|unknown): /.test(await two.move(two.flowOf(client))));
    client.destroy();
  });
});

test('a connection that nobody knows, or of a port that nobody serves, is refused', async () => {
  const { a, flowOf, move } = await serving();
  expect(await move(flowOf({ localPort: 1 }))).toBe('unknown: no such connection here');
  const elsewhere = { ...flowOf({ localPort: 1 }), servicePort: 1 };
  expect(await a.endpoint.freeze([elsewhere])).toMatchObject([
    { ok: false, code: 'unknown', reason: 'no application with the SDK serves port 1' },
  ]);
});

describe('an application that ends', () => {
  test('while it exports is gone, and its port with it', async () => {
    const two = await serving();
    const { client } = await clientWith(two, 'die');
    expect(await two.move(two.flowOf(client))).toBe('gone: the application has ended');
    expect(two.a.endpoint.ports()).toEqual([]);
    client.destroy();
  });

  test('while it imports leaves the connection where it was', async () => {
    const two = await serving();
    const { client, answers } = await clientWith(two, 'perish');
    expect(await two.move(two.flowOf(client))).toBe('gone: the application has ended');
    client.write('\n');
    await answers.until('a 2 perish\n');
    client.destroy();
  });

  test('between adoption and go is told of', async () => {
    const two = await serving();
    const { client } = await clientWith(two, '');
    const flow = two.flowOf(client);
    const value = await frozen(two, client);
    expect(await two.b.endpoint.adopt({ flow, ...value })).toMatchObject({ ok: true });
    two.b.process.kill('SIGKILL');
    await eventually(() => two.b.endpoint.ports().length === 0);
    expect(two.b.endpoint.go(flow)).toBe(false);
    closeSync(value.descriptor);
    client.destroy();
  });
});

test('whose agent ends while it stands still, a connection goes on', async () => {
  const two = await serving();
  const { client, answers } = await clientWith(two, '');
  closeSync((await frozen(two, client)).descriptor);
  await two.a.endpoint.close();
  client.write('two\n');
  await answers.until('a 2 two\n');
  client.destroy();
});

describe.skipIf(process.getuid?.() !== 0)('in repair mode', () => {
  const repair = (descriptor: number, on: boolean): void =>
    setsockopt(descriptor, IPPROTO_TCP, TCP_REPAIR, Uint8Array.of(on ? 1 : 0, 0, 0, 0));

  test('a connection that has moved is closed without a word to its client', async () => {
    const two = await serving();
    const { client } = await clientWith(two, '');
    const { descriptor } = await frozen(two, client);
    repair(descriptor, true);
    two.a.endpoint.moved(two.flowOf(client));
    await eventually(() => two.a.said.includes('close'));
    closeSync(descriptor);
    // Nobody has it any more: what the client sends is answered by a RST, and nothing was said before.
    expect(client.readyState).toBe('open');
    const error = new Promise<NodeJS.ErrnoException>((resolve) => client.once('error', resolve));
    client.write('two\n');
    expect((await error).code).toBe('ECONNRESET');
  });

  test('a connection whose agent ends is closed without a word: it may have moved', async () => {
    const two = await serving();
    const { client } = await clientWith(two, '');
    const { descriptor } = await frozen(two, client);
    repair(descriptor, true);
    closeSync(descriptor);
    await two.a.endpoint.close();
    await eventually(() => two.a.said.includes('close'));
    expect(two.a.said.slice(1)).toEqual(['moved', 'close']);
    expect(client.readyState).toBe('open');
    client.destroy();
  });

  test('a connection is adopted, and goes on once it is out of it', async () => {
    const two = await serving();
    const { client, answers } = await clientWith(two, '');
    const flow = two.flowOf(client);
    const value = await frozen(two, client);
    two.a.endpoint.moved(flow);
    await eventually(() => two.a.said.includes('close'));
    repair(value.descriptor, true);
    expect(await two.b.endpoint.adopt({ flow, ...value })).toMatchObject({ ok: true });
    client.write('two\n');
    await turnOf(two.b);
    expect(unreadByNode(value.descriptor)).toBe(4);
    repair(value.descriptor, false);
    closeSync(value.descriptor);
    two.b.endpoint.go(flow);
    await answers.until('b 2 two\n');
    client.destroy();
  });
});

test('no descriptor is left behind', async () => {
  const two = await serving();
  const count = () => [process.pid, two.a.process.pid, two.b.process.pid].map(descriptorCount);
  const all = async (unfinished: string, result: string) => {
    for (let i = 0; i < 10; i++) {
      const { client } = await clientWith(two, unfinished);
      expect(await two.move(two.flowOf(client))).toContain(result);
      const closed = new Promise((resolve) => client.once('close', resolve));
      client.destroy();
      await closed;
    }
  };
  await all('', 'moved');
  const before = count();
  await all('', 'moved');
  await all('keep', 'application');
  await all('refuse', 'application');
  // The last connection of those before may still have been closing.
  await eventually(() => count().every((each, i) => each <= (before[i] ?? 0)));
});

test('at a convenient point the application is asked to end the connection', async () => {
  const two = await serving();
  const { client, answers } = await clientWith(two, '');
  two.a.endpoint.finish([two.flowOf(client)]);
  await answers.until('goodbye\n');
  client.destroy();
});

/** Counts numbered lines, and says what is wrong with them. */
function followStream(client: Socket): { lines: number; wrong: string } {
  const sums = { lines: 0, wrong: '' };
  let rest = '';
  client.on('data', (chunk) => {
    const lines = (rest + String(chunk)).split('\n');
    rest = lines.pop() ?? '';
    for (const line of lines) {
      const wanted = `${sums.lines} ${'x'.repeat(sums.lines % 5000)}`;
      if (line !== wanted && !sums.wrong) sums.wrong = `${line.slice(0, 20)} instead of ${wanted.slice(0, 20)}`;
      sums.lines++;
    }
  });
  return sums;
}

/** The application resumes its sockets, and then does whatever its event loop has for it. */
async function turnOf({ process, said }: Machine): Promise<void> {
  const turns = (): number => said.filter((each) => each === 'resumed').length;
  const before = turns();
  process.kill('SIGUSR2');
  await eventually(() => turns() > before);
}

/** Bytes that have arrived and are in the kernel. */
function unreadByNode(descriptor: number): number {
  const bytes = new Uint8Array(4);
  ioctl(descriptor, FIONREAD, bytes);
  return new DataView(bytes.buffer).getInt32(0, true);
}

/** Freezes again until Node has read that much and the application has not. */
async function eventuallyUnread(two: TwoMachines, client: Socket, wanted: string) {
  for (let i = 0; i < 500; i++) {
    const value = await frozen(two, client);
    if (Buffer.from(value.unread).toString().startsWith(wanted)) return value;
    closeSync(value.descriptor);
    two.a.endpoint.thaw(two.flowOf(client));
    await new Promise((resolve) => setTimeout(resolve, 5));
  }
  throw new Error(`never unread: ${wanted}`);
}

async function eventuallyAsync(what: () => Promise<boolean>): Promise<void> {
  for (let i = 0; i < 20; i++) if (await what()) return;
  throw new Error(`not so: ${what}`);
}
