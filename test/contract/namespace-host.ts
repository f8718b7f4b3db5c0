import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { createInterface } from 'node:readline';

/** A program in a network namespace of its own, which ends with it. */
export interface NamespaceHost {
  /** One request, one answer; rejects with what the program says. */
  readonly ask: Ask;
  close(): Promise<void>;
}

export function openNamespaceHost(program: string): NamespaceHost {
  const flags = process.getuid?.() === 0 ? '-n' : '-Urn';
  const child = spawn('unshare', [flags, process.execPath, program], { stdio: ['pipe', 'pipe', 'inherit'] });
  return {
    ask: lineProtocol(child),
    async close(): Promise<void> {
      child.stdin?.end();
      if (child.exitCode === null) await once(child, 'exit');
    },
  };
}

/** Addresses are numbers of any size. */
function revive(_key: string, value: unknown): unknown {
  return typeof value === 'string' && /^\d+n$/.test(value) ? BigInt(value.slice(0, -1)) : value;
}

export type Ask = (operation: string, argument?: unknown) => Promise<unknown>;

/** Requests one at a time: the answer to a request is the next line. */
function lineProtocol(child: ChildProcess): Ask {
  let ended: Error | null = null;
  const waiting: { resolve: (value: unknown) => void; reject: (error: Error) => void }[] = [];
  child.once('exit', (code) => {
    ended = new Error(`the kernel host ended with ${code}`);
    for (const each of waiting.splice(0)) each.reject(ended);
  });
  if (child.stdout) {
    createInterface({ input: child.stdout }).on('line', (line) => {
      const answer = JSON.parse(line, revive) as { value?: unknown; error?: string };
      const next = waiting.shift();
      if (answer.error === undefined) next?.resolve(answer.value);
      else next?.reject(new Error(answer.error));
    });
  }
  return (operation, argument) =>
    new Promise((resolve, reject) => {
      if (ended) return reject(ended);
      waiting.push({ resolve, reject });
      const request = JSON.stringify({ operation, argument }, (_key, value) =>
        typeof value === 'bigint' ? `${value}n` : value,
      );
      child.stdin?.write(`${request}\n`);
    });
}
