import { randomBytes } from 'node:crypto';
import type { Socket } from 'node:net';
import { OperatingError } from '../base/operating-error.ts';
import type { ShareSocket, ShareWord, SocketDataPlane } from '../dataplane/socket.ts';
import type { UdpFlow } from '../dataplane/staying.ts';
import {
  attemptFilter,
  drainDatagrams,
  droppedDatagrams,
  onlyOwnGroups,
  udpPortOf,
} from '../platform/datagram-socket.ts';
import { type DescriptorChannel, descriptorChannel, duplicate } from '../platform/descriptor-passing.ts';
import { close } from '../platform/libc.ts';
import { descriptorOf } from '../sdk/held-socket.ts';
import { type AgentMessage, type ApplicationMessage, type DatagramClient, encodeAgentMessage } from '../sdk/message.ts';
import type { SessionApplication } from './sessions.ts';

/** What applications have to do with the data plane of their sockets. */
export interface DatagramShares {
  /** Null in deliveries where the kernel's table splits, and a socket takes what reaches it. */
  readonly plane: Pick<SocketDataPlane, 'join' | 'part'> | null;
  /** By port, those that take a share: one for each, or a datagram would be taken twice. */
  readonly ports: Map<number, DatagramSocket>;
  /** A datagram of a session that has gone. */
  onPassed(servicePort: number, client: DatagramClient, datagram: Uint8Array): void;
  onComplaint(reason: string): void;
}

/** A socket as the agent has it. */
export interface DatagramSocket extends ShareSocket {
  /** Null where its sessions cannot move. */
  readonly sessions: SessionApplication | null;
  close(): void;
}

type Said<T extends ApplicationMessage['type']> = Extract<ApplicationMessage, { type: T }>;
type Answer = Said<'shared' | 'seen' | 'counted' | 'exported' | 'imported'>;
/** True once it has what it waits for. */
type Asked = (answer: Answer | null) => boolean;

const backlogBytesMax = 16 * 1024 * 1024;

/** One application that takes datagrams, in the terms of docs/sdk-protocol.md. */
export class DatagramApplication {
  /** By which its second connection names it. */
  readonly token = randomBytes(16).toString('hex');
  readonly #socket: Socket;
  readonly #shares: DatagramShares;
  readonly #answerMs: number;
  readonly #asked = new Map<number, Asked>();
  readonly #own = new Map<number, DatagramSocket>();
  #channel: DescriptorChannel | null = null;
  #ids = 0;

  constructor(socket: Socket, shares: DatagramShares, answerMs: number) {
    this.#socket = socket;
    this.#shares = shares;
    this.#answerMs = answerMs;
  }

  join(second: Socket): void {
    if (this.#channel === null && !this.#socket.destroyed) {
      this.#channel = descriptorChannel(duplicate(descriptorOf(second)));
      this.say({ type: 'joined' });
    }
    second.destroy();
  }

