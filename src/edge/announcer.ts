import { isDeepStrictEqual } from 'node:util';
import { encodeMessage, type Tagged } from '../wire/control-message.ts';

/** How often the router says again by which joins its kernel goes: an agent may have begun since. */
const repeatMs = 1000;
/** What is new is said again so soon, as a datagram may be lost, */
const soonMs = 250;
/** so often. */
const soonTimes = 4;

export interface AnnouncerParts {
  readonly seal: (body: Uint8Array) => Uint8Array;
  /** To every replica of the service. */
  readonly send: (datagram: Uint8Array) => void;
  /** To one of them. */
  readonly sendTo: (name: string, datagram: Uint8Array) => void;
  readonly wakeAfter: (ms: number, callback: () => void) => () => void;
}

/** Tells the replicas of one service by which of their joins the router's kernel goes. */
export interface Announcer {
  say(members: readonly { readonly name: string; readonly epoch: number }[]): void;
  /** The kernel goes by what this replica said of its flows. */
  answer(name: string, tagged: Tagged): void;
  stop(): void;
}

export function startAnnouncer({ seal, send, sendTo, wakeAfter }: AnnouncerParts): Announcer {
  let said: Parameters<Announcer['say']>[0] = [];
  let soonLeft = soonTimes;
  let cancel = (): void => {};
  const tell = (): void => {
    cancel();
    send(seal(encodeMessage({ kind: 'routed', members: said })));
    cancel = wakeAfter(soonLeft-- > 0 ? soonMs : repeatMs, tell);
  };
  tell();
  return {
    say(members) {
      if (!isDeepStrictEqual(members, said)) soonLeft = soonTimes;
      said = members;
      tell();
    },
    answer: (name, tagged) => sendTo(name, seal(encodeMessage({ kind: 'tagged', ...tagged }))),
    stop: () => cancel(),
  };
}
