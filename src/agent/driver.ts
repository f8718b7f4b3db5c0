import type { TcpFlow } from '../base/tcp-flow.ts';
import type { Change } from '../control/change.ts';
import type { Control } from '../control/control.ts';
import type { ControlEvent, ControlInput, ControlOutput, ControlView } from '../control/io.ts';
import type { Advertised } from '../control/routing.ts';
import type { DataPlane } from '../dataplane/data-plane.ts';
import type { ServiceEntry } from '../dataplane/forwarding-table.ts';
import type { UdpFlow } from '../dataplane/staying.ts';
import type { Flow } from '../handoff/flow.ts';
import { flowsOfSlots } from '../handoff/flows-of-slots.ts';
import type { Clock } from '../ports/clock.ts';
import type { ControlNetwork } from '../ports/control-network.ts';
import type { FlowTable } from '../ports/flow-table.ts';
import type { StateStore } from '../ports/state-store.ts';
import { slotOf } from '../space/partition.ts';
import type { Envelope, Via } from '../wire/envelope.ts';
import type { ControlChannel } from './control-channel.ts';
import { createControlSender } from './control-sender.ts';
import { createKernelQueue, type KernelQueue } from './kernel-queue.ts';

/** What happened on this replica, for logs, `status` and whoever watches. */
export type DriverEvent =
  | ControlEvent
  /** The kernel takes new connections of exactly these slots, while its lease lasts, since some instant between `begin` and `end`, monotonic milliseconds. */
  | { readonly kind: 'table'; readonly begin: number; readonly end: number; readonly slots: ReadonlySet<number> }
  | { readonly kind: 'reset'; readonly connections: number; readonly slots: ReadonlySet<number> }
  | { readonly kind: 'repaired' }
  /** Something outside failed; the driver goes on and tries again where that helps. */
  | { readonly kind: 'failure'; readonly doing: string; readonly error: unknown };

export interface DriverParts {
  readonly control: Control;
  readonly channel: ControlChannel;
  readonly network: ControlNetwork;
  readonly dataPlane: DataPlane;
  readonly service: ServiceEntry;
  readonly flows: FlowTable<Flow>;
  readonly store: StateStore;
  readonly clock: Clock;
  /** Sends a reset that the kernel had held back, if its rules still let it leave. */
  readonly letGo: (reset: Uint8Array) => void;
  /** Has the routers send the packets of these slots here. */
  readonly advertise: (advertised: Advertised) => void;
  /** Asks whether hosts answer on the segment; each that does calls back through `alive`. */
  readonly probe: (peers: readonly string[]) => void;
  readonly onEvent: (event: DriverEvent) => void;
  /** An output could not be carried out, and the driver has stopped; the error is thrown besides, to a caller who may not care. */
  readonly onFault: (error: unknown) => void;
}

/** Runs the control state machine against the world: feeds it input with its time, carries out what it wants, in its order. */
export interface Driver {
  receive(datagram: Uint8Array, via: Via): void;
  propose(change: Change): void;
  /** Begins a new cluster. */
  found(): void;
  /** The host of a peer has answered. */
  alive(peer: string): void;
  /** A flow that this host does not have, and the reset that says so; the kernel has held it back. */
  unknown(flow: TcpFlow, reset: Uint8Array): void;
  /** The local server answers its checks, or does not. */
  health(healthy: boolean): void;
  /** Of these peers the authority has taken the certificate back, and of no others. */
  revoke(names: readonly string[]): void;
  /** Somebody may have changed the kernel's table. */
  inspect(): void;
  /** Hands everything off; resolves when nothing is left to wait for. */
  leave(): Promise<void>;
  view(): ControlView;
  /** Datagrams that were not authentic, by reason. */
  refused(): ReadonlyMap<string, number>;
  /** Stops at once; the kernel keeps its table. */
  stop(): void;
}