  hear(message: ApplicationMessage): void {
    if (message.type === 'receives') this.#receives(message);
    else if (message.type === 'ceases') this.#ceases(message.port);
    else if (message.type === 'passed') this.#passed(message);
    else if (isAnswer(message)) {
      if (this.#asked.get(message.id)?.(message)) this.#asked.delete(message.id);
    } else this.end();
  }

  /** It is gone, or cut off: its sockets are shut at once, whether it runs or not. */
  end(): void {
    for (const port of [...this.#own.keys()]) this.#ceases(port);
    this.#channel?.close();
    this.#channel = null;
    this.#socket.destroy();
    for (const answered of [...this.#asked.values()]) answered(null);
    this.#asked.clear();
  }

  say(message: AgentMessage): void {
    if (this.#socket.destroyed) return;
    this.#socket.write(encodeAgentMessage(message));
    if (this.#socket.writableLength > backlogBytesMax) this.end();
  }

  #passed({ port, client, datagram }: Said<'passed'>): void {
    if (this.#own.has(port)) this.#shares.onPassed(port, client, datagram);
  }

  #receives({ port, descriptor: number, hasSessions }: Said<'receives'>): void {
    const { plane, ports } = this.#shares;
    const descriptor = this.#taken(port, number);
    if (descriptor === null) this.end();
    else if (plane === null || ports.has(port)) {
      close(descriptor);
      if (plane === null) this.say({ type: 'share', id: 0, port, by: 'everybody', ...takesAll });
      else this.say({ type: 'denied', port, reason: 'another socket of this host has the share of that port' });
    } else {
      const socket = this.#shareSocket(port, descriptor, hasSessions);
      this.#own.set(port, socket);
      ports.set(port, socket);
      plane.join(socket);
    }
  }

  /** Null when it is not what was named. */
  #taken(port: number, number: number): number | null {
    let descriptor: number | null = null;
    try {
      descriptor = this.#channel?.take(number) ?? null;
      if (descriptor === null) return null;
      if (udpPortOf(descriptor) === port) {
        onlyOwnGroups(descriptor);
        return descriptor;
      }
    } catch {
      // Said below.
    }
    if (descriptor !== null) close(descriptor);
    this.#shares.onComplaint(`sdk: an application passed something else than its socket of UDP on port ${port}`);
    return null;
  }

  #ceases(port: number): void {
    const socket = this.#own.get(port);
    if (!socket) return;
    this.#own.delete(port);
    this.#shares.ports.delete(port);
    this.#shares.plane?.part(socket);
    socket.close();
  }

  #shareSocket(port: number, descriptor: number, hasSessions: boolean): DatagramSocket {
    let isOpen = true;
    return {
      port,
      attach: (program) => isOpen && attemptFilter(descriptor, program),
      drain: () => (isOpen ? drainDatagrams(descriptor) : undefined),
      tell: (word) => this.#tell(port, word),
      lease: (until) => this.say({ type: 'lease', port, until: Math.floor(until) }),
      seen: () => this.#seen(port),
      counts: async () => {
        const [answer] = await this.#ask((id) => ({ type: 'count', id, port }));
        const dropped = isOpen ? droppedDatagrams(descriptor) : 0;
        return { taken: answer?.type === 'counted' ? answer.taken : 0, dropped };
      },
      sessions: hasSessions ? this.#sessionsOf(port) : null,
      close: () => {
        isOpen = false;
        close(descriptor);
      },
    };
  }

  #sessionsOf(port: number): SessionApplication {
    return {
      export: async (clients) => {
        const [answer] = await this.#ask((id) => ({ type: 'export', id, port, clients }));
        return answer?.type === 'exported' ? answer.sessions : [];
      },
      gone: (clients) => this.say({ type: 'gone', port, clients }),
      stay: (clients) => this.say({ type: 'stay', port, clients }),
      import: async (sessions) => (await this.#ask((id) => ({ type: 'import', id, port, sessions }))).length > 0,
      withdraw: (clients) => this.say({ type: 'withdraw', port, clients }),
      pass: (client, datagram) => this.say({ type: 'pass', port, client, datagram }),
    };
  }

  async #tell(port: number, { by, filters, kept, foreign, idleMs }: ShareWord): Promise<boolean> {
    const told = await this.#ask((id) => ({ type: 'share', id, port, by, filters, kept, foreign, idleMs }));
    return told.length > 0;
  }

  async #seen(servicePort: number): Promise<readonly UdpFlow[]> {
    const answers = await this.#ask((id) => ({ type: 'look', id, port: servicePort }));
    if (answers.length === 0) throw new OperatingError('sdk', `the application on port ${servicePort} is silent`);
    const clients = answers.flatMap((each): readonly DatagramClient[] => (each.type === 'seen' ? each.clients : []));
    return clients.map((each) => ({ ...each, servicePort }));
  }

  /** All of an answer; none from who is gone, or silent for so long that it is cut off. */
  #ask(message: (id: number) => AgentMessage): Promise<readonly Answer[]> {
    if (this.#socket.destroyed) return Promise.resolve([]);
    const id = ++this.#ids;
    return new Promise((resolve) => {
      const parts: Answer[] = [];
      const silent = setTimeout(() => {
        this.#shares.onComplaint(`sdk: an application did not answer for ${this.#answerMs} ms, and is cut off`);
        this.end();
      }, this.#answerMs);
      this.#asked.set(id, (answer) => {
        if (answer) parts.push(answer);
        if (answer?.type === 'seen' && !answer.isLast) return false;
        clearTimeout(silent);
        resolve(answer ? parts : []);
        return true;
      });
      this.say(message(id));
    });
  }
}

function isAnswer(message: ApplicationMessage): message is Answer {
  return ['shared', 'seen', 'counted', 'exported', 'imported'].includes(message.type);
}

const takesAll = { filters: [], kept: [], foreign: [], idleMs: 0 };
