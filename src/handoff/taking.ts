import { sameIp } from '../base/address.ts';
import { messageOf } from '../base/operating-error.ts';
import { ok, type Result, refuse } from '../base/result.ts';
import { flowKey, type TcpFlow } from '../base/tcp-flow.ts';
import { decodeSocketImage, type SocketImage } from './socket-image.ts';
import { refusalOf, type TransferMessage } from './transfer-message.ts';
import type { TakerApplications, TransferPorts } from './transfer-ports.ts';

/** A holder that has not decided by then is taken for gone; it decides sooner than that, or not at all. Milliseconds. */
export const takerPatienceMs = 10_000;
/** How often a holder that has not told its decision is asked. */
export const askMs = 500;
/** How often the kernel is asked to divert flows no more that it would not let go of: by then a table that somebody flushed may stand again. Milliseconds. */
export const freeAgainMs = 500;
/** At a time. */
const batchesMax = 64;

export interface TakingPorts extends TransferPorts {
  /** Has the kernel hold the packets of flows back, or judge them as any others again; resolves when it does. */
  divert(flows: readonly TcpFlow[], isDiverted: boolean): Promise<void>;
  /** Every packet that was on its way through the kernel when it last changed has come to its end. */
  packetsArrived(): Promise<void>;
  /** Null when this replica may take the connection, else why not. */
  objection(flow: TcpFlow): string | null;
  /** Something that nothing follows from but a line in a log. */
  failed(error: unknown): void;
  /** Writes back all packets that were held but those of the flows in `kept`; returns how many there were. */
  releasePackets(kept: readonly TcpFlow[]): number;
}

/** A connection on its way in. */
interface Arriving {
  readonly flow: TcpFlow;
  /** Null until it stands ready here, frozen. */
  socket: { readonly descriptor: number; readonly image: SocketImage } | null;
  /** Ends when what came of its image is known. */
  handled: Promise<void> | null;
}

type Decision = readonly number[];

interface Batch {
  readonly peer: string;
  readonly number: number;
  readonly arriving: readonly Arriving[];
  readonly decided: Promise<Decision>;
  readonly decide: (go: Decision) => void;
  /** What comes of it from then on comes too late. */
  isDecided: boolean;
}

type Images = TransferMessage & { readonly kind: 'images' };
type Image = Images['images'][number];

/**
 * The part of the replica that takes connections over: keeps their packets back, makes their sockets anew, and, when the holder has let go, has them go on and lets
 * the packets in.
 */
export class Taking {
  readonly #ports: TakingPorts;
  readonly #applications: TakerApplications;
  readonly #batches = new Map<string, Batch>();
  readonly #working = new Set<Promise<void>>();
  /** End the pauses between attempts, at once. */
  readonly #wakes = new Set<() => void>();
  #hasGivenUp = false;

  constructor(ports: TakingPorts, applications: TakerApplications) {
    this.#ports = ports;
    this.#applications = applications;
  }

  /** Resolves when the message takes no memory any more. */
  async receive(
    peer: string,
    message: TransferMessage & { readonly kind: 'hold' | 'images' | 'decided' },
  ): Promise<void> {
    const batch = this.#batches.get(keyOf(peer, message.batch));
    if (message.kind === 'hold') this.#begin(peer, message.batch, message.flows);
    else if (message.kind === 'decided') batch?.decide(message.go);
    else if (batch && !batch.isDecided) await this.#arrive(batch, message);
  }