/** Name of the value that holds what an agent must not forget. */
export const stateRecord = 'state';

export function startDriver(parts: DriverParts): Driver {
  const { control, channel, clock } = parts;
  const refused = new Map<string, number>();
  const kernel = createKernelQueue(parts, {
    programmed: (revision) => feed({ kind: 'programmed', at: clock.now(), revision }),
    rebuilt: () => feed({ kind: 'rebuilt', at: clock.now() }),
  });
  const perform = performer(parts, kernel, {
    left: () => left(),
    holding: (slots) => answer({ kind: 'holding', at: clock.now(), slots }),
    flows: (flows) => answer({ kind: 'flows', at: clock.now(), flows }),
    seen: (flows) => feed({ kind: 'seen', at: clock.now(), flows }),
    had: (asker, flows) => answer({ kind: 'had', at: clock.now(), asker, flows }),
  });
  const ticks = createTicks(clock, () => feed({ kind: 'tick', at: clock.now() }));
  let stopped = false;
  let left = (): void => {};

  /** Answers to outputs, given once all of an input's outputs are carried out. */
  const answers: ControlInput[] = [];
  const answer = (input: ControlInput): void => void answers.push(input);

  function stop(): void {
    stopped = true;
    ticks.stop();
    kernel.stop();
  }

  function step(input: ControlInput): void {
    if (stopped) return;
    perform(control.handle(input));
    for (let next = answers.shift(); next; next = answers.shift()) perform(control.handle(next));
    if (!stopped) ticks.next(control.nextTimeout());
  }

  const feed = untilFault(step, stop, parts.onFault);
  step({ kind: 'tick', at: clock.now() });
  return {
    receive(datagram: Uint8Array, via: Via): void {
      const message = opened(channel, datagram, refused);
      if (message) feed({ kind: 'message', at: clock.now(), via, ...message });
    },
    propose: (change) => feed({ kind: 'propose', at: clock.now(), change }),
    found: () => feed({ kind: 'found', at: clock.now() }),
    alive: (peer) => feed({ kind: 'alive', at: clock.now(), peer }),
    unknown: (flow, reset) => feed({ kind: 'unknown', at: clock.now(), flow, reset }),
    health: (healthy) => feed({ kind: 'health', at: clock.now(), healthy }),
    revoke: (names) => feed({ kind: 'revoked', at: clock.now(), names }),
    inspect: () => kernel.inspect(),
    leave: () =>
      new Promise((resolve) => {
        left = resolve;
        feed({ kind: 'leave', at: clock.now() });
      }),
    view: () => control.view(),
    refused: () => refused,
    stop,
  };
}

/** What an authentic datagram says; others are counted by the reason for which they are refused. */
function opened(channel: ControlChannel, datagram: Uint8Array, refused: Map<string, number>): Envelope | null {
  const envelope = channel.open(datagram);
  if (envelope.ok) return envelope.value;
  refused.set(envelope.reason, (refused.get(envelope.reason) ?? 0) + 1);
  return null;
}

/** Has whoever ends the process know of the first error, and nothing is done after it: the state machine takes for done what is not, such as that its state is stored. */
function untilFault<T>(
  work: (input: T) => void,
  stop: () => void,
  onFault: (error: unknown) => void,
): (input: T) => void {
  return (input) => {
    try {
      work(input);
    } catch (error) {
      stop();
      onFault(error);
      throw error;
    }
  };
}

/** The timer of the state machine: most input leaves the next tick where it was, and so the timer. */
function createTicks(clock: Clock, tick: () => void): { next(at: number): void; stop(): void } {
  let cancel = (): void => {};
  let scheduled: number | null = null;
  return {
    next(at: number): void {
      if (at === scheduled) return;
      cancel();
      scheduled = at;
      cancel = clock.wakeAt(at, () => {
        scheduled = null;
        tick();
      });
    },
    stop: () => cancel(),
  };
}

