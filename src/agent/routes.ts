import { z } from 'zod';
import { OperatingError } from '../base/operating-error.ts';
import { type Change, titleOf } from '../control/change.ts';
import type { ControlView } from '../control/io.ts';
import { movesBetween, type Policy, parsePolicy, planShares } from '../policy/index.ts';
import { formatSlots, type Partition, parseSlots } from '../space/index.ts';
import type { Route } from './control-socket.ts';
import type { EventLine, EventLog } from './event-log.ts';
import { type ShareStatus, sharesOf } from './shares.ts';
import type { AgentStatus } from './status.ts';

/** How long a change waits to be in force everywhere. */
const applyMsMax = 15_000;

export interface RouteParts {
  readonly partition: Partition;
  readonly log: EventLog;
  view(): ControlView;
  status(): Promise<AgentStatus>;
  propose(change: Change): void;
  found(): void;
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
    [
      'POST /v1/policy/apply',
      (body, say, closed) => carryOut(parts, { kind: 'policy', policy: checked(body, parts.partition) }, say, closed),
    ],
    ['POST /v1/change', (body, say, closed) => change(parts, body, say, closed)],
    ['POST /v1/cluster/init', (_body, say, closed) => carryOut(parts, 'init', say, closed)],
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

/** What `POST /v1/change` takes; slots as text. */
const changeSchema = z.discriminatedUnion('kind', [
  z.strictObject({ kind: z.enum(['drain', 'undrain']), name: z.string() }),
  z.strictObject({
    kind: z.literal('move'),
    name: z.string(),
    slots: z.string().max(65_536),
    dryRun: z.boolean().default(false),
  }),
  z.strictObject({ kind: z.literal('voters'), name: z.string().nullable(), instead: z.string().nullable() }),
]);

async function change(
  parts: RouteParts,
  body: string,
  say: (line: unknown) => void,
  closed: AbortSignal,
): Promise<void> {
  const checkedBody = changeSchema.safeParse(JSON.parse(body));
  if (!checkedBody.success) throw new OperatingError('usage', 'no change that is known');
  const asked = checkedBody.data;
  if (asked.kind !== 'move') return carryOut(parts, asked, say, closed);
  const slots = parseSlots(asked.slots, parts.partition.slotCount);
  if (!slots.ok) throw new OperatingError('usage', slots.reason);
  if (!asked.dryRun) return carryOut(parts, { kind: 'move', name: asked.name, slots: slots.value }, say, closed);
  const { owners, members } = parts.view();
  if (!members.includes(asked.name)) {
    throw new OperatingError('usage', `"${asked.name}" is no member, allowed are ${members.join(', ')}`);
  }
  const wanted = new Set(slots.value);
  const target = owners.map((owner, slot) => (wanted.has(slot) ? asked.name : owner));
  for (const move of movesBetween(owners, target)) say({ ...move, slots: formatSlots(move.slots), type: 'would move' });
  say({ done: true, outcome: 'dry run' });
}

/** Says each step as it happens; ends when the change is in force and no slot is on its way any more. */
async function carryOut(
  parts: RouteParts,
  wanted: Change | 'init',
  say: (line: unknown) => void,
  closed: AbortSignal,
): Promise<void> {
  const title = wanted === 'init' ? 'init' : titleOf(wanted);
  const ended = new AbortController();
  closed.addEventListener('abort', () => ended.abort(), { once: true });
  const outcome = new Promise<{ readonly outcome: string; readonly reason?: unknown }>((resolve) => {
    const timer = setTimeout(() => resolve({ outcome: 'late' }), applyMsMax);
    let accepted: string | null = null;
    ended.signal.addEventListener('abort', () => clearTimeout(timer), { once: true });
    const follow = (line: EventLine): void => {
      if (accepted !== null && (line.type === 'ledger' || line.type === 'move')) say(line);
      if (line.type === 'proposal' && line.title === title) {
        accepted = String(line.outcome);
        if (accepted === 'superseded' || accepted === 'refused') resolve({ outcome: accepted, reason: line.reason });
      }
      if (accepted !== null && parts.view().settled) resolve({ outcome: accepted });
    };
    if (!parts.log.watch(follow, ended.signal)) resolve({ outcome: 'busy' });
    if (wanted === 'init') parts.found();
    else parts.propose(wanted);
  });
  const { outcome: result, reason } = await outcome;
  ended.abort();
  if (result === 'late')
    throw new OperatingError('late', `not in force everywhere after ${applyMsMax / 1000} s; see manycast status`);
  if (result === 'superseded')
    throw new OperatingError('superseded', 'another one was applied meanwhile and is in force');
  if (result === 'refused') throw new OperatingError('refused', `${title}: ${reason}`);
  if (result === 'busy') throw new OperatingError('busy', 'too many watchers already');
  say({ done: true, outcome: result, epoch: parts.view().epoch });
}

function checked(text: string, partition: Partition): Policy {
  const parsed = parsePolicy(text, partition.slotCount);
  if (!parsed.ok) throw new OperatingError('policy', parsed.reason);
  return parsed.value;
}