  /** Resolves when nothing that was begun is unfinished. */
  async idle(): Promise<void> {
    while (this.#working.size > 0) await Promise.all(this.#working);
  }

  /** The link has ended: of what the holder has offered it may let go, all else stays with it. */
  lost(peer: string): void {
    for (const batch of this.#batches.values()) {
      if (batch.peer !== peer) continue;
      if (isOffered(batch)) void this.#inquire(batch);
      else batch.decide([]);
    }
  }

  /** No holder is heard any more, and nothing is tried once more: what is under way ends soon, and no timer is left. */
  giveUp(): void {
    this.#hasGivenUp = true;
    for (const wake of this.#wakes) wake();
    for (const batch of this.#batches.values()) batch.decide([]);
  }

  async #arrive({ peer, number, arriving }: Batch, { images }: Images): Promise<void> {
    const handling = images.flatMap((image) => {
      const each = arriving[image.index];
      if (!each || each.handled) return [];
      const outcome = this.#handle(each, image).catch((error: unknown): Result<null> => refuse(messageOf(error)));
      each.handled = outcome.then(() => {});
      return [outcome.then((known) => ({ index: image.index, refusal: textOf(known) }))];
    });
    if (handling.length > 0)
      await this.#tell(peer, { kind: 'ready', batch: number, answers: await Promise.all(handling) });
  }

  #begin(peer: string, number: number, flows: readonly TcpFlow[]): void {
    const key = keyOf(peer, number);
    const objection = flows.map((flow) => this.#ports.objection(flow)).find((each) => each !== null) ?? null;
    const full = this.#batches.has(key) || this.#batches.size >= batchesMax ? 'too many at a time' : null;
    const keys = new Set(flows.map(flowKey));
    const twice = this.#flows().some((flow) => keys.has(flowKey(flow))) ? 'an earlier move is not over' : null;
    const refusal = objection ?? full ?? twice;
    if (refusal !== null) {
      void this.#tell(peer, { kind: 'held', batch: number, refusal: refusalOf(refusal) });
      return;
    }
    const arriving = flows.map((flow): Arriving => ({ flow, socket: null, handled: null }));
    const batch = batchOf(peer, number, arriving);
    this.#batches.set(key, batch);
    const work = this.#take(batch)
      .catch(this.#ports.failed)
      .then(() => {
        this.#batches.delete(key);
        this.#working.delete(work);
      });
    this.#working.add(work);
  }

  /** Those of all batches but one. */
  #flows(but?: Batch): TcpFlow[] {
    return [...this.#batches.values()].flatMap((each) => (each === but ? [] : each.arriving.map(({ flow }) => flow)));
  }

  async #take(batch: Batch): Promise<void> {
    const { peer, number, arriving } = batch;
    const flows = arriving.map(({ flow }) => flow);
    const held = await outcomeOf(this.#ports.divert(flows, true));
    await this.#tell(peer, { kind: 'held', batch: number, refusal: textOf(held) });
    if (!held.ok) return;
    const go = await this.#decisionOf(batch);
    await Promise.all(arriving.map(({ handled }) => handled));
    arriving.forEach((each, index) => {
      this.#attempt(() => this.#finish(each, go.includes(index)));
    });
    await this.#free(batch, flows);
  }

  /** Has the packets of a batch that is finished judged as any others again: those that were held first. */
  async #free(batch: Batch, flows: readonly TcpFlow[]): Promise<void> {
    const release = () => this.#attempt(() => this.#ports.releasePackets(this.#flows(batch)));
    release();
    let failure = await failureOf(this.#ports.divert(flows, false));
    // Once: it may go on for as long as the table is away.
    if (failure) this.#ports.failed(failure.error);
    while (failure && !this.#hasGivenUp) {
      // The connections live, and a table that is installed anew still diverts them: they are slow until they are free, and do not hang.
      release();
      await this.#pause(freeAgainMs);
      failure = await failureOf(this.#ports.divert(flows, false));
    }
    // At once: what comes now must not overtake what still waits.
    release();
    await this.#ports.packetsArrived();
    release();
  }

  /** What fails must not keep the rest from being done. */
  #attempt(work: () => void): void {
    try {
      work();
    } catch (error) {
      this.#ports.failed(error);
    }
  }

  /** Shorter when all is given up. */
  #pause(ms: number): Promise<void> {
    return new Promise((resolve) => {
      const wake = (): void => {
        cancel();
        this.#wakes.delete(wake);
        resolve();
      };
      const cancel = this.#ports.after(ms, wake);
      this.#wakes.add(wake);
    });
  }

  /** None when it is not heard in time. */
  #decisionOf(batch: Batch): Promise<Decision> {
    return new Promise((resolve) => {
      let cancelAsking = (): void => {};
      const askLater = (): void => {
        cancelAsking = this.#ports.after(askMs, () => {
          void this.#inquire(batch);
          askLater();
        });
      };
      askLater();
      const cancel = this.#ports.after(takerPatienceMs, () => batch.decide([]));
      void batch.decided.then((go) => {
        cancel();
        cancelAsking();
        resolve(go);
      });
    });
  }

  /** A holder that has not decided yet says nothing, and its decision when it has. */
  async #inquire(batch: Batch): Promise<void> {
    if (isOffered(batch)) await this.#tell(batch.peer, { kind: 'undecided', batch: batch.number });
  }

  async #handle(arriving: Arriving, { socket, state, unread }: Image): Promise<Result<null>> {
    const image = decodeSocketImage(socket);
    if (!image.ok) return image;
    if (!isOf(image.value, arriving.flow)) return refuse('the image is of another connection');
    let descriptor: number;
    try {
      descriptor = this.#ports.sockets.importSocket(image.value);
    } catch (error) {
      return refuse(messageOf(error));
    }
    const adopted = await this.#applications
      .adopt(arriving.flow, { descriptor, state, unread })
      .catch((error: unknown): Result<null> => refuse(messageOf(error)));
    if (adopted.ok) arriving.socket = { descriptor, image: image.value };
    else this.#ports.sockets.closeSilently(descriptor);
    return adopted;
  }

  #finish({ flow, socket }: Arriving, isOurs: boolean): void {
    if (!socket) return;
    const { sockets } = this.#ports;
    if (!isOurs) {
      this.#applications.drop(flow);
      sockets.closeSilently(socket.descriptor);
      return;
    }
    try {
      // Live first: what an application writes to a frozen socket is taken for sent.
      sockets.goLive(socket.descriptor, socket.image);
    } catch (error) {
      this.#ports.failed(error);
      // Some of what was said to the client may be missing: neither side may take what follows for the rest of the stream.
      this.#applications.drop(flow);
      sockets.reset(socket.descriptor);
      return;
    }
    sockets.close(socket.descriptor);
    this.#applications.go(flow);
  }

  async #tell(peer: string, message: TransferMessage): Promise<void> {
    await this.#ports.send(peer, message).catch(() => {});
  }
}

