import { messageOf } from '../base/operating-error.ts';
import { ok, type Result, refuse } from '../base/result.ts';
import type { TcpFlow } from '../base/tcp-flow.ts';
import { encodeSocketImage, type SocketImage } from './socket-image.ts';
import type { TransferMessage } from './transfer-message.ts';
import type { Frozen, HolderApplications, TransferPorts } from './transfer-ports.ts';

/** How long the taker may take for its answers, milliseconds. Meanwhile connections stand still. */
export const patienceMs = 1000;
/** Nothing is given any more this long after the taker was first asked: it gives up waiting some time later, `takerPatienceMs`. */
const decideMsMax = 3000;

type Reply = TransferMessage & { readonly kind: 'held' | 'ready' };
type Outcome = Result<null>;

/** A connection on its way out. */
interface Leaving {
  readonly flow: TcpFlow;
  readonly frozen: Frozen;
  readonly image: SocketImage;
}

/**
 * A holder's part of moving connections to another replica: hold there, freeze, cut off, export, send, and, only once the taker stands ready, let go. Whatever
 * fails, or takes too long, leaves a connection where it was.
 */
export class Giving {
  readonly #ports: TransferPorts;
  readonly #applications: HolderApplications;
  readonly #waiting = new Map<string, (answer: Outcome) => void>();
  #batch: number;

  /** `firstBatch` is to differ from that of an earlier life. */
  constructor(ports: TransferPorts, applications: HolderApplications, firstBatch: number) {
    this.#ports = ports;
    this.#applications = applications;
    this.#batch = firstBatch;
  }

  receive(peer: string, message: Reply): void {
    const answer: Outcome = message.refusal === '' ? ok(null) : refuse(message.refusal);
    const what = message.kind === 'held' ? 'held' : `ready ${message.index}`;
    this.#waiting.get(`${peer} ${message.batch} ${what}`)?.(answer);
  }

  /** The peer cannot answer any more. */
  lost(peer: string): void {
    for (const [name, answer] of this.#waiting) if (name.startsWith(`${peer} `)) answer(refuse(`${peer} is lost`));
  }

  /** Moves connections to `peer`; resolves with what became of each, in their order: moved, or why it stays. */
  async give(peer: string, flows: readonly TcpFlow[]): Promise<readonly Outcome[]> {
    const batch = this.#batch;
    this.#batch = (this.#batch + 1) >>> 0;
    const since = this.#ports.now();
    const outcomes = new Map<TcpFlow, Outcome>();
    const held = await this.#ask(peer, { kind: 'hold', batch, flows }, `${batch} held`);
    if (!held.ok) {
      await this.#tell(peer, { kind: 'decided', batch, go: [] });
      return flows.map(() => held);
    }
    const frozen = await this.#freeze(flows, outcomes);
    let leaving: readonly Leaving[] = [];
    try {
      leaving = await this.#export(frozen, outcomes);
      const ready = await this.#offer(peer, batch, flows, leaving, outcomes);
      const go = this.#ports.now() < since + decideMsMax ? ready : [];
      for (const { flow } of ready) if (!go.some((each) => each.flow === flow)) outcomes.set(flow, refuse('too late'));
      this.#letGo(go, outcomes);
      await this.#tell(peer, { kind: 'decided', batch, go: go.map(({ flow }) => flows.indexOf(flow)) });
    } catch (error) {
      for (const flow of frozen.keys()) if (!outcomes.has(flow)) outcomes.set(flow, refuse(messageOf(error)));
      await this.#tell(peer, { kind: 'decided', batch, go: [] });
    } finally {
      await this.#resume(frozen, leaving, outcomes);
    }
    return flows.map((flow) => outcomes.get(flow) ?? refuse('not tried'));
  }

  async #freeze(flows: readonly TcpFlow[], outcomes: Map<TcpFlow, Outcome>): Promise<Map<TcpFlow, Frozen>> {
    const answers = await this.#applications.freeze(flows);
    const frozen = new Map<TcpFlow, Frozen>();
    flows.forEach((flow, i) => {
      const answer = answers[i] ?? refuse('no answer of the application');
      if (answer.ok) frozen.set(flow, answer.value);
      else outcomes.set(flow, answer);
    });
    return frozen;
  }

  /** Packets first: a frozen socket still receives. */
  async #export(frozen: ReadonlyMap<TcpFlow, Frozen>, outcomes: Map<TcpFlow, Outcome>): Promise<readonly Leaving[]> {
    if (frozen.size === 0) return [];
    await this.#ports.divert([...frozen.keys()], 'cut');
    await this.#ports.packetsArrived();
    return [...frozen].flatMap(([flow, each]) => {
      const image = this.#ports.sockets.exportSocket(each.descriptor);
      if (image.ok) return [{ flow, frozen: each, image: image.value }];
      outcomes.set(flow, image);
      return [];
    });
  }

  /** Those that the taker stands ready for. */
  async #offer(
    peer: string,
    batch: number,
    flows: readonly TcpFlow[],
    leaving: readonly Leaving[],
    outcomes: Map<TcpFlow, Outcome>,
  ): Promise<readonly Leaving[]> {
    const answers = await Promise.all(
      leaving.map(({ flow, frozen: { state, unread }, image }) => {
        const index = flows.indexOf(flow);
        const socket = encodeSocketImage(image);
        return this.#ask(peer, { kind: 'image', batch, index, socket, state, unread }, `${batch} ready ${index}`);
      }),
    );
    return leaving.filter(({ flow }, i) => {
      const answer = answers[i] ?? refuse('no answer');
      if (!answer.ok) outcomes.set(flow, answer);
      return answer.ok;
    });
  }

  /** From here on they are the taker's. */
  #letGo(go: readonly Leaving[], outcomes: Map<TcpFlow, Outcome>): void {
    for (const { flow, frozen } of go) {
      outcomes.set(flow, ok(null));
      this.#applications.moved(flow);
      this.#ports.sockets.closeSilently(frozen.descriptor);
    }
  }

  async #resume(
    frozen: ReadonlyMap<TcpFlow, Frozen>,
    exported: readonly Leaving[],
    outcomes: ReadonlyMap<TcpFlow, Outcome>,
  ): Promise<void> {
    if (frozen.size === 0) return;
    const stay = [...frozen].filter(([flow]) => !outcomes.get(flow)?.ok);
    try {
      // Packets of those that are gone find no socket here, and the guard withholds the reset.
      await this.#ports.divert([...frozen.keys()], null);
    } finally {
      for (const [flow, { descriptor }] of stay) {
        const image = exported.find((each) => each.flow === flow)?.image;
        if (image) this.#ports.sockets.thaw(descriptor, image);
        this.#ports.sockets.close(descriptor);
        this.#applications.thaw(flow);
      }
    }
  }

  #ask(peer: string, message: TransferMessage, awaited: string): Promise<Outcome> {
    const name = `${peer} ${awaited}`;
    return new Promise((resolve) => {
      const cancel = this.#ports.after(patienceMs, () => answer(refuse(`${peer} does not answer`)));
      const answer = (outcome: Outcome): void => {
        cancel();
        this.#waiting.delete(name);
        resolve(outcome);
      };
      this.#waiting.set(name, answer);
      this.#ports.send(peer, message).catch((error: unknown) => answer(refuse(messageOf(error))));
    });
  }

  /** What cannot be told the taker finds out by itself, when the link is gone. */
  async #tell(peer: string, message: TransferMessage): Promise<void> {
    await this.#ports.send(peer, message).catch(() => {});
  }
}
