import { OperatingError } from '../base/operating-error.ts';
import type { ControlView } from '../control/io.ts';
import { movesBetween, type Policy, parsePolicy, planShares } from '../policy/index.ts';
import { formatSlots, type Partition } from '../space/index.ts';
import type { Route } from './control-socket.ts';
import type { EventLine, EventLog } from './event-log.ts';
import { type ShareStatus, sharesOf } from './shares.ts';
import type { AgentStatus } from './status.ts';

/** How long `policy apply` waits for the new shares to be in force everywhere. */
const applyMsMax = 15_000;

export interface RouteParts {
  readonly partition: Partition;
  readonly log: EventLog;
  view(): ControlView;
  status(): Promise<AgentStatus>;
  propose(policy: Policy): void;
}

/** What `POST /v1/policy/plan` answers: what applying the policy now would change. */
export interface PolicyPlan {
  readonly policy: Policy;
  readonly moves: readonly {
    readonly slots: string;
    readonly count: number;
    readonly from: string | null;
    readonly to: string;
  }[];
  readonly owners: readonly ShareStatus[];
}

export function agentRoutes(parts: RouteParts): ReadonlyMap<string, Route> {
  return new Map<string, Route>([
    ['GET /v1/status', async (_body, say) => say(await parts.status())],
    ['GET /v1/events', (_body, say, closed) => events(parts.log, say, closed)],
    ['POST /v1/policy/plan', async (body, say) => say(await plan(parts, body))],
    ['POST /v1/policy/apply', (body, say, closed) => apply(parts, body, say, closed)],
  ]);
}

async function events(log: EventLog, say: (line: EventLine) => void, closed: AbortSignal): Promise<void> {
  if (!log.watch(say, closed)) throw new OperatingError('busy', 'too many watchers already');
  await new Promise<void>((resolve) => closed.addEventListener('abort', () => resolve(), { once: true }));
}

async function plan({ partition, view }: RouteParts, text: string): Promise<PolicyPlan> {
  const policy = checked(text, partition);
  const { owners: current, members } = view();
  if (members.length === 0) throw new OperatingError('waiting', 'the replicas have not agreed on a first map yet');
  const target = planShares({ partition, policy, members, current });
  return {
    policy,
    moves: movesBetween(current, target).map(({ slots, from, to }) => ({
      slots: formatSlots(slots),
      count: slots.length,
      from,
      to,
    })),
    owners: await sharesOf(partition, target, members),
  };
}

/** Says each step as it happens; ends when the policy is in force and no slot is on its way any more. */
async function apply(
  parts: RouteParts,
  text: string,
  say: (line: unknown) => void,
  closed: AbortSignal,
): Promise<void> {
  const policy = checked(text, parts.partition);
  const ended = new AbortController();
  closed.addEventListener('abort', () => ended.abort(), { once: true });
  const outcome = new Promise<string>((resolve) => {
    const timer = setTimeout(() => resolve('late'), applyMsMax);
    let accepted: string | null = null;
    ended.signal.addEventListener('abort', () => clearTimeout(timer), { once: true });
    const follow = (line: EventLine): void => {
      if (accepted !== null && (line.type === 'ledger' || line.type === 'move')) say(line);
      if (line.type === 'proposal') accepted = String(line.outcome);
      if (accepted === 'superseded' || (accepted !== null && parts.view().settled)) resolve(accepted);
    };
    if (!parts.log.watch(follow, ended.signal)) resolve('busy');
    parts.propose(policy);
  });
  const result = await outcome;
  ended.abort();
  if (result === 'late')
    throw new OperatingError('late', `not in force everywhere after ${applyMsMax / 1000} s; see manycast status`);
  if (result === 'superseded')
    throw new OperatingError('superseded', 'another policy was applied meanwhile and is in force');
  if (result === 'busy') throw new OperatingError('busy', 'too many watchers already');
  say({ done: true, outcome: result, epoch: parts.view().epoch });
}

function checked(text: string, partition: Partition): Policy {
  const parsed = parsePolicy(text, partition.slotCount);
  if (!parsed.ok) throw new OperatingError('policy', parsed.reason);
  return parsed.value;
}
