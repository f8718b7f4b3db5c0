import {
  type ControlMessage,
  decodeMessage,
  type Heartbeat,
  type Part,
  type Question,
  type Routed,
  type Tagged,
} from '../wire/control-message.ts';
import type { ControlInput } from './io.ts';
import type { ControlConfig } from './parts.ts';
import { createReplayGuard } from './replay.ts';
import { createAssembly } from './transfer.ts';

type Datagram = ControlInput & { readonly kind: 'message' };

/** What a datagram says, once it is whole. */
export type Said =
  | { readonly kind: 'heartbeat'; readonly heartbeat: Heartbeat }
  | ({ readonly kind: 'question' | 'answer' } & Question)
  | ({ readonly kind: 'routed' } & Routed)
  | ({ readonly kind: 'tagged' } & Tagged)
  | { readonly kind: Part['content']; readonly value: Uint8Array };

/** Why input changed nothing; a bounded set, as each is counted. */
export type Refusal =
  | 'not a peer'
  | 'not for a router to say'
  | 'revoked'
  | 'own name elsewhere'
  | 'old session'
  | 'replayed'
  | 'malformed'
  | 'part not expected'
  | 'too many questions'
  | 'proposal not understood'
  | 'policy too long';

function isForRouters(kind: ControlMessage['kind']): boolean {
  return kind === 'routed' || kind === 'tagged';
}

/** Lets through what a peer says now, and counts what it refuses. */
export class Inbox {
  readonly #node: string;
  readonly #session: number;
  readonly #peers: ReadonlySet<string>;
  readonly #routers: ReadonlySet<string>;
  readonly #isRevoked: (name: string) => boolean;
  readonly #decode: typeof decodeMessage;
  readonly #replay = createReplayGuard();
  readonly #assembly = createAssembly();
  readonly #refused: Partial<Record<Refusal, number>> = {};

  constructor(
    {
      node,
      session,
      peers,
      routers,
      decode = decodeMessage,
    }: Pick<ControlConfig, 'node' | 'session' | 'peers' | 'routers' | 'decode'>,
    isRevoked: (name: string) => boolean,
  ) {
    this.#node = node;
    this.#session = session;
    this.#peers = new Set(peers);
    this.#routers = new Set(routers);
    this.#isRevoked = isRevoked;
    this.#decode = decode;
  }

  get refused(): Readonly<Record<string, number>> {
    return { ...this.#refused };
  }

  refuse(reason: Refusal): null {
    this.#refused[reason] = (this.#refused[reason] ?? 0) + 1;
    return null;
  }

  /** Null when the datagram is refused, or only a part of what it belongs to. `expects` tells whose values are of use now. */
  open(datagram: Datagram, expects: (sender: string, content: Part['content']) => boolean): Said | null {
    const { sender, session, counter } = datagram;
    if (sender === this.#node) return this.#hearOneself(session);
    const isRouter = this.#routers.has(sender);
    if (!isRouter && !this.#peers.has(sender)) return this.refuse('not a peer');
    if (this.#isRevoked(sender)) return this.refuse('revoked');
    const stale = this.#replay.refusal(sender, session, counter);
    if (stale) return this.refuse(stale);
    const message = this.#decode(datagram.body);
    if (!message.ok) return this.refuse('malformed');
    if (isRouter !== isForRouters(message.value.kind)) return this.refuse('not for a router to say');
    if (message.value.kind === 'heartbeat') return { kind: 'heartbeat', heartbeat: message.value };
    if (message.value.kind !== 'part') return message.value;
    const { content } = message.value;
    if (!expects(sender, content)) return this.refuse('part not expected');
    const whole = this.#assembly.add(sender, session, message.value);
    if (!whole.ok) return this.refuse('malformed');
    return whole.value ? { kind: content, value: whole.value } : null;
  }

  /** A host hears its own multicasts; anything else under the own name comes from a second agent that was given it. */
  #hearOneself(session: number): null {
    return session === this.#session ? null : this.refuse('own name elsewhere');
  }
}
