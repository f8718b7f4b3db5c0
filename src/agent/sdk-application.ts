import { randomBytes } from 'node:crypto';
import type { Socket } from 'node:net';
import { sameIp } from '../base/address.ts';
import { messageOf } from '../base/operating-error.ts';
import { flowKey, type TcpFlow } from '../base/tcp-flow.ts';
import { type DescriptorChannel, descriptorChannel, duplicate, tcpEndsOf } from '../platform/descriptor-passing.ts';
import { close } from '../platform/libc.ts';
import { descriptorOf } from '../sdk/held-socket.ts';
import {
  type AgentMessage,
  type ApplicationMessage,
  encodeAgentMessage,
  flowsMax,
  type Refusal,
} from '../sdk/message.ts';

/** An application that takes nothing of what it is told is cut off. */
const backlogBytesMax = 16 * 1024 * 1024;
/** Connections that one application is asked about at the same time; more are refused. */
const askedMax = 4096;
/** How long connections may take to become calm; otherwise they are moved as they are. */
const calmMsMax = 1200;

/** A connection that stands still in its application, or shall in another. */
export interface FrozenConnection {
  readonly state: Uint8Array;
  /** What the application had not read of what its Node had. */
  readonly unread: Uint8Array;
  /** The caller's to close. */
  readonly descriptor: number;
}

/** Why a connection stays where it is, or is not taken: a word for programs, a line for people. */
export interface Kept {
  readonly ok: false;
  /** 'silent': the application gave no answer in time; 'gone': it ended, or broke the protocol. */
  readonly code: Refusal | 'silent';
  readonly reason: string;
}

export type Frozen = { readonly ok: true; readonly value: FrozenConnection } | Kept;
export type Adopted = { readonly ok: true; readonly value: undefined } | Kept;

type Answer = Extract<ApplicationMessage, { id: number; flow: TcpFlow }>;

/** One application that has said hello. */
export class SdkApplication {
  /** By which its second connection names it. */
  readonly token = randomBytes(16).toString('hex');
  readonly #socket: Socket;
  readonly #answerMs: number;
  readonly #asked = new Map<string, (answer: Answer | Kept) => void>();
  readonly #calming = new Map<number, (alone: readonly TcpFlow[]) => void>();
  #ports: readonly number[];
  #channel: DescriptorChannel | null = null;
  #ids = 0;

  /** An answer is waited for so many milliseconds. */
  constructor(socket: Socket, ports: readonly number[], answerMs: number) {
    this.#socket = socket;
    this.#ports = ports;
    this.#answerMs = answerMs;
  }

  /** None before the second connection is there. */
  ports(): readonly number[] {
    return this.#channel ? this.#ports : [];
  }

