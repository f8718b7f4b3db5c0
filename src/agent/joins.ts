import { randomBytes } from 'node:crypto';
import type { Logger } from 'pino';
import { addressOf, type IpAddress } from '../base/address.ts';
import { messageOf } from '../base/operating-error.ts';
import type { Result } from '../base/result.ts';
import type { Advertised } from '../control/routing.ts';
import type { ServiceEntry } from '../dataplane/forwarding-table.ts';
import { type Join, signedJoin } from '../identity/join.ts';
import type { MemberFiles } from '../platform/certificates.ts';
import { type FollowedDevice, followDevice } from '../platform/followed-device.ts';
import { type IgmpSocket, openIgmpSocket } from '../platform/igmp-socket.ts';
import { certificateBytes, joinSigner } from '../platform/join-signatures.ts';
import { ownAddress } from '../platform/link-addresses.ts';
import type { Clock } from '../ports/clock.ts';
import { type DueReport, Joining } from '../router/joining.ts';
import { coverSlots } from '../space/index.ts';
import { decodeIgmp, encodeKeylessJoin } from '../wire/igmp.ts';
import { type Credentials, randomKeyBytes } from '../wire/igmp-extension.ts';
import { allRouters, decodeIgmpPacket, encodeIgmpPacket } from '../wire/igmp-packet.ts';
import type { AgentConfig } from './config.ts';

/** Tells the routers of a service what they are to send here, by joins to its group, which this replica signs if it has a key. */
export interface Joins {
  take(advertised: Advertised): void;
  /** Takes nothing any more; resolves when that was said as often as it has to be. */
  leave(): Promise<void>;
  /** Says nothing more: the routers go on for as long as they remember. */
  close(): Promise<void>;
}

export const noJoins: Joins = { take() {}, leave: async () => {}, close: async () => {} };

/** How often it is asked whether the device was made anew: a socket of the old one hears no queries. */
const lookMs = 2000;

/** Without `files` joins have neither certificate nor signature: a router of a public group goes by their epoch, and every other refuses them. Throws an OperatingError when the device cannot be heard. */
export function openJoins(
  config: AgentConfig,
  service: ServiceEntry,
  files: MemberFiles | null,
  clock: Clock,
  log: Logger,
): Joins {
  return new RunningJoins(addressOf(config.service.group), service, files, clock, log);
}

/** One join as a message of IGMP; refused when it does not fit one packet. */
type Encoder = (join: Join, credentials: Omit<Credentials, 'certificate'>) => Promise<Result<Uint8Array>>;

const keyless: Encoder = async ({ type, group, filters }, credentials) =>
  encodeKeylessJoin(type, group, filters, credentials);

function signing(files: MemberFiles): Encoder {
  const certificate = certificateBytes(files.certificate);
  const sign = joinSigner(files.key);
  return (join, credentials) => signedJoin(join, { ...credentials, certificate }, sign);
}

class RunningJoins implements Joins {
  readonly #group: IpAddress;
  readonly #service: ServiceEntry;
  readonly #clock: Clock;
  readonly #log: Logger;
  readonly #joining: Joining;
  readonly #encode: Encoder;
  readonly #device: FollowedDevice<IgmpSocket>;
  readonly #looking: NodeJS.Timeout;
  #cancel = (): void => {};
  #sending: Promise<void> = Promise.resolve();
  #isOpen = true;

  constructor(group: IpAddress, service: ServiceEntry, files: MemberFiles | null, clock: Clock, log: Logger) {
    this.#group = group;
    this.#service = service;
    this.#clock = clock;
    this.#log = log;
    this.#joining = new Joining({ group, random: () => randomBytes(4).readUInt32BE() / 2 ** 32 });
    this.#encode = files ? signing(files) : keyless;
    const handlers = {
      onPacket: (packet: Uint8Array): void => this.#hear(packet),
      onFailure: (error: unknown): void => this.#failed(error),
    };
    this.#device = followDevice(service.device, () => openIgmpSocket(service.device, {}, handlers));
    this.#looking = setInterval(() => this.#look(), lookMs);
  }

  readonly take = ({ epoch, slots }: Advertised): void => {
    const permit = coverSlots(this.#service.partition, slots);
    this.#joining.take({ permit, prohibit: [] }, epoch, this.#clock.now());
    this.#wake();
  };

  async leave(): Promise<void> {
    this.#joining.leave(this.#clock.now());
    this.#wake();
    while (!this.#joining.isOver) {
      await new Promise<void>((resolve) => this.#clock.wakeAt(this.#joining.wakeAtMs + 1, resolve));
    }
    await this.#sending;
  }

  async close(): Promise<void> {
    this.#isOpen = false;
    this.#cancel();
    await this.#sending;
    clearInterval(this.#looking);
    await this.#device.close();
  }

  #look(): void {
    try {
      this.#device.current();
    } catch {
      // It is away: said when there is a join to be sent.
    }
  }

  #hear(packet: Uint8Array): void {
    const outer = decodeIgmpPacket(packet);
    const inner = outer.ok ? decodeIgmp(outer.value.message) : outer;
    if (!inner.ok || inner.value.kind !== 'query') return;
    this.#joining.queried(inner.value, this.#clock.now());
    this.#sleep();
  }

  #sleep(): void {
    this.#cancel();
    const { wakeAtMs } = this.#joining;
    if (this.#isOpen && wakeAtMs < Infinity) this.#cancel = this.#clock.wakeAt(wakeAtMs, () => this.#wake());
  }

  /** One after the other: a join that was signed later must not come first. */
  #wake(): void {
    const due = this.#joining.wake(this.#clock.now());
    if (due) this.#sending = this.#sending.then(() => this.#send(due)).catch((error) => this.#failed(error));
    this.#sleep();
  }

  async #send({ type, filters, epoch }: DueReport): Promise<void> {
    const source = ownAddress(this.#service.device);
    const credentials = {
      ...{ requester: source, timeMs: Date.now(), randomKey: Uint8Array.from(randomBytes(randomKeyBytes)) },
      epoch,
    };
    const message = await this.#encode({ type, group: this.#group, filters }, credentials);
    if (!message.ok) this.#log.error(`join: ${message.reason}; the share of this replica is in too many pieces`);
    else if (this.#isOpen) {
      this.#device.current().send(encodeIgmpPacket({ source, destination: allRouters, message: message.value }));
    }
  }

  #failed(error: unknown): void {
    this.#log.error(`joins on ${this.#service.device}: ${messageOf(error)}`);
  }
}
