import { closeSync } from 'node:fs';
import { Agent, get, type IncomingMessage } from 'node:http';
import type { Socket } from 'node:net';
import { afterEach, describe, expect, test } from 'vitest';
import { WebSocket } from 'ws';
import { descriptorCount, eventually, received, type TwoMachines, twoMachines } from './two-machines.ts';

let machines: TwoMachines | null = null;

async function serving(kind: string, env: Readonly<Record<string, string>> = {}): Promise<TwoMachines> {
  machines = await twoMachines(kind, env);
  return machines;
}

afterEach(async () => {
  await machines?.close();
  machines = null;
});

/** A keep-alive client with one connection. */
function keepAlive({ a: { port } }: TwoMachines) {
  const agent = new Agent({ keepAlive: true, maxSockets: 1 });
  let socket: Socket | null = null;
  return {
    get: (path: string) =>
      new Promise<{ body: string; connection: string | undefined; reused: boolean }>((resolve, reject) => {
        const request = get({ agent, host: '127.0.0.1', port, path }, (response: IncomingMessage) => {
          let body = '';
          response.setEncoding('utf8').on('data', (text) => {
            body += text;
          });
          // The connection is free for the next request only then.
          response.on('close', () =>
            setImmediate(resolve, { body, connection: response.headers.connection, reused: request.reusedSocket }),
          );
        });
        request.on('socket', (each) => {
          socket = each;
        });
        request.on('error', reject);
      }),
    get localPort() {
      return socket?.localPort;
    },
    destroy: () => agent.destroy(),
  };
}

describe('a keep-alive connection', () => {
  test('moves between requests with no code of the application', async () => {
    const two = await serving('http');
    const client = keepAlive(two);
    expect(await client.get('/1')).toMatchObject({ body: 'a /1', reused: false });
    expect(await two.move(two.flowOf(client))).toBe('moved');
    expect(await client.get('/2')).toMatchObject({ body: 'b /2', reused: true });
    expect(await client.get('/3')).toMatchObject({ body: 'b /3', reused: true });
    await eventually(() => two.a.said.includes('close'));
    client.destroy();
  });

  test('moves before its first request', async () => {
    const two = await serving('http');
    const client = await two.connect();
    await eventuallyMoved(two, client);
    const answers = received(client);
    client.write('GET /1 HTTP/1.1\r\nHost: a\r\n\r\n');
    expect(await answers.until('/1')).toContain('\r\n\r\nb /1');
    client.destroy();
  });

  test('of a request that came before it went live is answered there', async () => {
    const two = await serving('http');
    const client = keepAlive(two);
    await client.get('/1');
    const flow = two.flowOf(client);
    const [frozen] = await two.a.endpoint.freeze([flow]);
    if (!frozen?.ok) throw new Error(frozen?.reason);
    const answer = client.get('/2');
    expect(await two.b.endpoint.adopt({ flow, ...frozen.value })).toMatchObject({ ok: true });
    two.a.endpoint.moved(flow);
    two.b.endpoint.go(flow);
    expect(await answer).toMatchObject({ body: 'b /2', reused: true });
    client.destroy();
  });

  test('of a client that stays is idle, and ends by the time-out of idle ones', async () => {
    const two = await serving('http', { KEEP_ALIVE_MS: '200' });
    const client = await two.connect();
    await eventuallyMoved(two, client);
    client.resume();
    await new Promise((resolve) => client.once('close', resolve));
    await eventually(() => two.b.said.includes('close'));
  });

  test('is refused in the middle of a request, and goes on', async () => {
    const two = await serving('http');
    const client = keepAlive(two);
    const answer = client.get('/wait');
    await eventually(() => two.a.said.includes('waiting'));
    expect(await two.move(two.flowOf(client))).toBe('busy: in the middle of a request');
    await keepAlive(two).get('/release');
    expect(await answer).toMatchObject({ body: 'a waited' });
    expect(await two.move(two.flowOf(client))).toBe('moved');
    expect(await client.get('/2')).toMatchObject({ body: 'b /2', reused: true });
    client.destroy();
  });

  test.each([
    ['half a head', 'GET /1 HT', 'TP/1.1\r\nHost: a\r\n\r\n'],
    ['half a body', 'POST /1 HTTP/1.1\r\nHost: a\r\nContent-Length: 4\r\n\r\nab', 'cd'],
    ['half a head behind a whole request', 'GET /0 HTTP/1.1\r\nHost: a\r\n\r\nGET /1 HT', 'TP/1.1\r\nHost: a\r\n\r\n'],
  ])('is refused with %s of a request', async (_what, half, rest) => {
    const two = await serving('http');
    const client = await two.connect();
    const answers = received(client);
    await new Promise((resolve) => client.write(half, resolve));
    await eventuallyBusy(two, client);
    client.write(rest);
    await answers.until('\r\n\r\na /1');
    client.destroy();
  });

  test('ends with the next response at a convenient point, and not before: a request may be on its way', async () => {
    const two = await serving('http');
    const idle = keepAlive(two);
    await idle.get('/1');
    const busy = keepAlive(two);
    const answer = busy.get('/wait');
    await eventually(() => two.a.said.includes('waiting'));
    two.a.endpoint.finish([two.flowOf(idle), two.flowOf(busy)]);
    // What is answered after it shows that it was heard.
    await two.a.endpoint.freeze([{ ...two.flowOf(idle), clientPort: 1 }]);
    const later = keepAlive(two);
    expect(await later.get('/release')).toMatchObject({ connection: 'keep-alive' });
    expect(await answer).toMatchObject({ body: 'a waited', connection: 'close' });
    expect(await idle.get('/2')).toMatchObject({ body: 'a /2', reused: true, connection: 'close' });
    expect(await idle.get('/3')).toMatchObject({ body: 'a /3', reused: false });
    later.destroy();
    idle.destroy();
    busy.destroy();
  });

  test.each(['fastify', 'express'])('of %s moves unchanged', async (kind) => {
    const two = await serving(kind);
    const client = keepAlive(two);
    expect(JSON.parse((await client.get('/one')).body)).toEqual({ name: 'a', word: 'one' });
    expect(await two.move(two.flowOf(client))).toBe('moved');
    const second = await client.get('/two');
    expect([JSON.parse(second.body), second.reused]).toEqual([{ name: 'b', word: 'two' }, true]);
    client.destroy();
  });
});

