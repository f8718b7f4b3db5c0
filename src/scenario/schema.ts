import { readFileSync } from 'node:fs';
import { z } from 'zod';
import { messageOf, OperatingError } from '../base/operating-error.ts';
import { firstIssue } from '../base/schema-issue.ts';
import { readYaml } from '../base/yaml.ts';
import { streamPort } from '../lab/stream.ts';
import { policySchema } from '../policy/index.ts';
import { measureNames } from './measures.ts';
import { needs } from './needs.ts';
import { serversFor } from './servers.ts';
import { type Step, stepComplaint, stepSchema, strangerComplaint } from './step-schema.ts';

const count = (max: number): z.ZodNumber => z.number().int().min(1).max(max);

const http = z
  .strictObject({
    kind: z
      .literal('http')
      .describe('GET requests to port 80, begun on time whether earlier ones are answered or not.'),
    ratePerSecond: count(5000).describe(
      'Requests a second, all clients together; every other one on a connection of its own.',
    ),
    timeoutMs: count(60_000).default(5000).describe('A request without an answer after this long has failed.'),
  })
  .describe('HTTP requests from every client address in turn.');

const echo = z
  .strictObject({
    kind: z.literal('tcp-echo').describe('Long-lived TCP connections to port 7.'),
    sessions: count(1000).describe('Connections kept open, spread over the client addresses.'),
    intervalMs: count(60_000).default(50).describe('Pause between an answer and the next line sent.'),
    stallMs: count(60_000)
      .default(1500)
      .describe('A line without an answer after this long is a stall; the client connects anew.'),
  })
  .describe('Sessions that count lines and check each answer.');

const probe = z
  .strictObject({
    kind: z.literal('probe').describe('TCP connections to port 80, closed as soon as they are open.'),
    intervalMs: count(1000)
      .default(10)
      .describe('A new one from each client address after this long, whatever became of those before.'),
    timeoutMs: count(60_000).default(1000).describe('A connection not open after this long is given up.'),
  })
  .describe('Fresh connections from every client address, to see for how long there are none.');

const ping = z
  .strictObject({
    kind: z.literal('ping').describe('Long-lived TCP connections to port 7, one short line to and fro.'),
    connections: count(64).default(1).describe('Connections, spread over the client addresses.'),
    intervalMs: count(1000).default(1).describe('Pause between an answer and the next line sent.'),
    stallMs: count(60_000)
      .default(1500)
      .describe('A line without an answer after this long: the client connects anew.'),
  })
  .describe('Connections that are never silent, to see the longest pause in them.');

const udpEcho = z
  .strictObject({
    kind: z
      .literal('udp-echo')
      .describe('Numbered datagrams to port 7, sent on time whether earlier ones are answered or not.'),
    flows: count(1000).describe('Sockets, spread over the client addresses.'),
    intervalMs: count(60_000).default(20).describe('Pause between two datagrams of a flow.'),
    timeoutMs: count(60_000).default(1000).describe('A datagram without an answer after this long is lost.'),
    lifeMs: count(600_000)
      .optional()
      .describe('A flow ends after this long, and one with another socket begins; without it they last.'),
  })
  .describe('Datagrams that are counted, and each answer checked.');

const stream = z
  .strictObject({
    kind: z.literal('stream').describe(`Long-lived TCP connections to port ${streamPort}, bytes both ways at once.`),
    streams: count(64).describe('Connections kept open, spread over the client addresses.'),
    bytesPerSecond: count(1e9)
      .optional()
      .describe('Of each connection, each way; without it as fast as the connection takes them.'),
    stallMs: count(60_000).default(5000).describe('No bytes for this long is a stall; the client connects anew.'),
  })
  .describe('Streams of which every byte is checked, at both ends.');

