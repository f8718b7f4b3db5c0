import type { Control } from '../control/control.ts';
import type { ControlEvent, ControlInput, ControlOutput } from '../control/io.ts';
import type { DataPlane } from '../dataplane/data-plane.ts';
import type { ServiceEntry } from '../dataplane/forwarding-table.ts';
import type { Flow } from '../handoff/flow.ts';
import { flowsToReset } from '../handoff/reset.ts';
import type { Clock } from '../ports/clock.ts';
import type { ControlNetwork } from '../ports/control-network.ts';
import type { FlowTable } from '../ports/flow-table.ts';
import type { StateStore } from '../ports/state-store.ts';
import type { Via } from '../wire/envelope.ts';
import type { ControlChannel } from './control-channel.ts';
import { createKernelQueue, type KernelQueue } from './kernel-queue.ts';

/** What happened on this replica, for logs, `status` and whoever watches. */
export type DriverEvent =
  | ControlEvent
  /** The kernel accepts exactly these slots since some instant between `begin` and `end`, monotonic milliseconds. */
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
  readonly onEvent: (event: DriverEvent) => void;
}

/** Runs the control state machine against the world: feeds it input with its time, carries out what it wants, in its order. */
export interface Driver {
  receive(datagram: Uint8Array, via: Via): void;
  propose(policy: (ControlInput & { kind: 'propose' })['policy']): void;
  /** Hands everything off; resolves when nothing is left to wait for. */
  leave(): Promise<void>;
  /** Datagrams that were not authentic, by reason. */
  refused(): ReadonlyMap<string, number>;
  /** Stops at once; the kernel keeps its table. */
  stop(): void;
}

export const ledgerRecord = 'ledger';

export function startDriver(parts: DriverParts): Driver {
  const { control, channel, clock } = parts;
  const refused = new Map<string, number>();
  const kernel = createKernelQueue(parts, (revision) => feed({ kind: 'programmed', at: clock.now(), revision }));
  const perform = performer(parts, kernel, () => left());
  let cancelTick = (): void => {};
  let stopped = false;
  let left = (): void => {};

  function feed(input: ControlInput): void {
    if (stopped) return;
    for (const output of control.handle(input)) perform(output);
    cancelTick();
    if (!stopped) cancelTick = clock.wakeAt(control.nextTimeout(), () => feed({ kind: 'tick', at: clock.now() }));
  }

  feed({ kind: 'tick', at: clock.now() });
  return {
    receive(datagram: Uint8Array, via: Via): void {
      const opened = channel.open(datagram);
      if (opened.ok) feed({ kind: 'message', at: clock.now(), via, ...opened.value });
      else refused.set(opened.reason, (refused.get(opened.reason) ?? 0) + 1);
    },
    propose: (policy) => feed({ kind: 'propose', at: clock.now(), policy }),
    leave: () =>
      new Promise((resolve) => {
        left = resolve;
        feed({ kind: 'leave', at: clock.now() });
      }),
    refused: () => refused,
    stop(): void {
      stopped = true;
      cancelTick();
      kernel.stop();
    },
  };
}

/** Carries out one output; `onLeft` is called when nothing is left to wait for. */
function performer(parts: DriverParts, kernel: KernelQueue, onLeft: () => void): (output: ControlOutput) => void {
  const { channel, network, store, onEvent } = parts;
  return (output) => {
    switch (output.kind) {
      case 'send':
        send(network, output.to, channel.seal(output.body));
        break;
      case 'persist':
        store.write(ledgerRecord, output.ledger);
        break;
      case 'program':
        kernel.program(output.revision, output.slots);
        break;
      case 'arm':
        kernel.lease((dataPlane) => dataPlane.arm(output.mark, output.leaseMs));
        break;
      case 'grant':
        kernel.lease((dataPlane) => dataPlane.grant(output.mark));
        break;
      case 'reset':
        reset(parts, output.slots);
        break;
      case 'event':
        onEvent(output.event);
        break;
      case 'left':
        void kernel.idle().then(onLeft);
    }
  };
}

function send(network: ControlNetwork, to: (ControlOutput & { kind: 'send' })['to'], datagram: Uint8Array): void {
  if (to === 'group') network.multicast(datagram);
  else network.unicast(to.peer, datagram);
}

function reset({ flows, service, onEvent }: DriverParts, slots: ReadonlySet<number>): void {
  try {
    const tcpPorts = service.ports.filter(({ protocol }) => protocol === 'tcp').map(({ port }) => port);
    const held = flowsToReset(flows.list(), service.partition, slots, tcpPorts);
    onEvent({ kind: 'reset', connections: flows.destroy(held), slots });
  } catch (error) {
    onEvent({ kind: 'failure', doing: 'resetting connections', error });
  }
}
