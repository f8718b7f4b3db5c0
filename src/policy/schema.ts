import { z } from 'zod';

/** Replicas that one policy may name. */
export const namesMax = 256;

const name = z
  .string()
  .regex(/^[a-z0-9]([a-z0-9-]{0,30}[a-z0-9])?$/, 'a name of lower-case letters, digits and "-", at most 32');

const handoff = z
  .enum(['forward', 'reset', 'transfer', 'tag'])
  .default('forward')
  .describe(
    'What happens to established connections of slots that move. `forward`: the old replica goes on serving them until they end, or until the drain deadline. `reset`: the old replica resets them, and their clients reconnect to the new one. `transfer`: connections of applications with the SDK are moved live to the new replica, and the others are forwarded; without `sdk` and `certificates` in agent.yaml all are. `tag`: in router delivery the old replica names its connections to the routers, which go on sending it their packets until they end; what a router has no room for, and all where there are no routers, is as with `forward`.',
  );

const drainDeadline = z
  .number()
  .int()
  .min(1)
  .max(86_400)
  .default(3600)
  .describe(
    'Seconds that established connections of a slot may go on at a replica that has given the slot away, or whose agent has ended; then they are reset.',
  );

const equal = z
  .strictObject({
    strategy: z.literal('equal').describe('Every replica gets as many slots as any other.'),
    handoff,
    drainDeadline,
  })
  .describe('Strategy `equal`');

const weighted = z
  .strictObject({
    strategy: z.literal('weighted').describe('Slots in proportion to weights.'),
    weights: z
      .record(name, z.number().int().min(0).max(1000))
      .refine((weights) => Object.keys(weights).length <= namesMax, `at most ${namesMax} names`)
      .describe(
        'Weight of each replica by name, 0 to 1000. A replica that is not listed has weight 0; when all that are present have weight 0, they share equally.',
      ),
    handoff,
    drainDeadline,
  })
  .describe('Strategy `weighted`');

const explicit = z
  .strictObject({
    strategy: z.literal('explicit').describe('Slots by name.'),
    shares: z
      .record(name, z.string('text such as "0-63,128"').max(65_536))
      .refine((shares) => Object.keys(shares).length <= namesMax, `at most ${namesMax} names`)
      .describe(
        'Slots of each replica by name, such as `0-63,128`; no slot twice. Slots that nobody is given, or whose replica is away, are shared equally among those present.',
      ),
    handoff,
    drainDeadline,
  })
  .describe('Strategy `explicit`');

/** `policy.yaml`, field by field: check, default, documentation. */
export const policySchema = z.discriminatedUnion('strategy', [equal, weighted, explicit]);

/** How the slots are to be shared, as checked. */
export type Policy = z.output<typeof policySchema>;
