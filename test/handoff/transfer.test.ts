import { beforeEach, describe, expect, test } from 'vitest';
import { ipAddress } from '../../src/base/address.ts';
import { defined } from '../../src/base/assert.ts';
import { ok, type Result, refuse } from '../../src/base/result.ts';
import type { TcpFlow } from '../../src/base/tcp-flow.ts';
import { type Given, Giving, patienceMs } from '../../src/handoff/giving.ts';
import type { SocketImage } from '../../src/handoff/socket-image.ts';
import { askMs, Taking, takerPatienceMs } from '../../src/handoff/taking.ts';
import { decodeTransfer, encodeTransfer, type TransferMessage } from '../../src/handoff/transfer-message.ts';
import type { Frozen, SocketRepair, TransferPorts } from '../../src/handoff/transfer-ports.ts';

const service = ipAddress(4, 0x0a4d0064n);
const flowOf = (clientPort: number): TcpFlow => ({
  ...{ client: ipAddress(4, 0x0a4d000bn), clientPort, servicePort: 80 },
});
const imageOf = ({ client, clientPort, servicePort }: TcpFlow): SocketImage => ({
  ...{ local: service, localPort: servicePort, remote: client, remotePort: clientPort },
  ...{ sendSequence: 1, sendQueue: new Uint8Array(3), unsentBytes: 0 },
  ...{ receiveSequence: 1, receiveQueue: new Uint8Array(2), mss: 1448, sendScale: 7, receiveScale: 7 },
  ...{ selectiveAcks: true, timestamp: 9 },
  window: { sendUpdate: 1, send: 1000, sendMax: 1000, receive: 1000, receiveUpdate: 1 },
});

/** Virtual time for both ends. */
class Hours {
  now = 0;
  #timers: { at: number; run: (() => void) | null }[] = [];
  after(ms: number, run: () => void): () => void {
    const timer: { at: number; run: (() => void) | null } = { at: this.now + ms, run };
    this.#timers.push(timer);
    return () => {
      timer.run = null;
    };
  }
  async pass(ms: number): Promise<void> {
    this.now += ms;
    for (const timer of this.#timers.filter(({ at }) => at <= this.now)) {
      const { run } = timer;
      timer.run = null;
      run?.();
    }
    await rest();
  }
}

const rest = (): Promise<void> => new Promise((resolve) => setImmediate(resolve));

/** What both ends do, in the order in which they do it. */
let log: string[];
let hours: Hours;
/** Messages of this kind get lost, the next `lostCount` of them. */
let lostKind: TransferMessage['kind'] | null;
let lostCount: number;
let giving: Giving;
let taking: Taking;
let objections: Map<number, string>;
/** Overrides by flow. */
let freezing: Map<number, Result<Frozen>>;
let exporting: Map<number, Result<SocketImage> | Error>;
/** Of all messages, lost ones too. */
let sentKinds: TransferMessage['kind'][];
let importing: Map<number, string>;
let adopting: Map<number, Result<null>>;
/** Connections to which something came after they were read. */
let changed: Set<number>;
let ending: string | null;
/** Connections on which much comes. */
let busy: Set<number>;

function portsOf(end: string, deliver: (message: TransferMessage) => void): TransferPorts {
  const sockets: SocketRepair = {
    exportSocket(descriptor) {
      log.push(`${end} exports ${descriptor}`);
      const instead = exporting.get(descriptor);
      if (instead instanceof Error) throw instead;
      return instead ?? ok(imageOf(flowOf(descriptor)));
    },
    thaw: (descriptor) => void log.push(`${end} thaws socket ${descriptor}`),
    importSocket({ remotePort }) {
      const failure = importing.get(remotePort);
      if (failure) throw new Error(failure);
      log.push(`${end} imports ${remotePort}`);
      return remotePort + 1000;
    },
    goLive: (descriptor) => void log.push(`${end} goes live ${descriptor}`),
    isUnchanged: (descriptor) => !changed.has(descriptor),
    closeSilently(descriptor) {
      if (end === 'a' && ending) throw new Error(ending);
      log.push(`${end} ends socket ${descriptor}`);
    },
    reset: (descriptor) => void log.push(`${end} resets ${descriptor}`),
    close: (descriptor) => void log.push(`${end} closes ${descriptor}`),
  };
  return {
    async send(_peer, message) {
      sentKinds.push(message.kind);
      if (message.kind === lostKind && lostCount-- > 0) return;
      const decoded = decodeTransfer(encodeTransfer(message));
      if (!decoded.ok) throw new Error(decoded.reason);
      setImmediate(() => deliver(decoded.value));
    },
    sockets,
    now: () => hours.now,
    after: (ms, run) => hours.after(ms, run),
  };
}

