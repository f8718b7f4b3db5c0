import { readFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { expect, test } from 'vitest';
import { WebSocket } from 'ws';
import { decodeAgentMessage, decodeApplicationMessage } from '../../src/sdk/message.ts';
import { eventually, twoMachines } from './two-machines.ts';

test('the counter counts on in another process, over the same connection', async () => {
  const two = await twoMachines('counter');
  const client = new WebSocket(`ws://127.0.0.1:${two.a.port}`, { perMessageDeflate: false });
  const messages: { count: number; name: string }[] = [];
  client.on('message', (message) => messages.push(JSON.parse(String(message))));
  let localPort = 0;
  client.once('upgrade', ({ socket }) => {
    localPort = socket.localPort ?? 0;
  });
  await eventually(() => messages.length > 1);
  expect(await two.move(two.flowOf({ localPort }))).toBe('moved');
  await eventually(() => messages.filter(({ name }) => name === 'b').length > 1);
  expect(messages.map(({ count }) => count)).toEqual(messages.map((_message, i) => i + 1));
  client.terminate();
  await two.close();
});

test('the keep-alive example listens where it is told', async () => {
  const two = await twoMachines('keep-alive');
  expect(await (await fetch(`http://127.0.0.1:${two.a.port}/`)).json()).toEqual({ name: 'a' });
  await two.close();
});

test('the messages of the protocol document are messages', () => {
  const page = readFileSync(fileURLToPath(new URL('../../docs/sdk-protocol.md', import.meta.url)), 'utf8');
  const lines = [...page.matchAll(/^([AS]) {2}(?:\(second connection\) )?(\{.*\})$/gm)];
  expect(lines).toHaveLength(12);
  for (const [, who, line] of lines) {
    const decoded = (who === 'A' ? decodeAgentMessage : decodeApplicationMessage)(line ?? '');
    expect(decoded).toMatchObject({ ok: true });
  }
});