const command = z
  .strictObject({
    kind: z.literal('command').describe('Any command on a client machine, begun with the timeline.'),
    run: z
      .string()
      .min(1)
      .max(4000)
      .describe(
        'For `sh -c`; MANYCAST_SERVICE_ADDRESS is the service, MANYCAST_CLIENT_ADDRESS an address of the client.',
      ),
    client: z
      .string()
      .regex(/^c[0-9]{1,2}$/, 'a client machine such as c1')
      .default('c1')
      .describe('On which client machine.'),
    endMs: count(600_000)
      .default(10_000)
      .describe('It must have ended this long after the timeline; else it is killed, with exit code 137.'),
    serve: z
      .strictObject({
        port: z
          .string()
          .regex(/^[1-9][0-9]{0,4}\/(tcp|udp)$/, 'a port such as 22/tcp')
          .describe('Port of the service, such as `22/tcp`.'),
        run: z
          .string()
          .min(1)
          .max(4000)
          .describe('For `sh -c` in each replica; MANYCAST_DIRECTORY is a directory of its own.'),
      })
      .optional()
      .describe('What serves it; without it an HTTP server on port 80.'),
  })
  .describe('A command whose exit code says whether all was well.');

const expectation = z.strictObject({
  measure: z.enum(measureNames).describe('Name of the measure.'),
  atMost: z.number().optional().describe('Highest value allowed.'),
  atLeast: z.number().optional().describe('Lowest value allowed.'),
});

/** A scenario file, field by field: check, default, documentation. */
export const scenarioSchema = z.strictObject({
  name: z
    .string()
    .regex(/^[a-z0-9]{1,10}$/, '1 to 10 lower-case letters and digits')
    .describe('Short name; the network is called after it.'),
  description: z.string().min(1).max(500).describe('What is shown, in a sentence.'),
  topology: z
    .strictObject({
      replicas: count(16).describe('Replicas, `r1` and so on.'),
      clients: count(16).describe('Client machines, `c1` and so on.'),
      addresses: count(64).describe('Addresses of each client machine.'),
    })
    .describe('The network.'),
  needs: z
    .array(z.enum(needs))
    .max(needs.length)
    .default([])
    .describe(
      'What the lab must be given; without it the scenario is skipped. `root`: a real root, not that of a user namespace. `tun`: /dev/net/tun. The simulator needs neither.',
    ),
  udpIdle: z
    .string()
    .regex(/^[1-9][0-9]{0,3}s$/, 'seconds such as "5s"')
    .optional()
    .describe(
      'How long UDP flows stay with their replica, as `service.udpIdle` of agent.yaml; without it they follow the slot.',
    ),
  policy: policySchema.describe('Policy in force at the beginning, as in `policy.yaml`.'),
  workloads: z
    .array(z.discriminatedUnion('kind', [http, echo, probe, ping, udpEcho, stream, command]))
    .min(1)
    .max(8)
    .describe('What the clients do.'),
  timeline: z.array(stepSchema).min(1).max(100).describe('What happens, one step after the other.'),
  expect: z.array(expectation).max(50).describe('What must be true of the measures at the end.'),
});

export type Scenario = z.output<typeof scenarioSchema>;
export type Workload = Scenario['workloads'][number];
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
  const { timeline, topology } = checked.data;
  const replicas = Array.from({ length: topology.replicas }, (_, i) => `r${i + 1}`);
  const stranger = strangerComplaint(timeline, replicas);
  const complaint = stranger ?? workloadComplaint(checked.data);
  if (complaint) throw new OperatingError('scenario', `${path}: ${complaint}`);
  return checked.data;
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

/** All policies that are in force at some time. */
export function policiesOf({ policy, timeline }: Scenario): Scenario['policy'][] {
  return [policy, ...timeline.flatMap((step) => ('policy' in step ? [step.policy] : []))];
}

/** One step as YAML, such as `cut: r2`, for a lab of these replicas. Throws an OperatingError of one clear line. */
export function readStep(text: string, replicas: readonly string[]): Step {
  const refused = (reason: string) => new OperatingError('scenario', reason.replace(/^timeline\[0\][.:] ?/, ''));
  const input = readYaml(text, yamlBounds);
  if (!input.ok) throw refused(`step: ${input.reason}`);
  const misshapen = stepComplaint([input.value]);
  if (misshapen) throw refused(misshapen);
  const step = stepSchema.parse(input.value);
  const stranger = strangerComplaint([step], replicas);
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
