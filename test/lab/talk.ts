import type { ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { createInterface } from 'node:readline';
import { serviceAddress, startManycast, until } from './lab-under-test.ts';

/** Of a connection: the replicas that answered it, how many lines, and what broke it. */
export interface Talked {
  readonly replicas: readonly string[];
  readonly lines: number;
  readonly broken: string | null;
}

export type Progress = Readonly<Record<string, Talked>>;

export function linesOf(progress: Progress, address: string): number {
  return progress[address]?.lines ?? 0;
}

export interface Talk {
  /** Once every connection was answered. */
  progress(): Promise<Progress>;
  end(): Promise<Progress>;
}

/** One connection from each address to the echo server, a line every 20 ms once the last was answered. */
export function startTalk(name: string, client: string, addresses: readonly string[]): Talk {
  const script = `const net = require('net');
    const all = {};
    for (const address of ${JSON.stringify(addresses)}) {
      const own = all[address] = { replicas: [], lines: 0, broken: null };
      const socket = net.connect({ host: '${serviceAddress}', port: 7, localAddress: address });
      const broke = (why) => { own.broken ??= why; };
      socket.on('error', (error) => broke(error.code)).on('close', () => broke('closed'));
      socket.on('connect', () => socket.write('0\\n'));
      socket.on('data', (data) => {
        const [replica, count, line] = String(data).trim().split(' ');
        if (Number(line) !== own.lines || Number(count) !== own.lines + 1) broke('answered ' + data);
        if (!own.replicas.includes(replica)) own.replicas.push(replica);
        own.lines++;
        setTimeout(() => socket.write(own.lines + '\\n'), 20);
      });
    }
    process.stdin.on('data', () => console.log(JSON.stringify(all))).on('end', () => process.exit());`;
  const child: ChildProcess = startManycast('lab', 'exec', name, client, '--', process.execPath, '-e', script);
  const lines = createInterface({ input: child.stdout ?? process.stdin })[Symbol.asyncIterator]();
  async function progress(): Promise<Progress> {
    child.stdin?.write('\n');
    const { value } = await lines.next();
    return JSON.parse(String(value)) as Progress;
  }
  return {
    progress: () => until(progress, (each) => addresses.every((address) => linesOf(each, address) > 0)),
    async end(): Promise<Progress> {
      const last = await progress();
      child.stdin?.end();
      await once(child, 'exit');
      return last;
    },
  };
}
