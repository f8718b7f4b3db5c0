import { createSocket, type RemoteInfo, type Socket as UdpSocket } from 'node:dgram';
import { createServer, type Server, type Socket } from 'node:net';
import { messageOf, OperatingError } from '../base/operating-error.ts';
import { type AnswerBook, plainPayloadBytes, udpBytesMax } from '../registry/answer.ts';
import { type DnsMessage, decodeDns, encodeDns, formatError } from '../wire/dns.ts';
import { type AnswerRateLimits, answerRate, answerRateLimits } from './answer-rate.ts';
import { serveStream } from './stream.ts';

export interface DnsServerLimits extends AnswerRateLimits {
  /** TCP connections from one address, and from all. */
  readonly connectionsOfAddressMax: number;
  readonly connectionsMax: number;
  /** For a whole question from the first of its bytes, and between questions. */
  readonly questionMs: number;
}

export const dnsServerLimits: DnsServerLimits = {
  ...answerRateLimits,
  connectionsOfAddressMax: 8,
  connectionsMax: 128,
  questionMs: 10_000,
};

export interface DnsServerOptions {
  readonly address: string;
  /** 0 for any, the same for UDP and TCP. */
  readonly port: number;
  /** Asked for every question: it may be another after the zone has changed. */
  readonly book: () => AnswerBook;
  readonly limits?: Partial<DnsServerLimits>;
}

/** Of questions, since the start. */
export interface DnsServerCounts {
  answered: number;
  /** No message of DNS. */
  malformed: number;
  /** Beyond the rate: told to come by TCP, or not answered. */
  limited: number;
  connectionsRefused: number;
}

export interface DnsServer {
  readonly port: number;
  readonly counts: Readonly<DnsServerCounts>;
  close(): Promise<void>;
}

/** An authoritative server of DNS on UDP and TCP (RFC 7766). Throws an OperatingError when the address cannot be had. */
export async function openDnsServer({ address, port, book, ...options }: DnsServerOptions): Promise<DnsServer> {
  const limits = { ...dnsServerLimits, ...options.limits };
  const counts: DnsServerCounts = { answered: 0, malformed: 0, limited: 0, connectionsRefused: 0 };
  const tcp = tcpSide(book, { limits, counts });
  const udp = createSocket('udp4');
  const close = async (): Promise<void> => {
    await Promise.all([tcp.close(), new Promise<void>((resolve) => udp.close(() => resolve()))]);
  };
  try {
    await listening(tcp.server, { address, port });
    answerDatagrams(udp, book, { limits, counts });
    // The same port where any would do.
    await bound(udp, { address, port: portOf(tcp.server) });
  } catch (cause) {
    await close();
    const remedy = 'only root may take a port below 1024: --port 5353, or start as root with --user';
    throw new OperatingError('registry', `cannot listen on ${address} port ${port}: ${messageOf(cause)}`, {
      ...((cause as NodeJS.ErrnoException).code === 'EACCES' ? { remedy } : {}),
      cause,
    });
  }
  return { port: portOf(tcp.server), counts, close };
}

function answerDatagrams(
  socket: UdpSocket,
  book: () => AnswerBook,
  { limits, counts }: { readonly limits: DnsServerLimits; readonly counts: DnsServerCounts },
): void {
  const rate = answerRate(limits);
  socket.on('message', (bytes: Uint8Array, from: RemoteInfo) => {
    const answer = answerTo(bytes, book(), counts);
    if (!answer) return;
    const verdict = rate.judge(from.address, performance.now());
    if (verdict !== 'answer') counts.limited++;
    else counts.answered++;
    if (verdict === 'drop') return;
    const { message, udpBytesMax: bytesMax } = verdict === 'truncate' ? byTcp(answer) : answer;
    // Who is not there any more is not told.
    socket.send(encodeDns(message, bytesMax), from.port, from.address, () => {});
  });
}

interface Answer {
  readonly message: DnsMessage;
  readonly udpBytesMax: number;
}

/** Null for what is not answered. */
function answerTo(bytes: Uint8Array, book: AnswerBook, counts: DnsServerCounts): Answer | null {
  const query = decodeDns(bytes);
  if (!query.ok) counts.malformed++;
  const message = query.ok ? book.answer(query.value) : formatError(bytes);
  return message && { message, udpBytesMax: query.ok ? udpBytesMax(query.value) : plainPayloadBytes };
}

function byTcp({ message, ...rest }: Answer): Answer {
  const flags = { ...message.flags, truncated: true };
  return { ...rest, message: { ...message, flags, answers: [], authorities: [], additionals: [] } };
}

interface TcpSide {
  readonly server: Server;
  close(): Promise<void>;
}

function tcpSide(
  book: () => AnswerBook,
  { limits, counts }: { readonly limits: DnsServerLimits; readonly counts: DnsServerCounts },
): TcpSide {
  const sockets = new Map<Socket, string>();
  const isTooMuch = (address: string): boolean =>
    sockets.size >= limits.connectionsMax ||
    [...sockets.values()].filter((each) => each === address).length >= limits.connectionsOfAddressMax;

  const server = createServer((socket) => {
    const { remoteAddress: address = '' } = socket;
    if (isTooMuch(address)) {
      counts.connectionsRefused++;
      socket.destroy();
      return;
    }
    sockets.set(socket, address);
    socket.once('close', () => sockets.delete(socket));
    serveStream(socket, {
      questionMs: limits.questionMs,
      answer(bytes) {
        const answer = answerTo(bytes, book(), counts);
        if (answer) counts.answered++;
        return answer && encodeDns(answer.message);
      },
    });
  });
  return {
    server,
    async close() {
      for (const socket of sockets.keys()) socket.destroy();
      if (server.listening) await new Promise<void>((resolve) => server.close(() => resolve()));
    },
  };
}

function portOf(server: Server): number {
  const address = server.address();
  return typeof address === 'object' && address ? address.port : 0;
}

interface Place {
  readonly address: string;
  readonly port: number;
}

function listening(server: Server, { address, port }: Place): Promise<void> {
  return new Promise((resolve, reject) => {
    server.once('error', reject);
    server.listen(port, address, resolve);
  });
}

function bound(socket: UdpSocket, { address, port }: Place): Promise<void> {
  return new Promise((resolve, reject) => {
    socket.once('error', reject);
    socket.bind(port, address, resolve);
  });
}
