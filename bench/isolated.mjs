// Everything is measured in a network, a process tree and a /run of its own: whatever happens, nothing is left on the machine, and nothing on it is touched.
import { spawn } from 'node:child_process';
import { once } from 'node:events';

const mark = 'MANYCAST_BENCH_INSIDE';

/** Whether this process is the one inside. */
export function isIsolated() {
  return process.env[mark] !== undefined;
}

/**
 * Runs this same command line again, isolated, and gives its exit code. When this process is ended, so is everything inside.
 * @returns {Promise<number>}
 */
export async function runIsolated() {
  const flags = ['--mount', '--net', '--pid', '--fork', '--kill-child', '--mount-proc', '--propagation', 'private'];
  // Named namespaces, labs and what is only for a while are kept in /run. The shell stays as the first process: it reaps what ends.
  const script = 'mount -t tmpfs tmpfs /run && mkdir -m 700 /run/bench && ip link set lo up && "$@"; exit $?';
  const argv = [...flags, 'sh', '-c', script, 'sh', process.execPath, ...process.argv.slice(1)];
  const env = { ...process.env, [mark]: '1', TMPDIR: '/run/bench', MANYCAST_LAB_HOME: '/run/bench/lab' };
  const child = spawn('unshare', argv, { stdio: 'inherit', env });
  // A terminal's Ctrl-C reaches those inside by itself, and they end in order.
  process.on('SIGINT', () => {});
  for (const signal of ['SIGTERM', 'SIGHUP']) process.on(signal, () => child.kill('SIGKILL'));
  const [code] = await once(child, 'exit');
  return code ?? 1;
}
