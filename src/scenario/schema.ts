import { readFileSync } from 'node:fs';
import { z } from 'zod';
import { messageOf, OperatingError } from '../base/operating-error.ts';
import { firstIssue } from '../base/schema-issue.ts';
import { readYaml } from '../base/yaml.ts';
import { clientAddressesMax, type LabNode, type LabPlan, labLimits, routerNames } from '../lab/index.ts';
import { policySchema } from '../policy/index.ts';
import { measureNames } from './measures.ts';
import { needs } from './needs.ts';
import { serversFor } from './servers.ts';
import { type Step, stepComplaint, stepSchema, strangerComplaint } from './step-schema.ts';
import { count, workloadSchema } from './workload-schema.ts';

const expectation = z
  .strictObject({
    measure: z.enum(measureNames).describe('Name of the measure.'),
    atMost: z.number().optional().describe('Highest value allowed.'),
    atLeast: z.number().optional().describe('Lowest value allowed.'),
    needs: z
      .array(z.enum(needs))
      .max(needs.length)
      .optional()
      .describe('As that of the whole file, for this one alone: without it nothing is expected.'),
  })
  // Without one it would always be met.
  .refine(({ atMost, atLeast }) => atMost !== undefined || atLeast !== undefined, 'a bound: atMost, atLeast or both');

const deliveries = ['segment', 'group', 'router'] as const;

/** A scenario file, field by field: check, default, documentation. */
export const scenarioSchema = z.strictObject({
  name: z
    .string()
    .regex(/^[a-z0-9]{1,10}$/, '1 to 10 lower-case letters and digits')
    .describe('Short name; the network is called after it.'),
  description: z.string().min(1).max(500).describe('What is shown, in a sentence.'),
  topology: z
    .strictObject({
      replicas: count(labLimits.replicas).describe('Replicas, `r1` and so on.'),
      clients: count(labLimits.clients).describe('Client machines, `c1` and so on.'),
      addresses: count(labLimits.addresses).describe(
        `Addresses of each client machine; ${clientAddressesMax} of all machines together at most.`,
      ),
      routers: count(labLimits.routers)
        .optional()
        .describe('Router delivery alone: one router, `rt`, or two side by side, `rt1` and `rt2`; one by default.'),
      onLoopback: z
        .boolean()
        .default(false)
        .describe(
          'Group delivery alone: all machines are this one, and its loopback device is the network. Needs no namespaces, and no privilege.',
        ),
    })
    .refine(({ clients, addresses }) => clients * addresses <= clientAddressesMax, {
      path: ['addresses'],
      error: `at most ${clientAddressesMax} of all client machines together`,
    })
    .describe('The network.'),
  needs: z
    .array(z.enum(needs))
    .max(needs.length)
    .default([])
    .describe(
      'What the lab must be given; without it the scenario is skipped. `root`: a real root, not that of a user namespace. `tun`: /dev/net/tun. The simulator needs neither.',
    ),
  delivery: z
    .enum(deliveries)
    .default('segment')
    .describe(
      'As in agent.yaml: how packets reach the replicas. With `router` there is a router between them and the clients; in `group` delivery there is `udp-echo` alone.',
    ),
  access: z
    .enum(['authority', 'public'])
    .default('authority')
    .describe(
      'Of `router` delivery, as `access.kind` of router.yaml: with `authority` every agent has a certificate of the lab’s, and joins are signed; with `public` nobody has a key.',
    ),
  otherwise: z
    .string()
    .regex(/^[a-z0-9][a-z0-9-]*\.yaml$/, 'a scenario file beside this one')
    .optional()
    .describe('What runs instead where the lab can have no namespaces.'),
  udpIdle: z
    .string('seconds such as "5s"')
    .regex(/^[1-9][0-9]{0,3}s$/, 'seconds such as "5s"')
    .optional()
    .describe(
      'How long UDP flows stay with their replica, as `service.udpIdle` of agent.yaml; without it they follow the slot.',
    ),
  programs: z
    .array(z.string().regex(/^[a-z0-9][a-z0-9.+-]{0,31}$/, 'the name of a program'))
    .max(16)
    .default([])
    .describe('What must be installed, such as `sshd`; without it the scenario is skipped. The simulator needs none.'),
  policy: policySchema.describe('Policy in force at the beginning, as in `policy.yaml`.'),
  workloads: z.array(workloadSchema).min(1).max(8).describe('What the clients do.'),
  timeline: z.array(stepSchema).min(1).max(100).describe('What happens, one step after the other.'),
  expect: z.array(expectation).max(50).describe('What must be true of the measures at the end.'),
});

export type Scenario = z.output<typeof scenarioSchema>;
export type Expectation = Scenario['expect'][number];

/** Reads and checks a file. Throws an OperatingError of one clear line. */
export function readScenario(path: string): Scenario {
  const input = inputOf(path);
  const timelineGiven = (input as { timeline?: unknown } | null)?.timeline;
  const misshapen = Array.isArray(timelineGiven) ? stepComplaint(timelineGiven) : null;
  if (misshapen) throw new OperatingError('scenario', `${path}: ${misshapen}`);
  const checked = scenarioSchema.safeParse(input);
  if (!checked.success) {
    throw new OperatingError('scenario', `${path}: ${firstIssue(scenarioSchema, checked.error, input)}`);
  }
  const complaint = workloadComplaint(checked.data) ?? deliveryComplaint(checked.data);
  if (complaint) throw new OperatingError('scenario', `${path}: ${complaint}`);
  return checked.data;
}

