import { once } from 'node:events';
import { type LabPlan, spawnOn } from '../lab/index.ts';
import { unixMsOf } from '../platform/monotonic-clock.ts';
import type { RunningClients } from './clients.ts';
import type { CommandRecord } from './records.ts';
import type { Workload } from './workload-schema.ts';

type CommandWorkload = Extract<Workload, { kind: 'command' }>;

/** As shells tell it: 128 and the number of SIGKILL. */
const killedCode = 137;

/** Starts a command on a client machine, and tells how it ended. */
export function startCommand(
  plan: LabPlan,
  { run, client, endMs }: CommandWorkload,
  onRecord: (record: CommandRecord) => void,
): RunningClients {
  const began = unixMsOf(performance.now());
  const address = plan.clients.find(({ name }) => name === client)?.addresses[0] ?? '';
  const child = spawnOn(plan, client, ['sh', '-c', run], {
    // What it prints goes with the progress of the run.
    stdio: ['ignore', process.stderr, process.stderr],
    env: { MANYCAST_CLIENT_ADDRESS: address },
    detached: true,
  });
  const ended = once(child, 'exit').then(([code]: unknown[]) => {
    const exitCode = typeof code === 'number' ? code : killedCode;
    onRecord({ kind: 'command', began, at: unixMsOf(performance.now()), client: address, command: run, exitCode });
  });
  return {
    async end(): Promise<void> {
      const timer = setTimeout(() => {
        // With all that it has started.
        if (child.pid !== undefined && child.exitCode === null) process.kill(-child.pid, 'SIGKILL');
      }, endMs);
      await ended;
      clearTimeout(timer);
    },
  };
}
