import type { Socket } from 'node:net';
import { setTimeout as delay } from 'node:timers/promises';
import type { AgentSession } from './agent-link.ts';
import { descriptorOf } from './held-socket.ts';

/** So much that waits to be read is moved in less than a millisecond. */
const unreadBytesMax = 128 * 1024;
/** A larger window has only a connection on which much has come. */
const windowBytesMax = 1024 * 1024;
/** How long the application is given to read the rest, and how many looks in turn may find that it has read nothing. */
const calmMs = 800;
const looksInVainMax = 10;
const lookMs = 2;
/** After so many looks in turn that find little its client has used up what it had been offered before. */
const shortLooks = 3;
/** A connection that nobody has stopped by then goes on as before. */
const narrowMs = 1500;

const narrowed = new WeakMap<Socket, () => void>();

/**
 * Before a connection is stopped of which the application has much to read yet: has its client send less, and waits until the application has read what there is. It
 * does not stand still meanwhile; but what is not read would have to be moved while it does.
 */
export async function calm(socket: Socket, kernel: AgentSession['kernel']): Promise<void> {
  const descriptor = descriptorOf(socket);
  const isShort = (): boolean => kernel.unreadBytes(descriptor) <= unreadBytesMax;
  if (descriptor < 0 || (isShort() && kernel.windowMax(descriptor) <= windowBytesMax)) return;
  narrow(socket, kernel);
  const end = performance.now() + calmMs;
  let short = 0;
  for (let inVain = 0; inVain < looksInVainMax && performance.now() < end; ) {
    const read = socket.bytesRead;
    await delay(lookMs);
    if (descriptorOf(socket) !== descriptor) return;
    short = isShort() ? short + 1 : 0;
    const isStill = socket.bytesRead === read;
    if (short >= shortLooks || (isStill && isShort())) return;
    inVain = isStill ? inVain + 1 : 0;
  }
}

/** The connection stays after all. */
export function endCalm(socket: Socket): void {
  narrowed.get(socket)?.();
}

function narrow(socket: Socket, kernel: AgentSession['kernel']): void {
  endCalm(socket);
  const descriptor = descriptorOf(socket);
  const open = kernel.narrowWindow(descriptor);
  const timer = setTimeout(() => endCalm(socket), narrowMs).unref();
  narrowed.set(socket, () => {
    clearTimeout(timer);
    narrowed.delete(socket);
    // Its number may mean another file once it is closed.
    if (descriptorOf(socket) === descriptor) open();
  });
}
