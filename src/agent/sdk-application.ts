import { randomBytes } from 'node:crypto';
import type { Socket } from 'node:net';
import { sameIp } from '../base/address.ts';
import { messageOf } from '../base/operating-error.ts';
import { type DescriptorChannel, descriptorChannel, duplicate, tcpEndsOf } from '../platform/descriptor-passing.ts';
import { close } from '../platform/libc.ts';
import { descriptorOf } from '../sdk/held-socket.ts';
import {
  type AgentMessage,
  type ApplicationMessage,
  encodeAgentMessage,
  flowKey,
  flowsMax,
  type Refusal,
  type TransferFlow,
} from '../sdk/message.ts';

/** An application that takes nothing of what it is told is cut off. */
const backlogBytesMax = 16 * 1024 * 1024;
/** Connections that one application is asked about at the same time; more are refused. */
const askedMax = 4096;

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

/** One application that has said hello. */
export interface SdkApplication {
  /** By which its second connection names it. */
  readonly token: string;
  /** None before the second connection is there. */
  ports(): readonly number[];
  /** In the order of `flows`. */
  freeze(flows: readonly TransferFlow[]): Promise<Frozen>[];
  adopt(flow: TransferFlow, connection: FrozenConnection): Promise<Adopted>;
  say(message: AgentMessage): void;
  /** The application's second connection, of which only its descriptor is of use. */
  join(socket: Socket): void;
  hear(message: ApplicationMessage): void;
  /** It is gone: whatever it was asked is answered so. */
  end(): void;
}

type Answer = Extract<ApplicationMessage, { id: number }>;

export function sdkApplication(socket: Socket, announced: readonly number[], answerMs: number): SdkApplication {
  const asked = new Map<string, (answer: Answer | Kept) => void>();
  let ports = announced;
  let channel: DescriptorChannel | null = null;
  let ids = 0;

  function say(message: AgentMessage): void {
    if (socket.destroyed) return;
    socket.write(encodeAgentMessage(message));
    if (socket.writableLength > backlogBytesMax) socket.destroy();
  }

  /** One answer for a flow under a request, or why there is none. */
  function answerTo(id: number, flow: TransferFlow): Promise<Answer | Kept> {
    if (socket.destroyed) return Promise.resolve(gone);
    if (asked.size >= askedMax)
      return Promise.resolve(kept('busy', `it is asked about ${askedMax} connections already`));
    return new Promise((resolve) => {
      const key = `${id} ${flowKey(flow)}`;
      const silent = setTimeout(() => answered(kept('silent', `no answer for ${answerMs} ms`)), answerMs);
      const answered = (answer: Answer | Kept): void => {
        clearTimeout(silent);
        asked.delete(key);
        resolve(answer);
      };
      asked.set(key, answered);
    });
  }

  function freezeSome(flows: readonly TransferFlow[]): Promise<Frozen>[] {
    const id = ++ids;
    const answers = flows.map(async (flow) => frozenOf(await answerTo(id, flow)));
    say({ type: 'freeze', id, flows });
    return answers;
  }

  async function adopt(flow: TransferFlow, { state, unread, descriptor }: FrozenConnection): Promise<Adopted> {
    const id = ++ids;
    try {
      if (!channel || socket.destroyed) return gone;
      const number = await channel.pass(descriptor);
      const answering = answerTo(id, flow);
      say({ type: 'adopt', id, flow, state, unread, descriptor: number });
      const answer = await answering;
      if ('type' in answer) return answer.type === 'adopted' ? { ok: true, value: undefined } : keptOf(answer);
      // It may have taken it, and only the answer is late.
      say({ type: 'drop', flow });
      return answer;
    } catch (error) {
      return kept('gone', messageOf(error));
    }
  }

  /** The descriptor is taken also of an answer that nobody waits for any more. */
  function frozenOf(answer: Answer | Kept): Frozen {
    if (!('type' in answer)) return answer;
    if (answer.type !== 'frozen') return keptOf(answer);
    const descriptor = takeFor(answer);
    if (descriptor === null) return kept('gone', 'the application passed something else than the connection');
    return { ok: true, value: { state: answer.state, unread: answer.unread, descriptor } };
  }

  /** Null, and the end of the application, when it is not that connection: what is done to it takes privileges that the application has not. */
  function takeFor({ flow, descriptor: number }: Extract<Answer, { type: 'frozen' }>): number | null {
    try {
      const descriptor = channel?.take(number) ?? null;
      if (descriptor === null) return null;
      const ends = tcpEndsOf(descriptor);
      const same = ends && sameIp(ends.client, flow.client) && ends.clientPort === flow.clientPort;
      if (same && ends.servicePort === flow.servicePort) return descriptor;
      close(descriptor);
    } catch {
      // Said below.
    }
    socket.destroy();
    return null;
  }

  function hearAnswer(answer: Answer): void {
    const waiting = asked.get(`${answer.id} ${flowKey(answer.flow)}`);
    // Otherwise it comes too late, or was never asked for.
    if (waiting) waiting(answer);
    else if (answer.type === 'frozen') {
      const descriptor = takeFor(answer);
      if (descriptor !== null) close(descriptor);
      say({ type: 'thaw', flow: answer.flow });
    } else if (answer.type === 'adopted') say({ type: 'drop', flow: answer.flow });
  }

  return {
    token: randomBytes(16).toString('hex'),
    ports: () => (channel ? ports : []),
    say,
    freeze: (flows) => batches(flows).flatMap(freezeSome),
    adopt,
    join(second) {
      if (channel === null && !socket.destroyed) channel = descriptorChannel(duplicate(descriptorOf(second)));
      second.destroy();
    },
    hear(message) {
      if (message.type === 'ports') ports = message.ports;
      else if ('id' in message) hearAnswer(message);
      else socket.destroy();
    },
    end() {
      channel?.close();
      for (const answered of [...asked.values()]) answered(gone);
    },
  };
}

const gone = kept('gone', 'the application has ended');

function kept(code: Kept['code'], reason: string): Kept {
  return { ok: false, code, reason };
}

function keptOf(answer: Answer): Kept {
  if (answer.type === 'refused') return kept(answer.code, answer.reason);
  return kept('gone', `the application answered with "${answer.type}"`);
}

function batches(flows: readonly TransferFlow[]): TransferFlow[][] {
  const count = Math.ceil(flows.length / flowsMax);
  return Array.from({ length: count }, (_, i) => flows.slice(i * flowsMax, (i + 1) * flowsMax));
}
