import { messageOf } from '../base/operating-error.ts';
import { ok, type Result, refuse } from '../base/result.ts';
import { flowKey, type TcpFlow } from '../base/tcp-flow.ts';
import { encodeSocketImage, type SocketImage } from './socket-image.ts';
import type { TransferMessage } from './transfer-message.ts';
import type { Frozen, HolderApplications, TransferPorts } from './transfer-ports.ts';

/** How long the taker may take for its answers, milliseconds. Meanwhile connections stand still. */
export const patienceMs = 1000;
/** Nothing is given any more this long after the taker was first asked: it gives up waiting some time later, `takerPatienceMs`. */
const decideMsMax = 3000;
/** Images that go in one message: the taker answers for them together, and the first of a long one would wait for the last. */
const messageBytesMax = 256 * 1024;
/** Decisions that a taker may still ask for. */
const decisionsMax = 1024;

type Reply = TransferMessage & { readonly kind: 'held' | 'ready' | 'undecided' };
type Outcome = Result<null>;

/** In the order in which they come. From `freeze` on the connections stand still. */
export const phases = ['calm', 'hold', 'freeze', 'export', 'offer', 'letGo'] as const;

/** What became of a batch. */
export interface Given {
  readonly flows: readonly TcpFlow[];
  /** Of each of `flows`, in their order: moved, or why it stays. */
  readonly outcomes: readonly Outcome[];
  /** Those that should be given alone, and were not tried. */
  readonly alone: readonly TcpFlow[];
  /** Milliseconds of each phase that was begun. */
  readonly phasesMs: Readonly<Partial<Record<(typeof phases)[number], number>>>;
}

/** A connection on its way out. */
interface Leaving {
  readonly flow: TcpFlow;
  /** Its place in the batch. */
  readonly index: number;
  readonly frozen: Frozen;
  readonly image: SocketImage;
}

/** What was frozen, and of these what was exported too. */
interface Moved {
  readonly frozen: ReadonlyMap<TcpFlow, Frozen>;
  readonly leaving: readonly Leaving[];
}

/** Connections that are moved together. */
interface Batch {
  readonly peer: string;
  readonly number: number;
  readonly flows: readonly TcpFlow[];
  readonly outcomes: Map<TcpFlow, Outcome>;
}

/**
 * A holder's part of moving connections to another replica: hold there, freeze, cut off, export, send, and, only once the taker stands ready, let go. Whatever
 * fails, or takes too long, leaves a connection where it was.
 */
export class Giving {
  readonly #ports: TransferPorts;
  readonly #applications: HolderApplications;
  readonly #waiting = new Map<string, (answer: Outcome) => void>();
  /** By peer and batch, the oldest first; null of a batch that is under way. */
  readonly #decisions = new Map<string, readonly number[] | null>();
  /** Ends when no connection stands still any more. */
  #turn: Promise<void> = Promise.resolve();
  #batch: number;

  /** `firstBatch` is to differ from that of an earlier life. */
  constructor(ports: TransferPorts, applications: HolderApplications, firstBatch: number) {
    this.#ports = ports;
    this.#applications = applications;
    this.#batch = firstBatch;
  }

  receive(peer: string, message: Reply): void {
    const of = `${peer} ${message.batch}`;
    if (message.kind === 'undecided') this.#answer(peer, message.batch);
    else if (message.kind === 'held') this.#waiting.get(`${of} held`)?.(outcomeOf(message));
    else for (const each of message.answers) this.#waiting.get(`${of} ready ${each.index}`)?.(outcomeOf(each));
  }

