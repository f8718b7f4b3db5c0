import { beforeEach, describe, expect, test } from 'vitest';
import { ipAddress } from '../../src/base/address.ts';
import { ok } from '../../src/base/result.ts';
import type { TcpFlow } from '../../src/base/tcp-flow.ts';
import { encodeSocketImage, type SocketImage } from '../../src/handoff/socket-image.ts';
import { askMs, freeAgainMs, Taking } from '../../src/handoff/taking.ts';

const flowOf = (clientPort: number): TcpFlow => ({
  ...{ client: ipAddress(4, 0x0a4d000bn), clientPort, servicePort: 80 },
});
const imageOf = ({ client, clientPort, servicePort }: TcpFlow): SocketImage => ({
  ...{ local: ipAddress(4, 0x0a4d0064n), localPort: servicePort, remote: client, remotePort: clientPort },
  ...{ sendSequence: 1, sendQueue: new Uint8Array(3), unsentBytes: 3 },
  ...{ receiveSequence: 1, receiveQueue: new Uint8Array(2), mss: 1448, sendScale: 7, receiveScale: 7 },
  ...{ selectiveAcks: true, timestamp: 9 },
  window: { sendUpdate: 1, send: 1000, sendMax: 1000, receive: 1000, receiveUpdate: 1 },
});
const rest = (): Promise<void> => new Promise((resolve) => setImmediate(resolve));

let log: string[];
/** Those that have neither fired nor been cancelled. */
let timers: Set<{ readonly ms: number; readonly run: () => void }>;
/** What throws, by its line in the log, and how often. */
let failing: Map<string, number>;
let taking: Taking;

/** Says what is done, unless it fails. */
function does(line: string): void {
  log.push(line);
  const times = failing.get(line) ?? 0;
  failing.set(line, times - 1);
  if (times > 0) throw new Error(`${line}: no`);
}

beforeEach(() => {
  [log, timers, failing] = [[], new Set(), new Map()];
  const never = (): never => {
    throw new Error('a holder does that');
  };
  taking = new Taking(
    {
      send: async () => {},
      sockets: {
        ...{ exportSocket: never, isUnchanged: never, thaw: never },
        importSocket: ({ remotePort }) => remotePort + 1000,
        goLive: (descriptor) => does(`live ${descriptor}`),
        closeSilently: (descriptor) => does(`end ${descriptor}`),
        reset: (descriptor) => does(`reset ${descriptor}`),
        close: (descriptor) => does(`close ${descriptor}`),
      },
      now: () => 0,
      after(ms, run) {
        const timer = { ms, run };
        timers.add(timer);
        return () => void timers.delete(timer);
      },
      divert: async (flows, isDiverted) =>
        does(`${isDiverted ? 'hold' : 'free'} ${flows.map(({ clientPort }) => clientPort).join()}`),
      packetsArrived: async () => does('arrived'),
      objection: () => null,
      failed: (error) => void log.push(`failed: ${(error as Error).message}`),
      releasePackets() {
        does('release');
        return 0;
      },
    },
    {
      adopt: async () => ok(null),
      go: ({ clientPort }) => does(`go ${clientPort}`),
      drop: ({ clientPort }) => does(`drop ${clientPort}`),
    },
  );
});

async function settle(): Promise<void> {
  for (let turn = 0; turn < 20; turn++) await rest();
}

/** Takes the connections of these ports to where their holder has let go of those of `go`. */
async function take(ports: readonly number[], go = ports): Promise<void> {
  const images = ports.map((port, index) => ({
    ...{ index, socket: encodeSocketImage(imageOf(flowOf(port))) },
    ...{ state: new Uint8Array(), unread: new Uint8Array() },
  }));
  await taking.receive('a', { kind: 'hold', batch: 1, flows: ports.map(flowOf) });
  await taking.receive('a', { kind: 'images', batch: 1, images });
  await taking.receive('a', { kind: 'decided', batch: 1, go: go.map((port) => ports.indexOf(port)) });
  await settle();
}

async function pass(ms: number): Promise<void> {
  for (const timer of [...timers]) {
    if (timer.ms > ms) continue;
    timers.delete(timer);
    timer.run();
  }
  await settle();
}

