import type { Socket } from 'node:net';
import { createServer } from '../sdk/index.ts';
import { createPatternCheck, type PatternCheck } from './byte-pattern.ts';
import { type ByteSender, sendPattern } from './byte-sender.ts';
import { greetingOf, rateBytes, rateOf, streamPort, trailerOf } from './stream-protocol.ts';

/** Sends and checks streams of the pattern on the stream port; where both stand goes along when a connection is moved. */
const node = process.env.MANYCAST_NODE ?? '';

interface Stream {
  /** The begin of what the client says first. */
  header: Buffer;
  readonly check: PatternCheck;
  sender: ByteSender | null;
  rate: number;
}

/** What another process needs to go on. */
interface StreamState {
  readonly header: string;
  readonly rate: number;
  /** Null before there was a rate. */
  readonly sent: number | null;
  readonly received: number;
  readonly wrong: number;
  readonly offset: number;
}

const streams = new WeakMap<Socket, Stream>();

function serve(socket: Socket, stream: Stream): void {
  const { check } = stream;
  streams.set(socket, stream);
  socket.setNoDelay(true);
  socket.on('error', () => socket.destroy());
  socket.on('close', () => stream.sender?.stop());
  socket.on('data', (chunk) => {
    let rest: Uint8Array = chunk;
    if (stream.sender === null) {
      stream.header = Buffer.concat([stream.header, chunk]);
      if (stream.header.length < rateBytes) return;
      stream.rate = rateOf(stream.header);
      stream.sender = sendPattern(socket, stream.rate);
      rest = stream.header.subarray(rateBytes);
    }
    check.take(rest);
  });
  socket.on('end', () => {
    stream.sender?.stop();
    socket.end(trailerOf({ sent: stream.sender?.sent ?? 0, received: check.received, wrong: check.wrong }));
  });
}

function exportState(socket: Socket): Uint8Array | null {
  const stream = streams.get(socket);
  if (!stream) return null;
  const { header, check, sender, rate } = stream;
  const { received, wrong, offset } = check;
  const sent = sender?.sent ?? null;
  const state: StreamState = { header: header.toString('base64'), rate, sent, received, wrong, offset };
  return Buffer.from(JSON.stringify(state));
}

function importState(socket: Socket, exported: Uint8Array): void {
  const state = JSON.parse(Buffer.from(exported).toString()) as StreamState;
  const { rate, sent } = state;
  const stream: Stream = {
    header: Buffer.from(state.header, 'base64'),
    check: createPatternCheck(state),
    sender: null,
    rate,
  };
  serve(socket, stream);
  if (sent !== null) stream.sender = sendPattern(socket, rate, sent);
}

createServer({ allowHalfOpen: true, exportState, importState }, (socket) => {
  socket.write(greetingOf(node));
  serve(socket, { header: Buffer.alloc(0), check: createPatternCheck(), sender: null, rate: 0 });
}).listen(streamPort, '0.0.0.0');