describe('a WebSocket', () => {
  async function webSocketTo(two: TwoMachines, protocol = 'count') {
    const client = new WebSocket(`ws://127.0.0.1:${two.a.port}`, protocol, { perMessageDeflate: false });
    const messages: string[] = [];
    client.on('message', (message) => messages.push(String(message)));
    let socket: Socket | null = null;
    client.once('upgrade', (response) => {
      socket = response.socket;
    });
    await new Promise((resolve) => client.once('open', resolve));
    return {
      client,
      messages,
      flow: two.flowOf({ localPort: (socket as Socket | null)?.localPort }),
      socket: socket as unknown as Socket,
    };
  }

  test('moves with its state, both ways', async () => {
    const two = await serving('webSocket');
    const { client, messages, flow } = await webSocketTo(two);
    client.send('one');
    await eventually(() => messages.length === 1);
    expect(await two.move(flow)).toBe('moved');
    client.send('two');
    await eventually(() => messages.length === 2);
    expect(messages).toEqual(['a 1 one', 'b 2 two']);
    two.b.endpoint.finish([flow]);
    const [code, reason] = await new Promise<[number, string]>((resolve) =>
      client.once('close', (each, why) => resolve([each, String(why)])),
    );
    expect([code, reason]).toEqual([1001, 'convenient point']);
  });

  test('stays while its client is in the middle of a message', async () => {
    const two = await serving('webSocket');
    const { client, messages, flow, socket } = await webSocketTo(two);
    client.send('one');
    await eventually(() => messages.length === 1);
    // A masked text frame of 3 bytes with the mask 0, in two parts.
    await new Promise((resolve) => socket.write(Buffer.from([0x81, 0x83, 0, 0, 0, 0, 0x74]), resolve));
    await eventuallyIs('application: exportState: its client is in the middle of a message', () =>
      freezeAndThaw(two, flow),
    );
    socket.write(Buffer.from('wo'));
    await eventually(() => messages.length === 2);
    expect(messages[1]).toBe('a 2 two');
    client.terminate();
  });

  test('stays when the application exports no state', async () => {
    const two = await serving('webSocket', { STATELESS: '1' });
    const { client, messages, flow } = await webSocketTo(two);
    expect(await two.move(flow)).toBe('upgraded: the application exports no state of upgraded connections');
    client.send('one');
    await eventually(() => messages.length === 1);
    client.terminate();
  });
});

test('a connection of a TLS server stays', async () => {
  const two = await serving('tls');
  const client = await two.connect();
  await eventually(() => two.a.said.includes('connection'));
  expect(await two.move(two.flowOf(client))).toBe('tls: the state of TLS stays in this process');
  client.destroy();
});

test('without an agent a server serves, and is found by an agent that comes later', async () => {
  const two = await serving('http');
  await two.a.endpoint.close();
  const client = keepAlive(two);
  expect(await client.get('/1')).toMatchObject({ body: 'a /1' });
  await two.openAgain(two.a);
  await eventually(() => two.a.endpoint.ports().includes(two.a.port));
  expect(await two.move(two.flowOf(client))).toBe('moved');
  expect(await client.get('/2')).toMatchObject({ body: 'b /2', reused: true });
  client.destroy();
});

test('no descriptor is left behind', async () => {
  const two = await serving('http');
  const count = () => [process.pid, two.a.process.pid, two.b.process.pid].map(descriptorCount);
  const round = async () => {
    for (let i = 0; i < 10; i++) {
      const client = keepAlive(two);
      await client.get('/1');
      expect(await two.move(two.flowOf(client))).toBe('moved');
      await client.get('/2');
      client.destroy();
    }
  };
  await round();
  const before = count();
  await round();
  await round();
  await eventually(() => count().every((each, i) => each <= (before[i] ?? 0)));
});

/** The application may not have accepted it yet. */
async function eventuallyMoved(two: TwoMachines, client: Socket): Promise<void> {
  await eventuallyIs('moved', () => two.move(two.flowOf(client)));
}

/** The application may not have read the beginning of the request yet. */
async function eventuallyBusy(two: TwoMachines, client: Socket): Promise<void> {
  await eventuallyIs('busy: in the middle of a request', () => freezeAndThaw(two, two.flowOf(client)));
}

async function eventuallyIs(wanted: string, outcome: () => Promise<string>): Promise<void> {
  let last = '';
  for (let i = 0; i < 500 && last !== wanted; i++) {
    last = await outcome();
    await new Promise((resolve) => setTimeout(resolve, 5));
  }
  expect(last).toBe(wanted);
}

async function freezeAndThaw(two: TwoMachines, flow: ReturnType<TwoMachines['flowOf']>): Promise<string> {
  const [outcome] = await two.a.endpoint.freeze([flow]);
  if (!outcome?.ok) return `${outcome?.code}: ${outcome?.reason}`;
  closeSync(outcome.value.descriptor);
  two.a.endpoint.thaw(flow);
  return 'frozen';
}
