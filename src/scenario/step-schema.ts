import { z } from 'zod';
import { oneLine } from '../base/one-line.ts';
import { firstIssue } from '../base/schema-issue.ts';
import { policySchema } from '../policy/index.ts';
import { parseSlots } from '../space/index.ts';

/** Instead of a name: whoever is the coordinator, or the first replica that is not, when the timeline first asks; the same for the rest of the run. */
export const roles = ['coordinator', 'member'] as const;

/** In a block: all replicas but the one at its other end. */
export const others = 'others';

const replica = z
  .string()
  .regex(/^[a-z0-9][a-z0-9-]{0,31}$/, 'a name of lower-case letters, digits and "-", at most 32');
const named = replica.describe(
  'Name, such as `r3`, or `coordinator`, or `member`: a replica that is not the coordinator.',
);

const blockEnd = replica.describe(`As elsewhere, or \`${others}\`: all replicas but the one at the other end.`);

const router = z
  .string()
  .regex(/^rt[12]?$/, 'the name of a router: rt, or of two rt1 or rt2')
  .describe('The router `rt`; of two `rt1` or `rt2`.');

/** What an impostor may send. */
export const impostorJoins = [
  'unsigned',
  'stale',
  'copied',
  'changed',
  'other-link',
  'other-cluster',
  'signed',
] as const;
export type ImpostorJoin = (typeof impostorJoins)[number];

const impostorMeanings = [
  '`unsigned`: without a signature.',
  '`stale`: with the key of the replica, but signed a minute ago.',
  '`copied`: every signed join that it has heard since the clients began, once more.',
  '`changed`: the newest of them by the replica, with one bit changed.',
  '`other-link`: with the key and the address of the replica, on the link of the clients.',
  '`other-cluster`: with the name of the replica, by a certificate of another authority.',
  '`signed`: with the key of the replica, in every way as it should be: it counts unless that is revoked.',
].join(' ');

/** Slots as scenarios count them: by the default mask. */
const slotCount = 256;
/** How far a move has come, in order. */
export const movePhases = ['prepare', 'leave', 'owned', 'done'] as const;

/** Each step by its key. */
const stepSchemas = {
  wait: z.strictObject({ wait: z.number().min(0).max(600).describe('Seconds.') }).describe('Let time pass.'),
  moved: z
    .strictObject({
      moved: z
        .number()
        .int()
        .min(1)
        .max(100_000)
        .describe('Connections, all that there were since the beginning; after ten seconds the run fails.'),
    })
    .describe('Wait until clients of `tcp-echo` have seen so many connections go on at another replica.'),
  policy: z
    .strictObject({ policy: policySchema.describe('As in `policy.yaml`.') })
    .describe('Save the policy file that all agents watch.'),
  move: z
    .strictObject({
      move: z
        .strictObject({
          slots: z
            .string()
            .max(65_536)
            .refine((text) => parseSlots(text, slotCount).ok, `slots such as "0-63,128", each at most ${slotCount - 1}`)
            .describe('Slots, such as `0-63,128`.'),
          to: named,
          until: z
            .enum(movePhases)
            .default('done')
            .describe('How far the move is to come before the timeline goes on; `done` when no slot is on its way.'),
        })
        .describe('As `manycast move SLOTS --to REPLICA`.'),
    })
    .describe('Give slots to a replica, whoever has them.'),
  drain: z
    .strictObject({ drain: named })
    .describe('Give a replica no share, as `manycast drain`; the timeline goes on when it has none.'),
  undrain: z
    .strictObject({ undrain: named })
    .describe('Give a drained replica a share again; the timeline goes on when it has it.'),
  upgrade: z
    .strictObject({ upgrade: named })
    .describe(
      'SIGHUP to the agent of a replica, whose kernel goes on, then start it again; the timeline goes on when it serves.',
    ),
  cut: z.strictObject({ cut: named }).describe('Pull the cable of a replica.'),
  heal: z
    .strictObject({ heal: named })
    .describe(
      'Plug the cable of a replica in again; end every block that concerns it, and its part in the loss on the control channel.',
    ),
  kill: z
    .strictObject({
      kill: z
        .strictObject({
          agent: named.optional(),
          host: named.optional(),
          server: named.optional(),
          router: router.optional(),
        })
        .refine(hasOneField, 'one of agent, host, server, router')
        .describe(
          '`agent`: nothing else. `server`: what serves beside the agent. `host`: the cables, then every process, as when a machine loses power; of a router too, which is in the way until `withdraw`. `router`: its daemon; the kernel goes on.',
        ),
    })
    .describe('Kill with SIGKILL.'),
  stop: z
    .strictObject({
      stop: z
        .strictObject({
          agent: named,
          seconds: z.number().min(0).max(600).describe('How long, while the timeline goes on.'),
        })
        .describe('SIGSTOP, then SIGCONT.'),
    })
    .describe('Stop an agent for a while, as when its machine is starved.'),
  restart: z
    .strictObject({
      restart: z
        .strictObject({ agent: named.optional(), router: router.optional() })
        .refine(hasOneField, 'one of agent, router')
        .describe('Whose agent, or which router.'),
    })
    .describe(
      'Start an agent, or the daemon of a router, again; one that lives gets a SIGTERM first, and the timeline waits for its end. After a router it goes on when that sends the packets of all slots again.',
    ),
  withdraw: z
    .strictObject({ withdraw: router })
    .describe("Take a router out of everybody's routes, as a routing protocol does once it is not heard."),
  revoke: z
    .strictObject({ revoke: named })
    .describe("Put the certificates of a replica on the authority's list, which agents and routers follow."),
  impostor: z
    .strictObject({
      impostor: z
        .strictObject({
          join: z.enum(impostorJoins).describe(impostorMeanings),
          as: named.default('r1').describe('The replica that it claims to be, or whose key it has.'),
        })
        .describe(
          'On a machine among the replicas that is none of them; it claims the packets of all clients. The timeline goes on when every router has judged what was sent, or after 3 s.',
        ),
    })
    .describe('Send joins that ought not to count.'),
  leave: z.strictObject({ leave: named }).describe('SIGTERM to the agent of a replica, which hands everything off.'),
  block: z
    .strictObject({
      block: z
        .strictObject({
          from: blockEnd.optional(),
          to: blockEnd.optional(),
          between: z.array(blockEnd).length(2).optional().describe('Two of them: both ways.'),
        })
        .refine(isOneBlock, `either from and to, or between: two replicas, at most one of them ${others}`)
        .describe('`from` and `to`: one way.'),
    })
    .describe('Drop all frames from one replica to another, at the switch.'),
  loss: z
    .strictObject({
      loss: z
        .strictObject({ percent: z.number().int().min(0).max(100).describe('Of the datagrams; 0 ends it.') })
        .describe('At random, for each receiver by itself.'),
    })
    .describe('Lose datagrams of the control channel at the switch.'),
  destroyState: z
    .strictObject({ destroyState: named })
    .describe("Kill a replica's agent and remove all that it remembers; `restart` begins anew."),
  flush: z.strictObject({ flush: named }).describe('`nft flush ruleset` on a replica, as by a careless firewall.'),
} as const;