const freed = ['release', 'arrived', 'release'];
const live = ['live 1001', 'close 1001', 'go 1'];

describe('packets that the kernel diverts', () => {
  test('while their flow is taken are let in, and are diverted no more', async () => {
    await take([1]);
    expect(log).toEqual(['hold 1', ...live, 'release', 'free 1', ...freed]);
    expect(timers).toEqual(new Set());
  });

  test('and goes on diverting are let in meanwhile, until it lets go of them', async () => {
    failing.set('free 1', 2);
    await take([1]);
    // What failed is told once, however long it lasts.
    const begun = ['hold 1', ...live, 'release', 'free 1', 'failed: free 1: no', 'release'];
    expect(log).toEqual(begun);
    await pass(freeAgainMs);
    expect(log.slice(begun.length)).toEqual(['free 1', 'release']);
    await pass(freeAgainMs);
    expect(log.slice(begun.length + 2)).toEqual(['free 1', ...freed]);
    await taking.idle();
    expect(timers).toEqual(new Set());
  });

  test('and goes on diverting are of a move that is not over', async () => {
    failing.set('free 1', 1);
    await take([1]);
    await taking.receive('a', { kind: 'hold', batch: 2, flows: [flowOf(1)] });
    await settle();
    expect(log.filter((line) => line === 'hold 1')).toHaveLength(1);
    await pass(freeAgainMs);
    await taking.receive('a', { kind: 'hold', batch: 3, flows: [flowOf(1)] });
    await settle();
    expect(log.filter((line) => line === 'hold 1')).toHaveLength(2);
    taking.giveUp();
  });

  test('at the end of this side are asked for once more, and no timer is left', async () => {
    failing.set('free 1', Number.POSITIVE_INFINITY);
    await take([1]);
    const before = log.length;
    expect([...timers].map(({ ms }) => ms)).toEqual([freeAgainMs]);
    taking.giveUp();
    await taking.idle();
    expect(log.slice(before)).toEqual(['free 1', ...freed]);
    expect(timers).toEqual(new Set());
  });

  test('after the end of this side are not asked for again', async () => {
    failing.set('free 1', Number.POSITIVE_INFINITY);
    await taking.receive('a', { kind: 'hold', batch: 1, flows: [flowOf(1)] });
    await settle();
    expect([...timers].map(({ ms }) => ms)).toContain(askMs);
    taking.giveUp();
    await taking.idle();
    expect(log).toEqual(['hold 1', 'release', 'free 1', 'failed: free 1: no', ...freed]);
    expect(timers).toEqual(new Set());
  });

  test.each([1, 2, 3])('are diverted no more when %i times they cannot be let in', async (times) => {
    failing.set('release', times);
    await take([1]);
    expect(log.filter((line) => line === 'free 1')).toHaveLength(1);
    expect(log.filter((line) => line === 'failed: release: no')).toHaveLength(times);
    expect(log.filter((line) => line === 'release')).toHaveLength(3);
    await taking.idle();
  });

  test('are diverted no more when a connection that stays elsewhere cannot be ended here', async () => {
    failing.set('end 1001', 1);
    await take([1, 2], [2]);
    expect(log).toContain('failed: end 1001: no');
    expect(log).toContain('go 2');
    expect(log).toContain('free 1,2');
  });
});

describe('a connection that does not go live whole', () => {
  test('is reset and dropped, and its application does not go on with it', async () => {
    failing.set('live 1001', 1);
    await take([1, 2]);
    expect(log).toEqual([
      ...['hold 1,2', 'live 1001', 'failed: live 1001: no', 'drop 1', 'reset 1001'],
      ...['live 1002', 'close 1002', 'go 2'],
      ...['release', 'free 1,2', ...freed],
    ]);
  });

  test('is dropped also when it cannot be reset', async () => {
    failing.set('live 1001', 1).set('reset 1001', 1);
    await take([1, 2]);
    expect(log).toContain('drop 1');
    expect(log).toContain('failed: reset 1001: no');
    expect(log).not.toContain('go 1');
    expect(log).toContain('go 2');
    expect(log).toContain('free 1,2');
  });
});
