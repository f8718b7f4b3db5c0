import { randomBytes, randomInt } from 'node:crypto';
import { createSocket } from 'node:dgram';
import { connect } from 'node:net';
import { messageOf, OperatingError } from '../base/operating-error.ts';
import { classInternet, type DnsMessage, decodeDns, encodeDns, noFlags } from '../wire/dns.ts';

export interface NameServer {
  readonly address: string;
  readonly port: number;
}

/** What fits a packet on nearly every path. */
const payloadBytes = 1232;
/** Answers to something else, after which nobody is believed any more. */
const strayMax = 32;

/**
 * Asks one question of one server, by UDP and, where the answer does not fit, by TCP. Throws an OperatingError when no answer to this very question
 * comes in time: forged ones have to meet the port, the number and the case of the letters (RFC 5452).
 */
export async function askServer(
  server: NameServer,
  { name, type }: { readonly name: string; readonly type: number },
  timeoutMs: number,
): Promise<DnsMessage> {
  const query: DnsMessage = {
    ...{ id: randomInt(0x10000), isResponse: false, opcode: 0, responseCode: 0 },
    // AD in a question asks for AD in the answer (RFC 6840, section 5.7).
    flags: { ...noFlags, recursionDesired: true, authenticData: true },
    questions: [{ name: inRandomCase(name), type, class: classInternet }],
    ...{ answers: [], authorities: [], additionals: [], edns: { payloadBytes, version: 0, dnssecOk: false } },
  };
  try {
    const answer = await byUdp(server, query, timeoutMs);
    return answer.flags.truncated ? await byTcp(server, query, timeoutMs) : answer;
  } catch (cause) {
    throw new OperatingError('dns', `${server.address} port ${server.port}: ${messageOf(cause)}`, { cause });
  }
}

function byUdp({ address, port }: NameServer, query: DnsMessage, timeoutMs: number): Promise<DnsMessage> {
  // A port of its own for each question; connected, so that the kernel takes datagrams from the server alone.
  const socket = createSocket('udp4');
  let strays = 0;
  const asked = new Promise<DnsMessage>((resolve, reject) => {
    socket.on('error', reject);
    socket.on('message', (bytes: Uint8Array) => {
      const read = decodeDns(bytes);
      if (read.ok && isAnswerTo(read.value, query)) resolve(read.value);
      else if (++strays > strayMax) reject(new Error('it is answered by others'));
    });
    socket.on('connect', () => socket.send(encodeDns(query)));
    // Without a callback: one would be given the error in the place of the listener above.
    socket.connect(port, address);
  });
  return within(asked, timeoutMs).finally(() => socket.close());
}

function byTcp({ address, port }: NameServer, query: DnsMessage, timeoutMs: number): Promise<DnsMessage> {
  const socket = connect(port, address);
  let heard: Uint8Array = new Uint8Array(0);
  const asked = new Promise<DnsMessage>((resolve, reject) => {
    socket.on('error', reject);
    socket.on('close', () => reject(new Error('it ended the connection')));
    socket.on('data', (chunk: Uint8Array) => {
      heard = Buffer.concat([heard, chunk]);
      const [high, low] = heard;
      if (high === undefined || low === undefined) return;
      const end = 2 + ((high << 8) | low);
      if (heard.length < end) return;
      const read = decodeDns(heard.subarray(2, end));
      if (read.ok && isAnswerTo(read.value, query)) resolve(read.value);
      else reject(new Error(read.ok ? 'it answers something else' : read.reason));
    });
    const bytes = encodeDns(query);
    socket.write(Uint8Array.of(bytes.length >> 8, bytes.length & 0xff, ...bytes));
  });
  return within(asked, timeoutMs).finally(() => socket.destroy());
}

function isAnswerTo(answer: DnsMessage, query: DnsMessage): boolean {
  const [asked, echoed] = [query.questions[0], answer.questions[0]];
  return (
    answer.isResponse &&
    answer.id === query.id &&
    answer.opcode === query.opcode &&
    answer.questions.length === 1 &&
    echoed?.name === asked?.name &&
    echoed?.type === asked?.type &&
    echoed?.class === asked?.class
  );
}

/** Names with few letters, such as reverse names, gain little by this: ten and more bits in in-addr.arpa. */
function inRandomCase(name: string): string {
  const coins = randomBytes(name.length);
  return [...name].map((each, i) => ((coins[i] ?? 0) & 1 ? each.toUpperCase() : each)).join('');
}

async function within<T>(promise: Promise<T>, timeoutMs: number): Promise<T> {
  let timer: NodeJS.Timeout | undefined;
  const late = new Promise<never>((_resolve, reject) => {
    timer = setTimeout(() => reject(new Error(`no answer within ${timeoutMs} ms`)), timeoutMs);
  });
  try {
    return await Promise.race([promise, late]);
  } finally {
    clearTimeout(timer);
  }
}
