import { once } from 'node:events';
import { fileURLToPath } from 'node:url';
import { OperatingError } from '../base/operating-error.ts';
import type { LabPlan } from './plan.ts';
import { spawnOn } from './spawn-on.ts';

const program = fileURLToPath(new URL('apply-owners-main.js', import.meta.url));

/** Has the router of a lab send packets to these owners: slots such as "0-63,70" by name of the replica. Resolves when its kernel does. Throws an OperatingError when that fails. */
export async function applyOwners(plan: LabPlan, owners: Readonly<Record<string, string>>): Promise<void> {
  const hops = plan.replicas.flatMap(({ name, address }) => {
    const slots = owners[name];
    return slots === undefined ? [] : [`${address}=${slots}`];
  });
  const child = spawnOn(plan, 'rt', [process.execPath, program, plan.service.address, ...hops], {
    stdio: ['ignore', 'ignore', 'inherit'],
  });
  const [code] = await once(child, 'exit');
  if (code !== 0) throw new OperatingError('lab', `the router did not take its owners: exit code ${code}`);
}
