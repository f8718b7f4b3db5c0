import { defined } from '../base/assert.ts';
import { OperatingError } from '../base/operating-error.ts';
import type { Lab, ReplicaStatus } from '../lab/index.ts';
import { askAgentOnce } from '../platform/agent-client.ts';
import { roles } from './step-schema.ts';

/** Who plays the roles is settled when the timeline first names one, and stays. */
export function createCast(lab: Lab): (name: string) => Promise<string> {
  const cast = new Map<string, string>();
  return async (name) => {
    if (!(roles as readonly string[]).includes(name)) return name;
    if (cast.size === 0) {
      const coordinator = await coordinatorOf(lab);
      const member = lab.plan.replicas.find((replica) => replica.name !== coordinator);
      cast.set('coordinator', coordinator);
      cast.set('member', defined(member, 'a second replica where roles are allowed').name);
    }
    return defined(cast.get(name), 'a role');
  };
}

/** By the first agent that names one: all that do name the same, but for the instants of a change, and one that is stopped says nothing. */
async function coordinatorOf(lab: Lab): Promise<string> {
  const asked = lab.plan.replicas.map(async ({ name }) => {
    const { coordinator } = await askAgentOnce<ReplicaStatus>(lab.socketOf(name), 'GET', '/v1/status');
    if (coordinator === null) throw new OperatingError('scenario', `${name} knows no coordinator`);
    return coordinator;
  });
  return Promise.any(asked).catch((cause) => {
    throw new OperatingError('scenario', 'no agent knows a coordinator', { cause });
  });
}
