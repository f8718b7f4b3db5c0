import { formatIp, parseIp } from '../base/address.ts';
import { oneLine } from '../base/one-line.ts';
import { ok, type Result, refuse } from '../base/result.ts';
import type { TcpFlow } from '../base/tcp-flow.ts';
import { type Filter, formatFilter, parseFilter } from '../space/filter.ts';

/** What agent and SDK say to each other: one JSON object a line, as docs/sdk-protocol.md has it. */
export const protocolVersion = 1;

/** Of the connections by which an application is told its share of datagrams. */
export const datagramVersion = 1;

/** State and unread bytes of one connection, each. */
export const stateBytesMax = 1024 * 1024;
/** A line with state and unread bytes of that size, in base64. */
export const lineBytesMax = 3 * 1024 * 1024;
/** Flows in one message. */
export const flowsMax = 256;
const portsMax = 1024;
const textCharactersMax = 256;

/** Why a connection stays where it is. */
export const refusals = ['unknown', 'tls', 'busy', 'closing', 'upgraded', 'application', 'too-large', 'gone'] as const;
export type Refusal = (typeof refusals)[number];

/** Who decides whose a datagram is; `everybody`: whatever comes is this host's. */
export const deciders = ['kernel', 'application', 'everybody'] as const;
/** Entries of a list about datagrams: as many as may be of one replica, and still fit a line. */
const datagramListMax = 65_536;
/** Those of one answer about flows that were seen. */
export const clientsMax = 4096;

/** Sessions in one message, and the state of each. */
export const sessionsMax = 64;
export const sessionBytesMax = 32 * 1024;
/** The longest of UDP over IPv4. */
const datagramBytesMax = 65_507;

export type DatagramSession = DatagramClient & { readonly state: Uint8Array };
export type DatagramClient = Pick<TcpFlow, 'client' | 'clientPort'>;

interface Field<T> {
  /** Undefined when it is not allowed. */
  read(value: unknown): T | undefined;
  write(value: T): unknown;
}

const natural: Field<number> = {
  read: (value) => (typeof value === 'number' && Number.isSafeInteger(value) && value >= 0 ? value : undefined),
  write: (value) => value,
};
const text: Field<string> = {
  read: (value) => (typeof value === 'string' ? oneLine(value, textCharactersMax) : undefined),
  write: (value) => oneLine(value, textCharactersMax),
};
const bytes = bytesOf(stateBytesMax);
const port: Field<number> = {
  read: (value) =>
    typeof value === 'number' && Number.isInteger(value) && value >= 1 && value <= 65_535 ? value : undefined,
  write: (value) => value,
};
const flow: Field<TcpFlow> = {
  read(value) {
    if (typeof value !== 'object' || value === null) return undefined;
    const { client, clientPort, servicePort } = value as Readonly<Record<string, unknown>>;
    const address = typeof client === 'string' ? parseIp(client) : null;
    const ports = [port.read(clientPort), port.read(servicePort)] as const;
    if (!address?.ok || ports[0] === undefined || ports[1] === undefined) return undefined;
    return { client: address.value, clientPort: ports[0], servicePort: ports[1] };
  },
  write: ({ client, clientPort, servicePort }) => ({ client: formatIp(client), clientPort, servicePort }),
};
const code: Field<Refusal> = {
  read: (value) => refusals.find((each) => each === value),
  write: (value) => value,
};
/** A client's end of a flow: "192.0.2.1:40000". Its port may be 0 (RFC 768). */
const client: Field<DatagramClient> = {
  read(value) {
    const [, host = '', number = ''] =
      typeof value === 'string' ? (/^([\d.]{7,15}):(0|[1-9]\d{0,4})$/.exec(value) ?? []) : [];
    const address = parseIp(host);
    const clientPort = Number(number);
    return address.ok && clientPort <= 65_535 ? { client: address.value, clientPort } : undefined;
  },
  write: (value) => `${formatIp(value.client)}:${value.clientPort}`,
};
const filter: Field<Filter> = {
  read(value) {
    const parsed = typeof value === 'string' ? parseFilter(value) : null;
    return parsed?.ok ? parsed.value : undefined;
  },
  write: formatFilter,
};
const decider: Field<(typeof deciders)[number]> = {
  read: (value) => deciders.find((each) => each === value),
  write: (value) => value,
};
const flag: Field<boolean> = {
  read: (value) => (typeof value === 'boolean' ? value : undefined),
  write: (value) => value,
};
const sessionState = bytesOf(sessionBytesMax);
const session: Field<DatagramSession> = {
  read(value) {
    if (typeof value !== 'object' || value === null) return undefined;
    const { client: end, state } = value as Readonly<Record<string, unknown>>;
    const read = [client.read(end), sessionState.read(state)] as const;
    return read[0] && read[1] && { ...read[0], state: read[1] };
  },
  write: (value) => ({ client: client.write(value), state: sessionState.write(value.state) }),
};
const sessions = listOf(session, sessionsMax);
const datagram = bytesOf(datagramBytesMax);
const filters = listOf(filter, datagramListMax);
const clients = listOf(client, datagramListMax);
const ports = listOf(port, portsMax);
const flows = listOf(flow, flowsMax);