function batchOf(peer: string, number: number, arriving: readonly Arriving[]): Batch {
  let resolve: (go: Decision) => void = () => {};
  const decided = new Promise<Decision>((resolved) => {
    resolve = resolved;
  });
  const batch: Batch = {
    ...{ peer, number, arriving, decided, isDecided: false },
    decide(go) {
      batch.isDecided = true;
      resolve(go);
    },
  };
  return batch;
}

/** Whether the holder may have heard that one of them stands ready, or will. */
function isOffered({ arriving }: Batch): boolean {
  return arriving.some(({ handled }) => handled !== null);
}

function keyOf(peer: string, batch: number): string {
  return `${peer} ${batch}`;
}

function textOf(outcome: Result<null>): string {
  return outcome.ok ? '' : refusalOf(outcome.reason);
}

function isOf({ remote, remotePort, localPort }: SocketImage, flow: TcpFlow): boolean {
  return sameIp(remote, flow.client) && remotePort === flow.clientPort && localPort === flow.servicePort;
}

async function outcomeOf(work: Promise<void>): Promise<Result<null>> {
  const failure = await failureOf(work);
  return failure ? refuse(messageOf(failure.error)) : ok(null);
}

async function failureOf(work: Promise<void>): Promise<{ readonly error: unknown } | null> {
  try {
    await work;
    return null;
  } catch (error) {
    return { error };
  }
}