function givingOf(firstBatch: number): Giving {
  const holder = portsOf('a', (message) => {
    if (message.kind === 'hold' || message.kind === 'images' || message.kind === 'decided')
      void taking.receive('a', message);
  });
  return new Giving(
    holder,
    {
      async calm(flows) {
        log.push(`a calms ${flows.map(({ clientPort }) => clientPort).join()}`);
        return flows.length > 1 ? flows.filter(({ clientPort }) => busy.has(clientPort)) : [];
      },
      async freeze(flows) {
        log.push(`a freezes ${flows.map(({ clientPort }) => clientPort).join()}`);
        return flows.map(({ clientPort: descriptor }) => {
          const frozen: Frozen = { descriptor, state: new Uint8Array([7]), unread: new Uint8Array() };
          return freezing.get(descriptor) ?? ok(frozen);
        });
      },
      moved: ({ clientPort }) => void log.push(`a forgets ${clientPort}`),
      thaw: ({ clientPort }) => void log.push(`a goes on with ${clientPort}`),
    },
    firstBatch,
  );
}

beforeEach(() => {
  [log, sentKinds] = [[], []];
  hours = new Hours();
  lostKind = ending = null;
  changed = new Set();
  busy = new Set();
  lostCount = Number.POSITIVE_INFINITY;
  [objections, freezing, exporting, importing, adopting] = [new Map(), new Map(), new Map(), new Map(), new Map()];
  const taker = portsOf('b', (message) => {
    if (message.kind === 'held' || message.kind === 'ready' || message.kind === 'undecided')
      giving.receive('b', message);
  });
  giving = givingOf(1);
  taking = new Taking(
    {
      ...taker,
      async divert(flows, isDiverted) {
        log.push(`b ${isDiverted ? 'hold' : 'frees'} ${flows.map(({ clientPort }) => clientPort).join()}`);
      },
      packetsArrived: async () => {},
      objection: ({ clientPort }) => objections.get(clientPort) ?? null,
      failed(error) {
        throw error;
      },
      releasePackets: (kept) =>
        log.push(['b releases packets', ...kept.map(({ clientPort }) => `not of ${clientPort}`)].join(' ')),
    },
    {
      async adopt({ clientPort }, { descriptor, state }) {
        log.push(`b adopts ${clientPort} as ${descriptor}, state ${state.join()}`);
        return adopting.get(clientPort) ?? ok(null);
      },
      go: ({ clientPort }) => void log.push(`b goes on with ${clientPort}`),
      drop: ({ clientPort }) => void log.push(`b drops ${clientPort}`),
    },
  );
});

/** Time passes only when nothing else goes on. */
async function outcomeOf(given: ReturnType<Giving['give']>): Promise<(string | null)[]> {
  let outcomes: Given | null = null;
  void given.then((value) => {
    outcomes = value;
  });
  for (let turn = 0; turn < 200; turn++) {
    await rest();
    if (turn % 20 === 19) await hours.pass(250);
  }
  return defined(outcomes as Given | null, 'an outcome in time').outcomes.map((each) => (each.ok ? null : each.reason));
}

const give = (...ports: number[]): Promise<(string | null)[]> => outcomeOf(giving.give('b', ports.map(flowOf)));

/** Of a connection at most one end goes on with it, exactly one when nobody died. */
function whoGoesOn(port: number): string[] {
  return log.flatMap((line) => (line.endsWith(`goes on with ${port}`) ? [line.slice(0, 1)] : []));
}

