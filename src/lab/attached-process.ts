import type { ChildProcess } from 'node:child_process';

/**
 * Waits for a program that has this process's terminal; resolves with its exit code. Meanwhile signals to this process go to `onInterrupt`
 * (Ctrl-C, or the terminal was closed) and `onTerminate`, and do not end it: the program's end does.
 */
export function attendTo(
  child: ChildProcess,
  onInterrupt: (signal: NodeJS.Signals) => void,
  onTerminate: (signal: NodeJS.Signals) => void,
): Promise<number> {
  process.on('SIGINT', onInterrupt);
  process.on('SIGHUP', onInterrupt);
  process.on('SIGTERM', onTerminate);
  return new Promise<number>((resolve, reject) => {
    child.once('error', reject);
    child.once('exit', (code) => resolve(code ?? 1));
  }).finally(() => {
    process.off('SIGINT', onInterrupt);
    process.off('SIGHUP', onInterrupt);
    process.off('SIGTERM', onTerminate);
  });
}
