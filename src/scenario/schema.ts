import { readFileSync } from 'node:fs';
import { z } from 'zod';
import { messageOf, OperatingError } from '../base/operating-error.ts';
import { firstIssue } from '../base/schema-issue.ts';
import { readYaml } from '../base/yaml.ts';
import { policySchema } from '../policy/index.ts';
import { measureNames } from './measures.ts';
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
  policy: policySchema.describe('Policy in force at the beginning, as in `policy.yaml`.'),
  workloads: z
    .array(z.discriminatedUnion('kind', [http, echo, probe, ping]))
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
  if (stranger) throw new OperatingError('scenario', `${path}: ${stranger}`);
  return checked.data;
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