describe('a transfer', () => {
  test('holds there, freezes, exports, imports, lets go, and only then goes on', async () => {
    expect(await give(1)).toEqual([null]);
    expect(log.slice(0, 8)).toEqual([
      'a calms 1',
      'b hold 1',
      'a freezes 1',
      'a exports 1',
      'b imports 1',
      'b adopts 1 as 1001, state 7',
      'a forgets 1',
      'a ends socket 1',
    ]);
    const after = log.slice(8);
    expect(after.filter((line) => line.startsWith('b '))).toEqual([
      'b goes live 1001',
      'b closes 1001',
      'b goes on with 1',
      'b releases packets',
      'b frees 1',
      'b releases packets',
      'b releases packets',
    ]);
  });

  test('of several moves those that can be, and the others go on where they were', async () => {
    freezing.set(2, refuse('in the middle of a request'));
    exporting.set(3, refuse('half-closed'));
    importing.set(4, 'no such address');
    adopting.set(5, refuse('the application knows no such protocol'));
    expect(await give(1, 2, 3, 4, 5, 6)).toEqual([
      null,
      'in the middle of a request',
      'half-closed',
      'no such address',
      'the application knows no such protocol',
      null,
    ]);
    expect([1, 2, 3, 4, 5, 6].map(whoGoesOn)).toEqual([['b'], [], ['a'], ['a'], ['a'], ['b']]);
    // Exported, so frozen, are 4 and 5 alone; the refused export left 3 as it was.
    expect(log.filter((line) => line.includes('thaws'))).toEqual(['a thaws socket 4', 'a thaws socket 5']);
    expect(log).toContain('b ends socket 1005');
  });

  test('that an application refuses for no reason stays, and the next moves', async () => {
    adopting.set(1, refuse(''));
    expect(await give(1)).toEqual(['no reason given']);
    expect(whoGoesOn(1)).toEqual(['a']);
    expect(await give(2)).toEqual([null]);
  });

  test('leaves out those that should go alone, and says so', async () => {
    busy.add(2);
    const given = giving.give('b', [1, 2, 3].map(flowOf));
    expect(await outcomeOf(given)).toEqual([null, null]);
    expect(await given).toMatchObject({ flows: [1, 3].map(flowOf), alone: [flowOf(2)] });
    expect([1, 2, 3].map(whoGoesOn)).toEqual([['b'], [], ['b']]);
    expect(await give(2)).toEqual([null]);
    expect(whoGoesOn(2)).toEqual(['b']);
  });

  test('of none but such asks the other side for nothing', async () => {
    busy.add(1).add(2);
    expect(await give(1, 2)).toEqual([]);
    expect(log).toEqual(['a calms 1,2']);
  });

  test('that the other side objects to freezes nothing', async () => {
    objections.set(2, 'slot 2 is not of this replica');
    expect(await give(1, 2)).toEqual(Array(2).fill('slot 2 is not of this replica'));
    expect(log).toEqual(['a calms 1,2']);
  });

  test('to which a packet came after it was read stays, with what it brought', async () => {
    changed.add(1);
    expect(await give(1, 2)).toEqual(['a packet came after it was read', null]);
    expect([1, 2].map(whoGoesOn)).toEqual([['a'], ['b']]);
    expect(log).toContain('a thaws socket 1');
    expect(log).toContain('b drops 1');
  });

  test("whose socket cannot be ended here is the other side's all the same", async () => {
    ending = 'connect: EIO';
    expect(await give(1, 2)).toEqual([null, null]);
    expect([1, 2].map(whoGoesOn)).toEqual([['b'], ['b']]);
  });

  test.each(['hold', 'held', 'images', 'ready'] as const)(
    'of which %s is lost stays, and is free again at the other side',
    async (kind) => {
      lostKind = kind;
      expect(await give(1)).toEqual(['b does not answer']);
      expect(whoGoesOn(1)).toEqual(kind === 'hold' || kind === 'held' ? [] : ['a']);
      await hours.pass(takerPatienceMs);
      await rest();
      expect(log.filter((line) => line === 'b hold 1').length).toBe(log.filter((line) => line === 'b frees 1').length);
      lostKind = null;
      expect(await give(1)).toEqual([null]);
    },
  );

  test.each([1, 2, 3])('whose decision is lost %i times is asked about, and goes on', async (times) => {
    lostKind = 'decided';
    lostCount = times;
    expect(await give(1, 2)).toEqual([null, null]);
    for (let asked = 0; asked < times; asked++) await hours.pass(askMs);
    for (let turn = 0; turn < 20; turn++) await rest();
    expect([1, 2].map(whoGoesOn)).toEqual([['b'], ['b']]);
    expect(log).not.toContain('b drops 1');
  });

  test('that has stayed is let go of at the other side when the word of it is lost', async () => {
    adopting.set(2, refuse('the application knows no such protocol'));
    lostKind = 'decided';
    lostCount = 1;
    expect(await give(1, 2)).toEqual([null, 'the application knows no such protocol']);
    await hours.pass(askMs);
    for (let turn = 0; turn < 20; turn++) await rest();
    expect([1, 2].map(whoGoesOn)).toEqual([['b'], ['a']]);
  });

  test('of which the link is lost with the decision is asked about over the next one', async () => {
    lostKind = 'decided';
    lostCount = 1;
    const given = giving.give('b', [flowOf(1)]);
    for (let turn = 0; turn < 20; turn++) await rest();
    taking.lost('a');
    expect(await outcomeOf(given)).toEqual([null]);
    expect(whoGoesOn(1)).toEqual(['b']);
  });

  test('of which the link is lost before anything was offered stays', async () => {
    lostKind = 'images';
    const given = giving.give('b', [flowOf(1)]);
    for (let turn = 0; turn < 20; turn++) await rest();
    taking.lost('a');
    for (let turn = 0; turn < 20; turn++) await rest();
    expect(log).toContain('b frees 1');
    expect(await outcomeOf(given)).toEqual(['b does not answer']);
    expect(whoGoesOn(1)).toEqual(['a']);
  });

  test('whose holder has begun anew, or decided too long ago, is not gone on with', async () => {
    lostKind = 'decided';
    lostCount = 1;
    const given = giving.give('b', [flowOf(1)]);
    for (let turn = 0; turn < 20; turn++) await rest();
    expect(log).toContain('b adopts 1 as 1001, state 7');
    await given;
    giving = givingOf(5);
    await hours.pass(askMs);
    for (let turn = 0; turn < 20; turn++) await rest();
    expect(log).toContain('b drops 1');
    expect(log).toContain('b ends socket 1001');
  });

  test('whose holder is never heard again is not gone on with', async () => {
    lostKind = 'decided';
    expect(await give(1)).toEqual([null]);
    await hours.pass(takerPatienceMs);
    for (let turn = 0; turn < 20; turn++) await rest();
    expect(log).toContain('b drops 1');
    expect(log).toContain('b frees 1');
  });

  test('that cannot be read stays, and the others move', async () => {
    exporting.set(1, new Error('getsockopt: EIO'));
    expect(await give(1, 2)).toEqual(['getsockopt: EIO', null]);
    expect([1, 2].map(whoGoesOn)).toEqual([['a'], ['b']]);
  });

  test('of large images takes several messages, and of small ones one', async () => {
    expect(await give(1, 2, 3)).toEqual([null, null, null]);
    expect(sentKinds.filter((kind) => kind === 'images')).toHaveLength(1);
    const large: Frozen = { descriptor: 4, state: new Uint8Array(200 * 1024), unread: new Uint8Array() };
    freezing.set(4, ok(large));
    freezing.set(5, ok({ ...large, descriptor: 5 }));
    expect(await give(4, 5, 6)).toEqual([null, null, null]);
    expect(sentKinds.filter((kind) => kind === 'images')).toHaveLength(3);
  });

  test('whose taker is lost stays', async () => {
    lostKind = 'ready';
    const given = giving.give('b', [flowOf(1)]);
    for (let turn = 0; turn < 20; turn++) await rest();
    giving.lost('b');
    expect(await outcomeOf(given)).toEqual(['b is lost']);
    expect(whoGoesOn(1)).toEqual(['a']);
  });

  test('has its packets held while another stands still, and stands still after it', async () => {
    const both = [giving.give('b', [flowOf(1)]), giving.give('b', [flowOf(2)])];
    expect(await Promise.all(both.map(outcomeOf))).toEqual([[null], [null]]);
    const at = (line: string): number => defined(log.indexOf(line), line);
    expect(at('b hold 2')).toBeLessThan(at('a ends socket 1'));
    expect(at('a ends socket 1')).toBeLessThan(at('a freezes 2'));
    expect(log.slice(at('b goes on with 1') + 1).find((line) => line.startsWith('b releases'))).toBe(
      'b releases packets not of 2',
    );
  });

  test('of a connection whose earlier move is not over is refused', async () => {
    lostKind = 'decided';
    expect(await give(1)).toEqual([null]);
    expect(await give(1, 2)).toEqual(Array(2).fill('an earlier move is not over'));
    expect(await give(2)).toEqual([null]);
  });
});

test('patience of the taker exceeds all that a holder may take', () => {
  expect(takerPatienceMs).toBeGreaterThan(3 * patienceMs);
});
