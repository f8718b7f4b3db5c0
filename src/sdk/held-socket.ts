import type { Server, Socket } from 'node:net';
import { assert } from '../base/assert.ts';

/** What Node's own name for an open socket has that this project needs; the same since Node 12, and documented nowhere. */
interface Handle {
  readonly fd: number;
  readonly reading: boolean;
  readStart(): number;
  readStop(): number;
}

/** The kernel's number for a socket, -1 when it is closed. */
export function descriptorOf(socket: Socket): number {
  return handleOf(socket)?.fd ?? -1;
}

/** The kernel's number for the socket that a server listens on, -1 when there is none. */
export function listenerOf(server: Server): number {
  return handleOf(server)?.fd ?? -1;
}

/**
 * From now on nothing is read from the kernel, whatever the application does; what it returns undoes that. `pause` is not enough: Node reads on
 * until its buffer is full, and an HTTP parser reads past the stream.
 */
export function stopReading(socket: Socket): () => void {
  const handle = handleOf(socket);
  assert(handle, 'only an open socket is stopped');
  handle.readStop();
  handle.readStart = () => 0;
  return () => {
    Reflect.deleteProperty(handle, 'readStart');
    if (handle.reading && handleOf(socket) === handle) handle.readStart();
  };
}

/** Bytes that Node has read and the application has not, taken out of the socket. */
export interface Unread {
  readonly bytes: Buffer;
  putBack(): void;
}

/** Reading must have been stopped. */
export function takeUnread(socket: Socket): Unread {
  const chunks: (Buffer | string)[] = [];
  // Readable.read also emits what it returns.
  const emit = Object.getOwnPropertyDescriptor(socket, 'emit');
  socket.emit = () => true;
  try {
    while (socket.readableLength > 0) {
      const chunk = socket.read() as Buffer | string | null;
      if (chunk === null) break;
      chunks.push(chunk);
    }
  } finally {
    if (emit) Object.defineProperty(socket, 'emit', emit);
    else Reflect.deleteProperty(socket, 'emit');
  }
  const encoding = socket.readableEncoding ?? 'utf8';
  const read = chunks.map((chunk) => (typeof chunk === 'string' ? Buffer.from(chunk, encoding) : chunk));
  return {
    bytes: Buffer.concat([...read, halfCharacter(socket)]),
    putBack() {
      for (const chunk of chunks.reverse()) {
        if (typeof chunk === 'string') socket.unshift(chunk, encoding);
        else socket.unshift(chunk);
      }
    },
  };
}

/** What the application writes from now on is kept from the kernel. */
export interface HeldWrites {
  /** False when what was written before has not all reached the kernel within so many milliseconds. */
  drained(timeoutMs: number): Promise<boolean>;
  /** What was kept goes out. */
  release(): void;
}

type Done = (error?: Error | null) => void;

/**
 * The methods that a stream's implementer gives (`_write`, `_writev`, `_final`) are hidden by some that keep what comes after a mark, an empty
 * chunk, in the order of the stream. A corked socket would not do: `end` uncorks, and what was written before would stay, too.
 */
export function holdWrites(socket: Socket): HeldWrites {
  // A mark after the end would be an error, which destroys the socket and what is still on its way with it.
  if (socket.writableEnded || socket.destroyed) return nothingHeld;
  const kept = keptWrites(socket);
  const mark = Buffer.alloc(0);
  let isReleased = false;
  let markReached = false;
  let onReached = (): void => {};
  const reached = (): void => {
    markReached = true;
    onReached();
  };

  const own = { _write: socket._write, _writev: socket._writev, _final: socket._final };
  socket._write = (chunk, encoding, done) => {
    if (chunk === mark) {
      reached();
      done();
    } else if (markReached) kept.add((later) => own._write.call(socket, chunk, encoding, later), done);
    else own._write.call(socket, chunk, encoding, done);
  };
  socket._writev = (chunks, done) => {
    const at = markReached ? -1 : chunks.findIndex(({ chunk }) => chunk === mark);
    const before = markReached ? [] : at < 0 ? chunks : chunks.slice(0, at);
    const after = chunks.slice(before.length + (at < 0 ? 0 : 1));
    const first = before.length > 0 ? before : null;
    const rest = (error?: Error | null): void => {
      if (at >= 0) reached();
      if (error || after.length === 0) done(error);
      // What came before has taken longer than the hold: nobody would come for what is kept now.
      else if (isReleased) socket._writev?.(after, done);
      else kept.add((later) => own._writev?.call(socket, after, later), done);
    };
    if (first) own._writev?.call(socket, first, rest);
    else rest();
  };
  socket._final = (done) => kept.add(() => own._final.call(socket, done), done);
  socket.write(mark);

  return {
    drained: (timeoutMs) =>
      new Promise((resolve) => {
        const settle = (): void => {
          clearTimeout(timer);
          socket.off('close', settle);
          resolve(markReached);
        };
        const timer = setTimeout(settle, timeoutMs);
        socket.once('close', settle);
        onReached = settle;
        if (markReached || socket.destroyed) settle();
      }),
    release() {
      if (isReleased) return;
      isReleased = true;
      for (const name of ['_write', '_writev', '_final']) Reflect.deleteProperty(socket, name);
      kept.letGo();
    },
  };
}

const nothingHeld: HeldWrites = { drained: () => Promise.resolve(false), release() {} };

/**
 * The first write that is kept is under way for Node, which tells those behind it that their socket was destroyed only once that one has ended. So, when the
 * socket closes, it ends.
 */
function keptWrites(socket: Socket) {
  const kept: { readonly write: (done: Done) => void; readonly done: Done }[] = [];
  const fail = (): void => {
    const error = Object.assign(new Error('the socket was destroyed before this was written'), {
      code: 'ERR_STREAM_DESTROYED',
    });
    for (const { done } of kept.splice(0)) process.nextTick(done, error);
  };
  socket.once('close', fail);
  return {
    add: (write: (later: Done) => void, done: Done): void => void kept.push({ write, done }),
    letGo(): void {
      if (socket.destroyed) return;
      socket.off('close', fail);
      for (const { write, done } of kept.splice(0)) {
        // A write that the kernel takes at once would have the application write more, and so on, before whoever lets go gets to what is next.
        write((error) => process.nextTick(done, error));
      }
    },
  };
}

function handleOf(open: Socket | Server): Handle | null {
  return (open as unknown as { readonly _handle: Handle | null })._handle;
}

/** Bytes of a character whose end has not come, which a socket with an encoding keeps in its decoder (string_decoder of Node). */
function halfCharacter(socket: Socket): Buffer {
  const { decoder } = (socket as unknown as { readonly _readableState: { readonly decoder?: Decoder | null } })
    ._readableState;
  return decoder && decoder.lastNeed > 0
    ? decoder.lastChar.subarray(0, decoder.lastTotal - decoder.lastNeed)
    : Buffer.alloc(0);
}

interface Decoder {
  readonly lastChar: Buffer;
  readonly lastNeed: number;
  readonly lastTotal: number;
}
