// Programs that are run and waited for, and those that go on until they are ended.
import { spawn } from 'node:child_process';
import { once } from 'node:events';

/**
 * What a command prints. Rejects with what it says on standard error when it cannot be started or ends with another code than 0.
 * @param {string[]} argv
 * @param {{ input?: string, timeoutMs?: number, env?: NodeJS.ProcessEnv }} [options] `input` is for its standard input
 * @returns {Promise<string>}
 */
export async function run(argv, { input, timeoutMs = 120_000, env = process.env } = {}) {
  const [command, ...args] = argv;
  const child = spawn(command, args, { stdio: [input === undefined ? 'ignore' : 'pipe', 'pipe', 'pipe'], env });
  const texts = { stdout: '', stderr: '' };
  for (const name of ['stdout', 'stderr']) {
    child[name].setEncoding('utf8').on('data', (text) => {
      texts[name] += text;
    });
  }
  if (input !== undefined) child.stdin.on('error', () => {}).end(input);
  const timer = setTimeout(() => child.kill('SIGKILL'), timeoutMs);
  try {
    const [code, signal] = await once(child, 'close');
    if (code === 0) return texts.stdout;
    const how =
      code === null
        ? `ended by ${signal}${signal === 'SIGKILL' ? `, after ${timeoutMs} ms perhaps` : ''}`
        : `ended with ${code}`;
    throw new Error(`${argv.join(' ')} ${how}: ${texts.stderr.trim() || texts.stdout.trim()}`);
  } finally {
    clearTimeout(timer);
  }
}

/**
 * Starts a command that goes on; its output is thrown away unless `stdio` says otherwise.
 * @param {string[]} argv
 * @param {import('node:child_process').SpawnOptions} [options]
 */
export function start([command, ...args], options = {}) {
  const child = spawn(command, args, { stdio: 'ignore', ...options });
  // One that cannot be started shows as one that has ended.
  child.on('error', () => {});
  return child;
}

/**
 * Asks a process that `start` started to end, insists after `patienceMs`, and resolves when it is gone.
 * @param {import('node:child_process').ChildProcess} child
 */
export async function end(child, signal = 'SIGTERM', patienceMs = 2000) {
  if (child.pid === undefined || child.exitCode !== null || child.signalCode !== null) return;
  const gone = once(child, 'exit');
  child.kill(signal);
  const timer = setTimeout(() => child.kill('SIGKILL'), patienceMs);
  await gone;
  clearTimeout(timer);
}

/**
 * Asks again and again, until the answer is true.
 * @param {string} what for the error when it does not become so in time
 * @param {() => Promise<boolean> | boolean} ask one that rejects is a no
 */
export async function until(what, ask, timeoutMs = 20_000, everyMs = 50) {
  for (const endMs = performance.now() + timeoutMs; ; ) {
    if (
      await Promise.resolve()
        .then(ask)
        .catch(() => false)
    )
      return;
    if (performance.now() > endMs) throw new Error(`${what}: not within ${timeoutMs} ms`);
    await new Promise((resolve) => setTimeout(resolve, everyMs));
  }
}