export const stepSchema = z.union(Object.values(stepSchemas));
export type Step = z.output<typeof stepSchema>;

/** What is wrong with the form of a timeline, as one line; null for nothing. Says more than the union of all steps could. */
export function stepComplaint(timeline: readonly unknown[]): string | null {
  for (const [i, step] of timeline.entries()) {
    const keys = typeof step === 'object' && step !== null ? Object.keys(step) : [];
    const [key = ''] = keys;
    if (keys.length !== 1) {
      return `timeline[${i}]: a step has one key, allowed are ${Object.keys(stepSchemas).join(', ')}`;
    }
    if (!Object.hasOwn(stepSchemas, key)) {
      return `timeline[${i}].${oneLine(key)}: unknown step, allowed are ${Object.keys(stepSchemas).join(', ')}`;
    }
    const schema = stepSchemas[key as keyof typeof stepSchemas];
    const checked = schema.safeParse(step);
    if (!checked.success) return `timeline[${i}].${firstIssue(schema, checked.error, step)}`;
  }
  return null;
}

/** The first name that is not there, as one line; null for none. */
export function strangerComplaint(
  timeline: readonly Step[],
  { replicas, routers }: { readonly replicas: readonly string[]; readonly routers: readonly string[] },
): string | null {
  const several = replicas.length > 1;
  for (const [i, step] of timeline.entries()) {
    const agents = [...replicas, ...(several ? roles : []), ...(several && 'block' in step ? [others] : [])];
    for (const [path, name] of namesIn(step)) {
      const what = ofRouters.includes(path) ? 'router' : 'replica';
      const hosts = path === 'kill.host' ? [...agents, ...routers] : agents;
      const allowed = what === 'router' ? routers : hosts;
      if (allowed.includes(name)) continue;
      return `timeline[${i}].${path}: no such ${what}, allowed are ${allowed.join(', ') || 'none without `delivery: router`'}`;
    }
  }
  return null;
}

/** Fields of steps that name a router. */
const ofRouters: readonly string[] = ['withdraw', 'kill.router', 'restart.router'];

/** Fields of steps that hold text and name nobody. */
const nameless: readonly string[] = ['slots', 'until', 'join'];

/** Every replica and router that a step names, with where it does. */
function namesIn(step: Step): (readonly [path: string, name: string])[] {
  return Object.entries(step).flatMap(([key, value]: [string, unknown]) => {
    if (key === 'policy') return [];
    if (typeof value === 'string') return [[key, value] as const];
    if (typeof value !== 'object' || value === null) return [];
    return Object.entries(value)
      .filter(([field]) => !nameless.includes(field))
      .flatMap(([field, name]: [string, unknown]) =>
        (Array.isArray(name) ? name : [name])
          .filter((each) => typeof each === 'string')
          .map((each) => [`${key}.${field}`, each] as const),
      );
  });
}

function hasOneField(fields: object): boolean {
  return Object.values(fields).filter((value) => value !== undefined).length === 1;
}

interface BlockEnds {
  readonly from?: string | undefined;
  readonly to?: string | undefined;
  readonly between?: readonly string[] | undefined;
}

function isOneBlock({ from, to, between }: BlockEnds): boolean {
  const ends: readonly (string | undefined)[] = between ?? [from, to];
  const mixed = between !== undefined && (from !== undefined || to !== undefined);
  return !mixed && !ends.includes(undefined) && ends[0] !== ends[1];
}
