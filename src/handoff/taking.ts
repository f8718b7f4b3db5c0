import { sameIp } from '../base/address.ts';
import { assert } from '../base/assert.ts';
import { messageOf } from '../base/operating-error.ts';
import { ok, type Result, refuse } from '../base/result.ts';
import type { TcpFlow } from '../base/tcp-flow.ts';
import { decodeSocketImage, type SocketImage } from './socket-image.ts';
import { refusalOf, type TransferMessage } from './transfer-message.ts';
import type { TakerApplications, TransferPorts } from './transfer-ports.ts';

/** A holder that has not decided by then is taken for gone; it decides sooner than that, or not at all. Milliseconds. */
export const takerPatienceMs = 10_000;
/** Batches that wait for their turn. */
const waitingMax = 64;

export interface TakingPorts extends TransferPorts {
  /** Null when this replica may take the connection, else why not. */
  objection(flow: TcpFlow): string | null;
  /** Something that nothing follows from but a line in a log. */
  failed(error: unknown): void;
  /** Writes back all packets that were held; returns how many there were. */
  releasePackets(): number;
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
  readonly decide: (go: Decision) => void;
}

/**
 * The part of the replica that takes connections over: keeps their packets back, makes their sockets anew, and, when the holder has let go, has them go on and lets
 * the packets in. One batch at a time, because packets that were kept back are released all at once.
 */
export class Taking {
  readonly #ports: TakingPorts;
  readonly #applications: TakerApplications;
  readonly #batches = new Map<string, Batch>();
  #turn: Promise<void> = Promise.resolve();

  constructor(ports: TakingPorts, applications: TakerApplications) {
    this.#ports = ports;
    this.#applications = applications;
  }

  /** Resolves when the message takes no memory any more. */
  async receive(
    peer: string,
    message: TransferMessage & { readonly kind: 'hold' | 'image' | 'decided' },
  ): Promise<void> {
    const batch = this.#batches.get(keyOf(peer, message.batch));
    if (message.kind === 'hold') this.#begin(peer, message.batch, message.flows);
    else if (message.kind === 'decided') batch?.decide(message.go);
    else if (batch) await this.#arrive(batch, message);
  }

  /** Resolves when nothing that was begun is unfinished. */
  idle(): Promise<void> {
    return this.#turn;
  }

  /** The holder cannot say any more what it has decided: what is not decided stays with it. */
  lost(peer: string): void {
    for (const batch of this.#batches.values()) if (batch.peer === peer) batch.decide([]);
  }

  async #arrive({ peer, number, arriving }: Batch, image: TransferMessage & { readonly kind: 'image' }): Promise<void> {
    const { index } = image;
    const each = arriving[index];
    if (!each || each.handled) return;
    each.handled = this.#handle(each, image).then((outcome) =>
      this.#tell(peer, { kind: 'ready', batch: number, index, refusal: textOf(outcome) }),
    );
    await each.handled;
  }

  #begin(peer: string, number: number, flows: readonly TcpFlow[]): void {
    const key = keyOf(peer, number);
    const objection = flows.map((flow) => this.#ports.objection(flow)).find((each) => each !== null) ?? null;
    const full = this.#batches.has(key) || this.#batches.size >= waitingMax ? 'too many at a time' : null;
    const refusal = objection ?? full;
    if (refusal !== null) {
      void this.#tell(peer, { kind: 'held', batch: number, refusal: refusalOf(refusal) });
      return;
    }
    const arriving = flows.map((flow): Arriving => ({ flow, socket: null, handled: null }));
    const decided = new Promise<Decision>((decide) => {
      this.#batches.set(key, { peer, number, arriving, decide });
    });
    let isDecided = false;
    void decided.then(() => {
      isDecided = true;
    });
    this.#turn = this.#turn.then(async () => {
      if (!isDecided) await this.#take(peer, number, arriving, decided).catch(this.#ports.failed);
      this.#batches.delete(key);
    });
  }

  async #take(peer: string, number: number, arriving: readonly Arriving[], decided: Promise<Decision>): Promise<void> {
    const flows = arriving.map(({ flow }) => flow);
    const held = await outcomeOf(this.#ports.divert(flows, 'hold'));
    await this.#tell(peer, { kind: 'held', batch: number, refusal: textOf(held) });
    if (!held.ok) return;
    const go = await this.#withinPatience(decided);
    await Promise.all(arriving.map(({ handled }) => handled));
    arriving.forEach((each, index) => {
      this.#finish(each, go.includes(index));
    });
    this.#ports.releasePackets();
    await outcomeOf(this.#ports.divert(flows, null));
    // At once: what comes now must not overtake what still waits.
    this.#ports.releasePackets();
    await this.#ports.packetsArrived();
    this.#ports.releasePackets();
  }

  #withinPatience(decided: Promise<Decision>): Promise<Decision> {
    return new Promise((resolve) => {
      const cancel = this.#ports.after(takerPatienceMs, () => resolve([]));
      void decided.then((go) => {
        cancel();
        resolve(go);
      });
    });
  }

  async #handle(
    arriving: Arriving,
    { socket, state, unread }: TransferMessage & { readonly kind: 'image' },
  ): Promise<Result<null>> {
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
    }
    sockets.close(socket.descriptor);
    this.#applications.go(flow);
  }

  async #tell(peer: string, message: TransferMessage): Promise<void> {
    await this.#ports.send(peer, message).catch(() => {});
  }
}

function keyOf(peer: string, batch: number): string {
  return `${peer} ${batch}`;
}

function textOf(outcome: Result<null>): string {
  if (outcome.ok) return '';
  const text = refusalOf(outcome.reason);
  assert(text !== '', 'a refusal says why');
  return text;
}

function isOf({ remote, remotePort, localPort }: SocketImage, flow: TcpFlow): boolean {
  return sameIp(remote, flow.client) && remotePort === flow.clientPort && localPort === flow.servicePort;
}

async function outcomeOf(work: Promise<void>): Promise<Result<null>> {
  try {
    await work;
    return ok(null);
  } catch (error) {
    return refuse(messageOf(error));
  }
}
