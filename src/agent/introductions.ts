import type { Clock } from '../ports/clock.ts';
import type { ControlNetwork } from '../ports/control-network.ts';

/** From one showing of the certificate to the group to the next, */
const groupMs = 1000;
/** and to each peer, which multicast may not reach. */
const peersMs = 3000;
/** A peer that has just begun is shown it at once, no more often than this. */
const greetMs = 100;
/** An agent that begins shows it this often, for datagrams may be lost and nobody believes it before, */
const beginMs = 50;
/** until then. */
const begunMs = 500;

export interface IntroductionsOptions {
  readonly network: ControlNetwork;
  readonly clock: Clock;
  /** Names of all others. */
  readonly peers: readonly string[];
  /** A datagram that shows the own certificate. */
  readonly introduction: () => Uint8Array;
  /** Called each time it is shown. */
  readonly onRound: () => void;
}

export interface Introductions {
  /** Shows the own certificate to a peer that may not know it. */
  greet(peer: string): void;
  stop(): void;
}

/** Shows the own certificate to the others, again and again: who does not know it cannot verify what this agent says. */
export function startIntroductions({ network, clock, peers, ...options }: IntroductionsOptions): Introductions {
  const begun = clock.now();
  const greeted = new Map<string, number>();
  let peersAt = begun;
  let cancel = (): void => {};

  function round(): void {
    const now = clock.now();
    const datagram = options.introduction();
    network.multicast(datagram);
    if (now >= peersAt) {
      peersAt = now + (now < begun + begunMs ? beginMs : peersMs);
      for (const peer of peers) network.unicast(peer, datagram);
    }
    options.onRound();
    cancel = clock.wakeAt(now + (now < begun + begunMs ? beginMs : groupMs), round);
  }

  round();
  return {
    greet(peer) {
      const now = clock.now();
      if (now < (greeted.get(peer) ?? Number.NEGATIVE_INFINITY) + greetMs) return;
      greeted.set(peer, now);
      network.unicast(peer, options.introduction());
    },
    stop: () => cancel(),
  };
}