  /** Resolves when the application has done what it can, or has ended, or takes too long, to those that should go alone. At most `flowsMax` flows. */
  calm(flows: readonly TcpFlow[]): Promise<readonly TcpFlow[]> {
    if (this.#socket.destroyed) return Promise.resolve([]);
    const id = ++this.#ids;
    return new Promise((resolve) => {
      const late = setTimeout(() => calmed([]), calmMsMax);
      const calmed = (alone: readonly TcpFlow[]): void => {
        clearTimeout(late);
        this.#calming.delete(id);
        resolve(alone);
      };
      this.#calming.set(id, calmed);
      this.say({ type: 'calm', id, flows });
    });
  }

  /** In the order of `flows`. */
  freeze(flows: readonly TcpFlow[]): Promise<Frozen>[] {
    return batches(flows).flatMap((batch) => this.#freezeSome(batch));
  }

  /** The application's second connection, of which only its descriptor is of use. */
  join(second: Socket): void {
    if (this.#channel === null && !this.#socket.destroyed)
      this.#channel = descriptorChannel(duplicate(descriptorOf(second)));
    second.destroy();
  }

  hear(message: ApplicationMessage): void {
    if (message.type === 'ports') this.#ports = message.ports;
    else if (message.type === 'calmed') this.#calming.get(message.id)?.(message.alone);
    else if ('flow' in message) this.#hearAnswer(message);
    else this.#socket.destroy();
  }

  /** It is gone, or cut off: whatever it was asked is answered so. */
  end(): void {
    this.#channel?.close();
    this.#socket.destroy();
    for (const answered of [...this.#asked.values()]) answered(gone);
    for (const calmed of [...this.#calming.values()]) calmed([]);
  }

  say(message: AgentMessage): void {
    if (this.#socket.destroyed) return;
    this.#socket.write(encodeAgentMessage(message));
    if (this.#socket.writableLength > backlogBytesMax) this.#socket.destroy();
  }

  /** One answer for a flow under a request, or why there is none. */
  #answerTo(id: number, flow: TcpFlow): Promise<Answer | Kept> {
    if (this.#socket.destroyed) return Promise.resolve(gone);
    if (this.#asked.size >= askedMax)
      return Promise.resolve(kept('busy', `it is asked about ${askedMax} connections already`));
    return new Promise((resolve) => {
      const key = `${id} ${flowKey(flow)}`;
      const silent = setTimeout(() => answered(kept('silent', `no answer for ${this.#answerMs} ms`)), this.#answerMs);
      const answered = (answer: Answer | Kept): void => {
        clearTimeout(silent);
        this.#asked.delete(key);
        resolve(answer);
      };
      this.#asked.set(key, answered);
    });
  }

  #freezeSome(flows: readonly TcpFlow[]): Promise<Frozen>[] {
    const id = ++this.#ids;
    const answers = flows.map(async (flow) => this.#frozenOf(await this.#answerTo(id, flow)));
    this.say({ type: 'freeze', id, flows });
    return answers;
  }

  /** The descriptor stays the caller's. */
  async adopt(flow: TcpFlow, { state, unread, descriptor }: FrozenConnection): Promise<Adopted> {
    const id = ++this.#ids;
    try {
      if (!this.#channel || this.#socket.destroyed) return gone;
      const number = await this.#channel.pass(descriptor);
      const answering = this.#answerTo(id, flow);
      this.say({ type: 'adopt', id, flow, state, unread, descriptor: number });
      const answer = await answering;
      if ('type' in answer) return answer.type === 'adopted' ? { ok: true, value: undefined } : keptOf(answer);
      // It may have taken it, and only the answer is late.
      this.say({ type: 'drop', flow });
      return answer;
    } catch (error) {
      return kept('gone', messageOf(error));
    }
  }

  /** The descriptor is taken also of an answer that nobody waits for any more. */
  #frozenOf(answer: Answer | Kept): Frozen {
    if (!('type' in answer)) return answer;
    if (answer.type !== 'frozen') return keptOf(answer);
    const descriptor = this.#takeFor(answer);
    if (descriptor === null) return kept('gone', 'the application passed something else than the connection');
    return { ok: true, value: { state: answer.state, unread: answer.unread, descriptor } };
  }

  /** Null, and the end of the application, when it is not that connection: what is done to it takes privileges that the application has not. */
  #takeFor({ flow, descriptor: number }: Extract<Answer, { type: 'frozen' }>): number | null {
    try {
      const descriptor = this.#channel?.take(number) ?? null;
      if (descriptor === null) return null;
      const ends = tcpEndsOf(descriptor);
      const same = ends && sameIp(ends.client, flow.client) && ends.clientPort === flow.clientPort;
      if (same && ends.servicePort === flow.servicePort) return descriptor;
      close(descriptor);
    } catch {
      // Said below.
    }
    this.#socket.destroy();
    return null;
  }

  #hearAnswer(answer: Answer): void {
    const waiting = this.#asked.get(`${answer.id} ${flowKey(answer.flow)}`);
    // Otherwise it comes too late, or was never asked for.
    if (waiting) waiting(answer);
    else if (answer.type === 'frozen') {
      const descriptor = this.#takeFor(answer);
      if (descriptor !== null) close(descriptor);
      this.say({ type: 'thaw', flow: answer.flow });
    } else if (answer.type === 'adopted') this.say({ type: 'drop', flow: answer.flow });
  }
}

const gone = kept('gone', 'the application has ended');

function kept(code: Kept['code'], reason: string): Kept {
  return { ok: false, code, reason };
}

function keptOf(answer: Answer): Kept {
  if (answer.type === 'refused') return kept(answer.code, answer.reason);
  return kept('gone', `the application answered with "${answer.type}"`);
}

function batches(flows: readonly TcpFlow[]): TcpFlow[][] {
  const count = Math.ceil(flows.length / flowsMax);
  return Array.from({ length: count }, (_, i) => flows.slice(i * flowsMax, (i + 1) * flowsMax));
}