  /** The peer cannot answer any more. */
  lost(peer: string): void {
    for (const [name, answer] of this.#waiting) if (name.startsWith(`${peer} `)) answer(refuse(`${peer} is lost`));
  }

  /** Moves connections to `peer`. */
  async give(peer: string, wanted: readonly TcpFlow[]): Promise<Given> {
    const stopwatch = stopwatchOf(this.#ports);
    const busy = new Set((await stopwatch.time('calm', this.#applications.calm(wanted))).map(flowKey));
    const isAlone = (flow: TcpFlow): boolean => wanted.length > 1 && busy.has(flowKey(flow));
    const flows = wanted.filter((flow) => !isAlone(flow));
    const outcomes = flows.length > 0 ? await this.#give(peer, flows, stopwatch) : [];
    return { flows, outcomes, alone: wanted.filter(isAlone), phasesMs: stopwatch.phasesMs };
  }

  async #give(peer: string, flows: readonly TcpFlow[], stopwatch: Stopwatch): Promise<readonly Outcome[]> {
    const batch: Batch = { peer, number: this.#batch, flows, outcomes: new Map() };
    this.#batch = (this.#batch + 1) >>> 0;
    const { outcomes } = batch;
    stopwatch.begin();
    this.#remember(batch, null);
    const message: TransferMessage = { kind: 'hold', batch: batch.number, flows };
    const [held = noAnswer] = await stopwatch.time('hold', this.#ask(peer, message, [`${batch.number} held`]));
    if (!held.ok) {
      await this.#decide(batch, []);
      return flows.map(() => held);
    }
    const moved = this.#turn.then(() => this.#move(batch, stopwatch));
    this.#turn = moved.then(
      () => {},
      () => {},
    );
    await moved;
    return flows.map((flow) => outcomes.get(flow) ?? refuse('not tried'));
  }

  /** From freezing to the word of what is decided. One batch at a time, so that each stands still as short as can be. */
  async #move(batch: Batch, stopwatch: Stopwatch): Promise<void> {
    const { outcomes } = batch;
    let frozen: ReadonlyMap<TcpFlow, Frozen> = new Map();
    let leaving: readonly Leaving[] = [];
    let go: readonly Leaving[] = [];
    try {
      frozen = await stopwatch.time('freeze', this.#freeze(batch));
      leaving = stopwatch.timeNow('export', () => this.#export(batch, frozen));
      const ready = await stopwatch.time('offer', this.#offer(batch, leaving));
      go = stopwatch.timeNow('letGo', () => this.#letGo(ready, stopwatch.sinceBeginMs() < decideMsMax, outcomes));
    } catch (error) {
      for (const flow of batch.flows) if (!outcomes.has(flow)) outcomes.set(flow, refuse(messageOf(error)));
    }
    const told = this.#decide(
      batch,
      go.map(({ index }) => index),
    );
    this.#resume({ frozen, leaving }, outcomes);
    await told;
  }

  async #freeze({ flows, outcomes }: Batch): Promise<Map<TcpFlow, Frozen>> {
    const answers = await this.#applications.freeze(flows);
    const frozen = new Map<TcpFlow, Frozen>();
    flows.forEach((flow, i) => {
      const answer = answers[i] ?? refuse('no answer of the application');
      if (answer.ok) frozen.set(flow, answer.value);
      else outcomes.set(flow, answer);
    });
    return frozen;
  }

  #export({ flows, outcomes }: Batch, frozen: ReadonlyMap<TcpFlow, Frozen>): readonly Leaving[] {
    return flows.flatMap((flow, index) => {
      const each = frozen.get(flow);
      if (!each) return [];
      const image = attempt(() => this.#ports.sockets.exportSocket(each.descriptor));
      if (image.ok) return [{ flow, index, frozen: each, image: image.value }];
      outcomes.set(flow, image);
      return [];
    });
  }

  /** Those that the taker stands ready for. */
  async #offer({ peer, number, outcomes }: Batch, leaving: readonly Leaving[]): Promise<readonly Leaving[]> {
    const offered = together(leaving).map(async (some) => {
      const images = some.map(({ index, image, frozen: { state, unread } }) => {
        return { index, socket: encodeSocketImage(image), state, unread };
      });
      const awaited = some.map(({ index }) => `${number} ready ${index}`);
      const answers = await this.#ask(peer, { kind: 'images', batch: number, images }, awaited);
      return some.filter(({ flow }, i) => {
        const answer = answers[i] ?? noAnswer;
        if (!answer.ok) outcomes.set(flow, answer);
        return answer.ok;
      });
    });
    return (await Promise.all(offered)).flat();
  }

  /** From here on those that are returned are the taker's. */
  #letGo(ready: readonly Leaving[], isInTime: boolean, outcomes: Map<TcpFlow, Outcome>): readonly Leaving[] {
    return ready.filter(({ flow, frozen, image }) => {
      // A packet may have been on its way through the kernel when the socket was read: the image has not what it brought.
      const unchanged = () => ok(this.#ports.sockets.isUnchanged(frozen.descriptor, image));
      const whole: Result<boolean> = isInTime ? attempt(unchanged) : refuse('too late');
      const outcome: Outcome = !whole.ok ? whole : whole.value ? ok(null) : refuse('a packet came after it was read');
      outcomes.set(flow, outcome);
      if (!outcome.ok) return false;
      this.#applications.moved(flow);
      // What fails leaves it in repair mode, in which also its application closes it without a packet.
      attempt(() => this.#ports.sockets.closeSilently(frozen.descriptor));
      return true;
    });
  }

  #resume({ frozen, leaving }: Moved, outcomes: ReadonlyMap<TcpFlow, Outcome>): void {
    for (const [flow, { descriptor }] of frozen) {
      if (outcomes.get(flow)?.ok) continue;
      const image = leaving.find((each) => each.flow === flow)?.image;
      if (image) attempt(() => this.#ports.sockets.thaw(descriptor, image));
      this.#ports.sockets.close(descriptor);
      this.#applications.thaw(flow);
    }
  }

  /** The answer of each name in `awaited`. */
  #ask(peer: string, message: TransferMessage, awaited: readonly string[]): Promise<readonly Outcome[]> {
    const names = awaited.map((each) => `${peer} ${each}`);
    const answers = new Map<string, Outcome>();
    return new Promise((resolve) => {
      const answerAll = (outcome: Outcome): void => {
        for (const name of names) this.#waiting.get(name)?.(outcome);
      };
      const cancel = this.#ports.after(patienceMs, () => answerAll(refuse(`${peer} does not answer`)));
      for (const name of names) {
        this.#waiting.set(name, (outcome) => {
          this.#waiting.delete(name);
          answers.set(name, outcome);
          if (answers.size < names.length) return;
          cancel();
          resolve(names.map((each) => answers.get(each) ?? noAnswer));
        });
      }
      this.#ports.send(peer, message).catch((error: unknown) => answerAll(refuse(messageOf(error))));
    });
  }

  /** What does not reach the taker now it asks for. */
  async #decide(batch: Batch, go: readonly number[]): Promise<void> {
    this.#remember(batch, go);
    await this.#tell(batch.peer, { kind: 'decided', batch: batch.number, go });
  }

  /** An earlier life has decided what is not known here; what it held is gone with it. */
  #answer(peer: string, batch: number): void {
    const go = this.#decisions.get(`${peer} ${batch}`);
    if (go !== null) void this.#tell(peer, { kind: 'decided', batch, go: go ?? [] });
  }

  #remember({ peer, number }: Batch, go: readonly number[] | null): void {
    this.#decisions.set(`${peer} ${number}`, go);
    for (const [key, decided] of this.#decisions) {
      if (this.#decisions.size <= decisionsMax) break;
      if (decided !== null) this.#decisions.delete(key);
    }
  }

  async #tell(peer: string, message: TransferMessage): Promise<void> {
    await this.#ports.send(peer, message).catch(() => {});
  }
}

