import type { ControlOutput } from '../control/io.ts';
import type { ControlNetwork } from '../ports/control-network.ts';
import type { ControlChannel } from './control-channel.ts';

/** Seals and sends what the state machine says. */
export interface ControlSender {
  send(output: ControlOutput & { readonly kind: 'send' }): void;
  /** What is said from now on is new, also to those who heard the same before. */
  forget(): void;
}

/**
 * A signature takes some 0.3 ms: what goes to several peers by unicast is sealed once, as each gets it once. The group gets another datagram: who hears it both ways
 * is to know that.
 */
export function createControlSender(channel: Pick<ControlChannel, 'seal'>, network: ControlNetwork): ControlSender {
  const sealed = new Map<Uint8Array, Uint8Array>();
  return {
    send({ to, body }): void {
      if (to === 'group') {
        network.multicast(channel.seal(body));
        return;
      }
      const datagram = sealed.get(body) ?? channel.seal(body);
      sealed.set(body, datagram);
      network.unicast(to.peer, datagram);
    },
    forget: () => sealed.clear(),
  };
}
