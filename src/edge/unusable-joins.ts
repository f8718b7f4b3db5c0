import type { Logger } from 'pino';
import { formatIp } from '../base/address.ts';
import type { MembershipEvent } from '../router/memberships.ts';

/** Tells the log of joins that are of no use, of which a link may bring any number: of each group the first at once, what follows it by its number alone. */
export class UnusableJoins {
  readonly #log: Logger;
  /** By group: how many came since the last line. */
  readonly #untold = new Map<string, number>();

  constructor(log: Logger) {
    this.#log = log;
  }

  take({ group: address, member, reason }: Extract<MembershipEvent, { event: 'unusable' }>): void {
    const group = formatIp(address);
    const untold = this.#untold.get(group);
    this.#untold.set(group, untold === undefined ? 0 : untold + 1);
    if (untold === undefined) this.#log.info({ group, member, reason }, 'group: unusable');
  }

  /** A line for each group of which more came since the last one. To be called every few seconds. */
  tell(): void {
    for (const [group, untold] of this.#untold) {
      if (untold === 0) this.#untold.delete(group);
      else {
        this.#untold.set(group, 0);
        this.#log.info({ group, joins: untold }, 'group: more are unusable');
      }
    }
  }
}
