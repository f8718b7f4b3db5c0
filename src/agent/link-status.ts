import { messageOf } from '../base/operating-error.ts';
import type { PeerRefusal } from '../platform/peer-link-incoming.ts';

/** What is wrong with the links by which connections move. */
export interface LinkStatus {
  /** Incoming links that were refused, by reason. */
  readonly refused: Readonly<Partial<Record<PeerRefusal, number>>>;
  /** Peers that could not be reached the last time, and why. */
  readonly unreachable: Readonly<Record<string, string>>;
}

export const noLinks: LinkStatus = { refused: {}, unreachable: {} };

/** Remembers of each peer whether the last sending succeeded. */
export function watchLinks(): {
  readonly unreachable: () => Readonly<Record<string, string>>;
  watch(peer: string, sending: Promise<void>): Promise<void>;
} {
  const failures = new Map<string, string>();
  return {
    unreachable: () => Object.fromEntries(failures),
    async watch(peer, sending) {
      try {
        await sending;
        failures.delete(peer);
      } catch (error) {
        failures.set(peer, messageOf(error));
        throw error;
      }
    },
  };
}

/** What it means, and what to do. */
const refusals: Readonly<Record<PeerRefusal, string>> = {
  'too-many-handshakes': 'too many at a time: who connects to the port of the control channel?',
  handshake: 'no TLS 1.3: is it another program?',
  'no-certificate': 'it showed no certificate: name one in its agent.yaml',
  certificate:
    'its certificate is of another authority, or not in force by the clock of this replica: compare `ca` in agent.yaml and the clocks, or make a new one (manycast keys)',
  'no-member': 'its certificate names no replica: make one with manycast keys',
  'other-cluster': 'its certificate is of another cluster: make one for this cluster (manycast keys)',
  revoked: 'its certificate is revoked: make a new one (manycast keys issue) if it is to be trusted again',
  'not-a-peer': 'its certificate names no peer of this replica: compare its name and `peers` in agent.yaml',
};

/** By what the own side or OpenSSL says. */
const remedies: readonly (readonly [RegExp, string])[] = [
  [/refuses the certificate/, 'manycast status on PEER says why'],
  [/not yet valid|expired/, 'compare the clocks, or make it a new certificate (manycast keys)'],
  [
    /self.signed|unable to (get|verify)|signature/,
    'its certificate is of another authority: compare `ca` in agent.yaml',
  ],
  [/answers (as|with another)/, 'compare `peers` in agent.yaml and the name in its certificate'],
  [/is revoked/, 'make it a new certificate (manycast keys issue) if it is to be trusted again'],
  [/ECONNREFUSED/, 'is its agent running, with certificates and `sdk` in its agent.yaml?'],
];

/** One line for each thing that is wrong. */
export function linkLines({ refused, unreachable }: LinkStatus): string[] {
  const incoming = Object.entries(refused).map(
    ([reason, count]) => `links refused, ${count} times: ${refusals[reason as PeerRefusal] ?? reason}`,
  );
  const outgoing = Object.entries(unreachable).map(([peer, reason]) => {
    const remedy = remedies.find(([said]) => said.test(reason))?.[1].replace('PEER', peer);
    return `connections are not moved: ${reason}${remedy ? `; ${remedy}` : ''}`;
  });
  return [...incoming, ...outgoing];
}
