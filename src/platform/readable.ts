import { setImmediate } from 'node:timers/promises';
import { close, eventfd, linux, poll, read, write } from './libc.ts';

/** Waits on a thread, not on the event loop, for datagrams on a descriptor: Node cannot poll packet sockets itself. */
export interface Readable {
  /** Resolves true when something can be read, false once closed. Only one at a time may wait. */
  wait(): Promise<boolean>;
  /** Ends a pending wait, then closes the descriptor. */
  close(): Promise<void>;
}

export function readable(fd: number): Readable {
  let open = true;
  return {
    async wait(): Promise<boolean> {
      if (open) await shared.until(fd);
      return open;
    },
    async close(): Promise<void> {
      if (!open) return;
      open = false;
      await shared.forget(fd);
      close(fd);
    },
  };
}

/** A thread that waits for ever would keep the process from exiting after an uncaught error. */
const waitMsMax = 500;
/** struct pollfd: the descriptor, what it is asked for, what came of it. */
const pollfdBytes = 8;

/**
 * All of a process that wait share one thread. There are four (UV_THREADPOOL_SIZE), and signing a join or reading a file takes one too: it would wait until one of
 * four others has something to read.
 */
const shared = createWaitingThread();

function createWaitingThread() {
  /** By descriptor, what goes on when it can be read. */
  const waiting = new Map<number, () => void>();
  let wake: number | null = null;
  let isLooking = false;
  /** What the thread is at. */
  let round: Promise<void> | null = null;

  async function look(): Promise<void> {
    isLooking = true;
    while (waiting.size > 0) {
      round = lookOnce();
      await round;
      round = null;
      // Whoever has read what there was waits again, and is in the next round from its beginning.
      await setImmediate();
    }
    isLooking = false;
  }

  async function lookOnce(): Promise<void> {
    wake ??= eventfd();
    for (const fd of await readyOf([wake, ...waiting.keys()])) {
      if (fd === wake) read(wake, new Uint8Array(8));
      else goOn(fd);
    }
  }

  function goOn(fd: number): void {
    const next = waiting.get(fd);
    waiting.delete(fd);
    next?.();
  }

  /** The thread begins anew, with those that wait now. */
  function interrupt(): void {
    if (round && wake !== null) write(wake, Uint8Array.from([1, 0, 0, 0, 0, 0, 0, 0]));
  }

  return {
    /** Resolves when something can be read, or the descriptor is forgotten. */
    until: (fd: number): Promise<void> =>
      new Promise((resolve) => {
        waiting.set(fd, resolve);
        if (isLooking) interrupt();
        else void look();
      }),
    /** Resolves once the thread does not look at the descriptor. */
    async forget(fd: number): Promise<void> {
      goOn(fd);
      interrupt();
      await round;
    },
  };
}

/** Those of some descriptors that can be read, or are broken: whoever reads finds out. None after the longest wait. */
async function readyOf(fds: readonly number[]): Promise<number[]> {
  const descriptors = new Uint8Array(fds.length * pollfdBytes);
  const view = new DataView(descriptors.buffer);
  for (const [i, fd] of fds.entries()) {
    view.setInt32(i * pollfdBytes, fd, true);
    view.setInt16(i * pollfdBytes + 4, linux.POLLIN, true);
  }
  await poll(descriptors, waitMsMax);
  return fds.filter((_, i) => view.getInt16(i * pollfdBytes + 6, true) !== 0);
}
