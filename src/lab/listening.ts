import { readFileSync } from 'node:fs';

/** State TCP_LISTEN in /proc/net/tcp (proc_net_tcp.rst). */
const listen = '0A';

/** TCP ports on which anybody listens in the network namespace of a process. */
export function listeningPorts(pid: number): ReadonlySet<number> {
  const lines = ['tcp', 'tcp6'].flatMap((table) => readTable(`/proc/${pid}/net/${table}`).split('\n').slice(1));
  return new Set(
    lines.flatMap((line) => {
      const [, local = '', , state] = line.trim().split(/\s+/);
      return state === listen ? [Number.parseInt(local.split(':')[1] ?? '', 16)] : [];
    }),
  );
}

/** Empty where there is none: a kernel without IPv6, or a process that has ended. */
function readTable(path: string): string {
  try {
    return readFileSync(path, 'utf8');
  } catch {
    return '';
  }
}