/** What an application says. `token` is that of the welcome; `descriptor` is the number it was passed under. */
const fromApplication = {
  hello: { version: natural, ports },
  descriptors: { token: text },
  ports: { ports },
  frozen: { id: natural, flow, state: bytes, unread: bytes, descriptor: natural },
  refused: { id: natural, flow, code, reason: text },
  adopted: { id: natural, flow },
  calmed: { id: natural, alone: orNone(flows) },
  datagrams: { version: natural },
  receives: { port, descriptor: natural, hasSessions: flag },
  ceases: { port },
  shared: { id: natural },
  seen: { id: natural, clients, isLast: flag },
  counted: { id: natural, taken: natural },
  exported: { id: natural, sessions },
  imported: { id: natural },
  passed: { port, client, datagram },
} as const;

/** What an agent says. */
const fromAgent = {
  welcome: { version: natural, node: text, token: text },
  error: { reason: text },
  calm: { id: natural, flows },
  freeze: { id: natural, flows },
  moved: { flow },
  thaw: { flow },
  adopt: { id: natural, flow, state: bytes, unread: bytes, descriptor: natural },
  go: { flow },
  drop: { flow },
  finish: { flows },
  joined: {},
  share: { id: natural, port, by: decider, filters, kept: clients, foreign: clients, idleMs: natural },
  lease: { port, until: natural },
  look: { id: natural, port },
  count: { id: natural, port },
  denied: { port, reason: text },
  export: { id: natural, port, clients },
  gone: { port, clients },
  stay: { port, clients },
  import: { id: natural, port, sessions },
  withdraw: { port, clients },
  pass: { port, client, datagram },
} as const;

type Fields = Readonly<Record<string, Field<unknown>>>;
type Table = Readonly<Record<string, Fields>>;
type ValueOf<F> = F extends Field<infer T> ? T : never;
type MessageOf<T> = {
  readonly [K in keyof T]: { readonly type: K } & { readonly [F in keyof T[K]]: ValueOf<T[K][F]> };
}[keyof T];

export type ApplicationMessage = MessageOf<typeof fromApplication>;
export type AgentMessage = MessageOf<typeof fromAgent>;

export function encodeApplicationMessage(message: ApplicationMessage): string {
  return encode(fromApplication, message);
}

export function encodeAgentMessage(message: AgentMessage): string {
  return encode(fromAgent, message);
}

export function decodeApplicationMessage(line: string): Result<ApplicationMessage> {
  return decode(fromApplication, line) as Result<ApplicationMessage>;
}

export function decodeAgentMessage(line: string): Result<AgentMessage> {
  return decode(fromAgent, line) as Result<AgentMessage>;
}

/** Lines of a stream, each as soon as its end is there; false from the first one on that is longer than `lineBytesMax`. */
export function lineReader(
  onLine: (line: string) => void,
  bytesMax: number = lineBytesMax,
): (chunk: Uint8Array) => boolean {
  let parts: Uint8Array[] = [];
  let length = 0;
  return (chunk) => {
    let rest = chunk;
    for (let end = rest.indexOf(10); end >= 0; end = rest.indexOf(10)) {
      if (length + end > bytesMax) return false;
      const line = Buffer.concat([...parts, rest.subarray(0, end)]).toString('utf8');
      parts = [];
      length = 0;
      rest = rest.subarray(end + 1);
      onLine(line);
    }
    // A copy: Node may use the memory of a chunk again.
    if (rest.length > 0) parts.push(Uint8Array.from(rest));
    length += rest.length;
    return length <= bytesMax;
  };
}

function encode(table: Table, message: Readonly<Record<string, unknown>> & { readonly type: string }): string {
  const fields = Object.entries(table[message.type] ?? {});
  const written = fields.map(([name, field]) => [name, field.write(message[name])]);
  return `${JSON.stringify({ type: message.type, ...Object.fromEntries(written) })}\n`;
}

/** Further fields are allowed: a later version may add some. */
function decode(table: Table, line: string): Result<unknown> {
  let input: unknown;
  try {
    input = JSON.parse(line);
  } catch {
    return refuse(`not JSON: ${oneLine(line)}`);
  }
  if (typeof input !== 'object' || input === null) return refuse(`not an object: ${oneLine(line)}`);
  const { type, ...values } = input as Readonly<Record<string, unknown>>;
  const fields = typeof type === 'string' && Object.hasOwn(table, type) ? table[type] : undefined;
  if (!fields) return refuse(`type: unknown, allowed are ${Object.keys(table).join(', ')}`);
  const read: Record<string, unknown> = { type };
  for (const [name, field] of Object.entries(fields)) {
    read[name] = field.read(values[name]);
    if (read[name] === undefined) return refuse(`${type}: ${name} is missing or not allowed`);
  }
  return ok(read);
}

function bytesOf(lengthMax: number): Field<Uint8Array> {
  return {
    read(value) {
      if (typeof value !== 'string' || value.length > (lengthMax * 4) / 3 + 4) return undefined;
      const read = Buffer.from(value, 'base64');
      // Buffer skips what is not base64.
      return read.length <= lengthMax && read.toString('base64') === value ? read : undefined;
    },
    write: (value) => Buffer.from(value.buffer, value.byteOffset, value.length).toString('base64'),
  };
}

/** An application that says nothing of it names none. */
function orNone<T>(field: Field<readonly T[]>): Field<readonly T[]> {
  return { read: (value) => (value === undefined ? [] : field.read(value)), write: field.write };
}

function listOf<T>(field: Field<T>, lengthMax: number): Field<readonly T[]> {
  return {
    read(value) {
      if (!Array.isArray(value) || value.length > lengthMax) return undefined;
      const read = value.map((each) => field.read(each));
      return read.every((each) => each !== undefined) ? (read as T[]) : undefined;
    },
    write: (value) => value.map((each) => field.write(each)),
  };
}
