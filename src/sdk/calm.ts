import type { Socket } from 'node:net';
import { setTimeout as delay } from 'node:timers/promises';
import type { AgentSession } from './agent-link.ts';
import { descriptorOf, holdWrites, stopReading } from './held-socket.ts';

type Kernel = AgentSession['kernel'];

/** So much that waits is moved in less than a millisecond. */
const waitingBytesMax = 64 * 1024;
/** A larger window has only a connection on which much has come. */
const windowBytesMax = 1024 * 1024;
/** How long the application is given to read the rest. */
const readMs = 800;
/** An application that has read nothing for so many looks in turn does not read, and a client that has sent nothing for so long does not send. */
const looksInVainMax = 25;
const silentMs = 50;
/** A client that asks more often notices a pause. */
const activeMs = 20;
/** Where the kernel does not tell what its client was offered, so many looks in turn must find little unread. */
const shortLooks = 3;
const lookMs = 2;
/** How long what was written may take to its client. */
const sendMs = 100;
/** A connection that nobody has frozen so long after it was calm goes on as before. */
const heldMs = 100;

/** What opens its window again, and what lets its application read and write. */
const narrowed = new WeakMap<Socket, () => void>();
const stopped = new WeakMap<Socket, () => void>();
/** Whoever is making it calm: not any more once it is to go on, or to be frozen. */
const calming = new WeakMap<Socket, object>();

/**
 * Before connections are frozen. Of those on which much comes the clients are offered no more room, and it is waited until they have used up what they have and the application
 * has read it. Then all stand still: the application is kept from reading and writing, and it is waited until the clients have confirmed what was written. Once another host holds their
 * packets nothing is confirmed any more, and writes that wait for that would not end. What is in the queues of the kernel would have to be moved.
 */
export async function calm(sockets: readonly Socket[], kernel: Kernel): Promise<void> {
  const turn = {};
  for (const socket of sockets) calming.set(socket, turn);
  await Promise.all(sockets.map((socket) => readOut(socket, kernel, () => calming.get(socket) === turn)));
  await Promise.all(sockets.map((socket) => sendOut(socket, kernel, () => calming.get(socket) === turn)));
}

/**
 * Whether a connection should not stand still with others: something has come on it just now, so that its client would notice how long they all take, or it
 * would have to be made calm first.
 */
export function isBusy(socket: Socket, kernel: Kernel): boolean {
  const descriptor = descriptorOf(socket);
  return socket.writableLength > 0 || kernel.silenceMs(descriptor) < activeMs || isReceiving(descriptor, kernel);
}

/** The connection goes on. */
export function endCalm(socket: Socket): void {
  calming.delete(socket);
  goOn(socket);
}

/** The application reads and writes again; its client is still offered no more. */
export function letGoOn(socket: Socket): void {
  calming.delete(socket);
  stopped.get(socket)?.();
}

function goOn(socket: Socket): void {
  narrowed.get(socket)?.();
  stopped.get(socket)?.();
}

async function readOut(socket: Socket, kernel: Kernel, isMine: () => boolean): Promise<void> {
  const descriptor = descriptorOf(socket);
  const isOpen = (): boolean => descriptor >= 0 && descriptorOf(socket) === descriptor;
  const isShort = (): boolean => kernel.unreadBytes(descriptor) <= waitingBytesMax;
  if (!isOpen() || socket.writableEnded || !isReceiving(descriptor, kernel)) return;
  goOn(socket);
  const open = kernel.narrowWindow(descriptor);
  narrowed.set(socket, () => {
    narrowed.delete(socket);
    // Its number may mean another file once it is closed.
    if (isOpen()) open();
  });
  const end = performance.now() + readMs;
  let short = 0;
  for (let inVain = 0; isOpen() && inVain < looksInVainMax && performance.now() < end; ) {
    short = isShort() ? short + 1 : 0;
    const isOver = isUsedUp(kernel.windowLeft(descriptor)) ?? short >= shortLooks;
    if (short > 0 && (isOver || kernel.silenceMs(descriptor) >= silentMs)) break;
    const read = socket.bytesRead;
    await silence(socket, lookMs);
    if (!isMine() || socket.writableEnded) return;
    inVain = socket.bytesRead === read ? inVain + 1 : 0;
  }
}

/** Whoever writes as fast as its client takes it, and is told so in the same turn, reads nothing and keeps all timers waiting. */
async function silence(socket: Socket, ms: number): Promise<void> {
  const writes = holdWrites(socket);
  const release = (): void => {
    if (stopped.get(socket) === release) stopped.delete(socket);
    writes.release();
  };
  stopped.set(socket, release);
  await delay(ms);
  release();
}

function isReceiving(descriptor: number, kernel: Kernel): boolean {
  if (kernel.unreadBytes(descriptor) > waitingBytesMax) return true;
  return kernel.windowMax(descriptor) > windowBytesMax && kernel.silenceMs(descriptor) < silentMs;
}

/** Null where that is not known. */
function isUsedUp(windowLeft: number | null): boolean | null {
  return windowLeft === null ? null : windowLeft <= waitingBytesMax;
}

async function sendOut(socket: Socket, kernel: Kernel, isMine: () => boolean): Promise<void> {
  const descriptor = descriptorOf(socket);
  if (descriptor < 0 || !isMine()) return;
  if (socket.writableEnded) return endCalm(socket);
  const isOpen = (): boolean => descriptorOf(socket) === descriptor;
  const unconfirmed = (): number => kernel.unacknowledgedBytes(descriptor);
  const open = narrowed.get(socket);
  if (!open && socket.writableLength === 0 && unconfirmed() <= waitingBytesMax) return;
  stopped.get(socket)?.();
  const writes = holdWrites(socket);
  const startReading = open && stopReading(socket);
  // With more on its way some would be dropped, and its client would notice by a time-out.
  const openMore = open && isUsedUp(kernel.windowLeft(descriptor)) ? kernel.shutWindow(descriptor) : null;
  if (open)
    narrowed.set(socket, () => {
      if (isOpen()) openMore?.();
      open();
    });
  const timer = setTimeout(() => endCalm(socket), sendMs + heldMs).unref();
  stopped.set(socket, () => {
    clearTimeout(timer);
    stopped.delete(socket);
    writes.release();
    startReading?.();
  });
  const end = performance.now() + sendMs;
  let isInTime = await writes.drained(sendMs);
  // All of it: what the application writes meanwhile must find room at once when it is frozen.
  while (isInTime && isMine() && isOpen() && unconfirmed() > 0) {
    isInTime = performance.now() < end;
    await delay(1);
  }
  if (!isInTime && isMine()) endCalm(socket);
}