function attempt<T>(work: () => Result<T>): Result<T>;
function attempt(work: () => void): Result<unknown>;
function attempt(work: () => unknown): unknown {
  try {
    return work();
  } catch (error) {
    return refuse(messageOf(error));
  }
}

const noAnswer: Outcome = refuse('no answer');

function outcomeOf({ refusal }: { readonly refusal: string }): Outcome {
  return refusal === '' ? ok(null) : refuse(refusal);
}

/** In groups that go in one message each. */
function together(leaving: readonly Leaving[]): readonly (readonly Leaving[])[] {
  const groups: Leaving[][] = [];
  let room = 0;
  for (const each of leaving) {
    const { image, frozen } = each;
    const bytes = image.sendQueue.length + image.receiveQueue.length + frozen.state.length + frozen.unread.length;
    const last = groups.at(-1);
    if (last && bytes <= room) last.push(each);
    else groups.push([each]);
    room = (last && bytes <= room ? room : messageBytesMax) - bytes;
  }
  return groups;
}

/** How long what is done one after the other takes. */
type Stopwatch = ReturnType<typeof stopwatchOf>;

function stopwatchOf({ now }: Pick<TransferPorts, 'now'>) {
  let begin = now();
  const phasesMs: Partial<Record<(typeof phases)[number], number>> = {};
  return {
    phasesMs,
    begin(): void {
      begin = now();
    },
    sinceBeginMs: () => now() - begin,
    async time<T>(phase: (typeof phases)[number], work: Promise<T>): Promise<T> {
      const since = now();
      return await work.finally(() => {
        phasesMs[phase] = now() - since;
      });
    },
    timeNow<T>(phase: (typeof phases)[number], work: () => T): T {
      const since = now();
      const done = work();
      phasesMs[phase] = now() - since;
      return done;
    },
  };
}