interface Answers {
  /** Nothing is left to wait for. */
  left(): void;
  /** The slots of a list of which there are flows. */
  holding(slots: ReadonlySet<number>): void;
  /** Null when they could not be listed. */
  flows(flows: readonly TcpFlow[] | null): void;
  seen(flows: readonly UdpFlow[] | null): void;
  /** The flows that this host has, of those asked about. */
  had(asker: string, flows: readonly TcpFlow[]): void;
}

/** Carries out what an input leads to. */
function performer(
  parts: DriverParts,
  kernel: KernelQueue,
  answers: Answers,
): (outputs: readonly ControlOutput[]) => void {
  const { store, onEvent } = parts;
  const sender = createControlSender(parts.channel, parts.network);
  const perform = (output: ControlOutput): void => {
    switch (output.kind) {
      case 'send':
        sender.send(output);
        break;
      case 'persist':
        store.write(stateRecord, output.state);
        break;
      case 'program':
        kernel.program(output.revision, output.rows, output.staying);
        break;
      case 'advertise':
        parts.advertise(output.advertised);
        break;
      case 'arm':
        kernel.fence((dataPlane) => dataPlane.arm(output.fence, output.mark, output.ms));
        break;
      case 'grant':
        kernel.fence((dataPlane) => dataPlane.grant(output.fence, output.mark));
        break;
      case 'list':
        answers.holding(holding(parts, output.slots));
        break;
      case 'flows':
        answers.flows(listed(parts, output.slots));
        break;
      case 'seen':
        kernel.seen(answers.seen);
        break;
      case 'find':
        answers.had(output.asker, found(parts, output.flows));
        break;
      case 'letGo':
        letGo(parts, output.reset);
        break;
      case 'probe':
        parts.probe(output.peers);
        break;
      case 'reset':
        reset(parts, output.slots);
        break;
      case 'event':
        onEvent(output.event);
        break;
      case 'left':
        void kernel.idle().then(answers.left);
    }
  };
  return (outputs) => {
    for (const output of outputs) perform(output);
    sender.forget();
  };
}

/** When the flows cannot be listed, every slot may have some. */
function holding(parts: DriverParts, slots: ReadonlySet<number>): ReadonlySet<number> {
  const flows = listed(parts, slots);
  return flows ? new Set(flows.map(({ client }) => slotOf(parts.service.partition, client))) : slots;
}

function listed({ flows, service, onEvent }: DriverParts, slots: ReadonlySet<number>): readonly Flow[] | null {
  try {
    return held(flows, service, slots);
  } catch (error) {
    onEvent({ kind: 'failure', doing: 'listing connections', error });
    return null;
  }
}

/** What cannot be looked for is not said to be here. */
function found({ flows, onEvent }: DriverParts, asked: readonly TcpFlow[]): readonly TcpFlow[] {
  try {
    return flows.find(asked);
  } catch (error) {
    onEvent({ kind: 'failure', doing: 'looking for connections', error });
    return [];
  }
}

function letGo(parts: DriverParts, reset: Uint8Array): void {
  try {
    parts.letGo(reset);
  } catch (error) {
    parts.onEvent({ kind: 'failure', doing: 'sending a reset', error });
  }
}

function reset({ flows, service, onEvent }: DriverParts, slots: ReadonlySet<number>): void {
  try {
    const connections = flows.destroy(held(flows, service, slots));
    if (connections > 0) onEvent({ kind: 'reset', connections, slots });
  } catch (error) {
    onEvent({ kind: 'failure', doing: 'resetting connections', error });
  }
}

function held(flows: FlowTable<Flow>, { partition, ports }: ServiceEntry, slots: ReadonlySet<number>): readonly Flow[] {
  const tcpPorts = ports.filter(({ protocol }) => protocol === 'tcp').map(({ port }) => port);
  return flowsOfSlots(flows.list(), partition, slots, tcpPorts);
}