/** The same scenario where packets reach the replicas in another way. Throws an OperatingError of one clear line. */
export function withDelivery(scenario: Scenario, wanted: string): Scenario {
  const refused = (reason: string): OperatingError => new OperatingError('usage', `--delivery: ${reason}`);
  const delivery = deliveries.find((each) => each === wanted);
  if (!delivery) throw refused(`"${wanted}" is not allowed, allowed are ${deliveries.join(', ')}`);
  if (scenario.delivery === 'group' && delivery !== 'group') {
    throw refused('the clients of this scenario send to a group, which is what it is about');
  }
  const changed = { ...scenario, delivery };
  const complaint = deliveryComplaint(changed);
  if (complaint) throw refused(complaint);
  return changed;
}

/** What workloads want that is not there, or that two of them want, as one line; null for nothing. */
function workloadComplaint({ workloads, topology }: Scenario): string | null {
  const clients = Array.from({ length: topology.clients }, (_, i) => `c${i + 1}`);
  for (const [i, each] of workloads.entries()) {
    if (each.kind !== 'command') continue;
    if (!clients.includes(each.client)) {
      return `workloads[${i}].client: no such client machine, allowed are ${clients.join(', ')}`;
    }
    const taken = serversFor(workloads).filter(({ port }) => port === each.serve?.port);
    if (taken.length > 1) return `workloads[${i}].serve.port: ${each.serve?.port} is served already`;
  }
  return null;
}

/** What needs more than the delivery, or the network, has. */
function deliveryComplaint(scenario: Scenario): string | null {
  const { delivery, topology, workloads, timeline } = scenario;
  const replicas = Array.from({ length: topology.replicas }, (_, i) => `r${i + 1}`);
  const unknown = strangerComplaint(timeline, { replicas, routers: routerNames({ delivery, ...topology }) });
  if (unknown) return unknown;
  if (topology.routers !== undefined && delivery !== 'router') return 'topology.routers: only with router delivery';
  if (topology.onLoopback && delivery !== 'group') return 'topology.onLoopback: only with group delivery';
  const stranger = workloads.findIndex(({ kind }) => kind !== 'udp-echo');
  if (delivery === 'group' && stranger >= 0) return `workloads[${stranger}].kind: group delivery has udp-echo alone`;
  const switched = timeline.findIndex(
    (step) =>
      ['cut', 'heal', 'block', 'loss', 'flush'].some((each) => each in step) || ('kill' in step && step.kill.host),
  );
  if (topology.onLoopback && switched >= 0)
    return `timeline[${switched}]: without namespaces there is no switch, and no host`;
  return keyComplaint(scenario);
}

/** Steps about keys where nobody has one, or about joins where there are none. */
function keyComplaint(scenario: Scenario): string | null {
  const { delivery, access, timeline } = scenario;
  for (const [i, step] of timeline.entries()) {
    if ('revoke' in step && !haveKeys(scenario)) return `timeline[${i}].revoke: nobody has a certificate`;
    if (!('impostor' in step)) continue;
    if (delivery !== 'router') return `timeline[${i}].impostor: joins are for routers, and there are none`;
    const { join } = step.impostor;
    if (access === 'public' && join !== 'unsigned')
      return `timeline[${i}].impostor.join: "${join}" needs keys, and nobody has one`;
  }
  return null;
}

/** Agents have certificates: to sign joins, or to hand connections over. */
export function haveKeys(scenario: Scenario): boolean {
  const { delivery, access } = scenario;
  return (delivery === 'router' && access === 'authority') || transfers(scenario);
}

/** Connections are handed over under some policy. */
export function transfers(scenario: Scenario): boolean {
  return policiesOf(scenario).some(({ handoff }) => handoff === 'transfer');
}

/** All policies that are in force at some time. */
export function policiesOf({ policy, timeline }: Scenario): Scenario['policy'][] {
  return [policy, ...timeline.flatMap((step) => ('policy' in step ? [step.policy] : []))];
}

/** One step as YAML, such as `cut: r2`, for a lab. Throws an OperatingError of one clear line. */
export function readStep(text: string, { replicas, routers }: Pick<LabPlan, 'replicas' | 'routers'>): Step {
  const refused = (reason: string) => new OperatingError('scenario', reason.replace(/^timeline\[0\][.:] ?/, ''));
  const input = readYaml(text, yamlBounds);
  if (!input.ok) throw refused(`step: ${input.reason}`);
  const misshapen = stepComplaint([input.value]);
  if (misshapen) throw refused(misshapen);
  const step = stepSchema.parse(input.value);
  const names = (nodes: readonly LabNode[]): string[] => nodes.map(({ name }) => name);
  const stranger = strangerComplaint([step], { replicas: names(replicas), routers: names(routers) });
  if (stranger) throw refused(stranger);
  return step;
}

/** A hundred steps with a policy each. */
const yamlBounds = { bytesMax: 1024 * 1024, symbolsMax: 65_536 };

function inputOf(path: string): unknown {
  const refused = (reason: string, cause?: unknown) => new OperatingError('scenario', `${path}: ${reason}`, { cause });
  let text: string;
  try {
    text = readFileSync(path, 'utf8');
  } catch (cause) {
    throw refused(messageOf(cause), cause);
  }
  const input = readYaml(text, yamlBounds);
  if (!input.ok) throw refused(input.reason);
  return input.value;
}
