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
/** A connection that nobody has stopped by then goes on as before. */
const closedMs = 1500;

/**
 * Before a connection is stopped of which the application has much to read yet: has its client send no more, and waits until the application has read what there is. It
 * does not stand still meanwhile; but what is not read would have to be moved while it does.
 */
export async function calm(socket: Socket, kernel: AgentSession['kernel']): Promise<void> {
  const descriptor = descriptorOf(socket);
  const isShort = (): boolean => kernel.unreadBytes(descriptor) <= unreadBytesMax;
  if (descriptor < 0 || (isShort() && kernel.windowMax(descriptor) <= windowBytesMax)) return;
  const open = kernel.closeWindow(descriptor);
  const reopen = (): void => {
    if (descriptorOf(socket) === descriptor) open();
  };
  setTimeout(reopen, closedMs).unref();
  const end = performance.now() + calmMs;
  for (let inVain = 0; inVain < looksInVainMax && performance.now() < end; ) {
    const read = socket.bytesRead;
    await delay(lookMs);
    if (descriptorOf(socket) !== descriptor) return;
    const isStill = socket.bytesRead === read;
    if (isStill && isShort()) return;
    inVain = isStill ? inVain + 1 : 0;
  }
}
